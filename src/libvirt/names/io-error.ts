import type { NameOf } from "./enumeration.ts";

/** What the hypervisor did about an I/O error (virDomainEventIOErrorAction). */
export const IOErrorAction = { None: 0, Pause: 1, Report: 2 } as const;
/** What the hypervisor did about an I/O error. */
export type IOErrorAction = NameOf<typeof IOErrorAction>;

/** What is wrong with a disk that domainGetDiskErrors reports (virDomainDiskErrorCode). */
export const DiskErrorCode = { None: 0, Unspecified: 1, NoSpace: 2 } as const;
