import type { NameOf } from "./enumeration.ts";

/** What a storage pool does, which storagePoolGetInfo reports in `state` (virStoragePoolState). */
export const StoragePoolState = {
  Inactive: 0,
  Building: 1,
  Running: 2,
  Degraded: 3,
  Inaccessible: 4,
} as const;
/** What a storage pool does. */
export type StoragePoolState = NameOf<typeof StoragePoolState>;

/** What a volume is, which storageVolGetInfo reports in `type` (virStorageVolType). */
export const StorageVolType = { File: 0, Block: 1, Dir: 2, Network: 3, NetDir: 4, Ploop: 5 } as const;
/** What a volume is. */
export type StorageVolType = NameOf<typeof StorageVolType>;
