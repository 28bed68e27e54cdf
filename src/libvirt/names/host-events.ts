import type { NameOf } from "./enumeration.ts";

/** What happened to a network (virNetworkEventLifecycleType). */
export const NetworkEvent = { Defined: 0, Undefined: 1, Started: 2, Stopped: 3 } as const;
/** What happened to a network. */
export type NetworkEvent = NameOf<typeof NetworkEvent>;

/** What happened to a storage pool: `Created` and `Deleted` are its storage, not its definition (virStoragePoolEventLifecycleType). */
export const StoragePoolEvent = {
  Defined: 0,
  Undefined: 1,
  Started: 2,
  Stopped: 3,
  Created: 4,
  Deleted: 5,
} as const;
/** What happened to a storage pool. */
export type StoragePoolEvent = NameOf<typeof StoragePoolEvent>;

/** What happened to a device of the host (virNodeDeviceEventLifecycleType). */
export const NodeDeviceEvent = { Created: 0, Deleted: 1, Defined: 2, Undefined: 3 } as const;
/** What happened to a device of the host. */
export type NodeDeviceEvent = NameOf<typeof NodeDeviceEvent>;

/** What happened to a secret (virSecretEventLifecycleType). */
export const SecretEvent = { Defined: 0, Undefined: 1 } as const;
/** What happened to a secret. */
export type SecretEvent = NameOf<typeof SecretEvent>;
