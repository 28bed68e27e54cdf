/** What a secret is for, which secretLookupByUsage asks by (virSecretUsageType). */
export const SecretUsage = { None: 0, Volume: 1, Ceph: 2, Iscsi: 3, Tls: 4, Vtpm: 5 } as const;
