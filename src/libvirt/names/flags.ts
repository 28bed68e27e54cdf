/**
 * What a change affects: this boot, the configuration of the next, or both added (virDomainModificationImpact). Also
 * the flags of domainAttachDeviceFlags and domainDetachDeviceFlags.
 */
export const Affect = { Current: 0, Live: 1, Config: 2 } as const;

/** Flags of domainCreateWithFlags and domainCreateXml (virDomainCreateFlags). */
export const CreateFlag = {
  None: 0,
  Paused: 1,
  AutoDestroy: 2,
  BypassCache: 4,
  /** Discards a managed-save image instead of resuming from it. */
  ForceBoot: 8,
  Validate: 16,
  ResetNvram: 32,
} as const;

/**
 * Flags of domainShutdownFlags and domainReboot, whose numbers are the same (virDomainShutdownFlagValues,
 * virDomainRebootFlagValues). Default prefers the agent wherever a channel is configured, even with no agent behind it: choose explicitly.
 */
export const ShutdownFlag = {
  Default: 0,
  AcpiPowerButton: 1,
  GuestAgent: 2,
  Initctl: 4,
  Signal: 8,
  Paravirt: 16,
} as const;

/** Flags of domainDestroyFlags (virDomainDestroyFlagsValues). */
export const DestroyFlag = {
  Default: 0,
  /** Ends the hypervisor's process with TERM only and fails if it does not obey. */
  Graceful: 1,
  RemoveLogs: 2,
} as const;

/** Flags of domainUndefineFlags (virDomainUndefineFlagsValues). */
export const UndefineFlag = {
  ManagedSave: 1,
  SnapshotsMetadata: 2,
  Nvram: 4,
  KeepNvram: 8,
  CheckpointsMetadata: 16,
  Tpm: 32,
  KeepTpm: 64,
} as const;

/**
 * Flags of domainDefineXmlFlags, networkDefineXmlFlags and storagePoolDefineXml, whose numbers are the same
 * (virDomainDefineFlags, virNetworkDefineFlags, virStoragePoolDefineFlags).
 */
export const DefineFlag = { None: 0, Validate: 1 } as const;

/** Flags of domainGetXmlDesc (virDomainXMLFlags). */
export const XmlFlag = { None: 0, Secure: 1, Inactive: 2, UpdateCpu: 4, Migratable: 8 } as const;

/** Flags of connectListAllDomains (virConnectListAllDomainsFlags); none means all domains. */
export const ListDomainsFlag = {
  All: 0,
  Active: 1,
  Inactive: 2,
  Persistent: 4,
  Transient: 8,
  Running: 16,
  Paused: 32,
  Shutoff: 64,
  Other: 128,
  ManagedSave: 256,
  NoManagedSave: 512,
} as const;

/** What connectGetAllDomainStats collects (virDomainStatsTypes). */
export const DomainStats = { State: 1, CpuTotal: 2, Balloon: 4, Vcpu: 8, Interface: 16, Block: 32 } as const;

/** Flags of connectGetAllDomainStats; those of ListDomainsFlag select domains (virConnectGetAllDomainStatsFlags). */
export const DomainStatsFlag = {
  NoWait: 0x2000_0000,
  Backing: 0x4000_0000,
  EnforceStats: 0x8000_0000,
} as const;

/** Flags of domainGetJobStats (virDomainGetJobStatsFlags). */
export const JobStatsFlag = {
  /** Of the job that has ended last, instead of the running one. */
  Completed: 1,
  /** Leaves those statistics for others to read. */
  KeepCompleted: 2,
} as const;

/**
 * Flags of networkGetXmlDesc and storagePoolGetXmlDesc, whose numbers are the same, but not those of domains
 * (virNetworkXMLFlags, virStorageXMLFlags).
 */
export const HostXmlFlag = {
  None: 0,
  /** As it is defined, instead of as it runs. */
  Inactive: 1,
} as const;

/**
 * Flags of connectListAllNetworks, connectListAllStoragePools and connectListAllInterfaces, whose numbers are the same,
 * but not those of domains (virConnectListAllNetworksFlags and the others); none means all.
 */
export const HostListFlag = { All: 0, Inactive: 1, Active: 2 } as const;

/** Flags of connectListAllNodeDevices; none means all (virConnectListAllNodeDeviceFlags). */
export const ListNodeDevicesFlag = {
  All: 0,
  Pci: 0x2,
  Usb: 0x4,
  Net: 0x10,
  ScsiHost: 0x20,
  Scsi: 0x80,
  Storage: 0x100,
  MdevTypes: 0x2000,
  Mdev: 0x4000,
  Inactive: 0x4000_0000,
  Active: 0x8000_0000,
} as const;

/** Flags of storagePoolCreate (virStoragePoolCreateFlags). */
export const StoragePoolCreateFlag = {
  Normal: 0,
  /** Makes what the pool is in first, such as its directory. */
  WithBuild: 1,
  WithBuildOverwrite: 2,
  WithBuildNoOverwrite: 4,
} as const;

/** Flags of storageVolCreateXml and storageVolCreateXmlFrom (virStorageVolCreateFlags). */
export const StorageVolCreateFlag = {
  None: 0,
  PreallocMetadata: 1,
  /** Shares the blocks of the volume that is copied, and fails where the filesystem cannot. */
  Reflink: 2,
} as const;

/** Flags of storageVolDelete (virStorageVolDeleteFlags). */
export const StorageVolDeleteFlag = { Normal: 0, Zeroed: 1, WithSnapshots: 2 } as const;

/** The cell for which nodeGetMemoryStats tells of the whole host (virNodeGetMemoryStatsAllCells). */
export const ALL_CELLS = -1;
