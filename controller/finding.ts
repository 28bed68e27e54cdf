import type { DeclaredVolume } from "../crds/machine.ts";

/** What can keep a domain from starting: a closed list, one word each. */
export const findingReasons = [
  "DefinitionInvalid",
  "DefinitionUnavailable",
  "DiskMissing",
  "DiskUnreadable",
  "DiskFormatMismatch",
  "DiskCorrupt",
  "BackingFileMissing",
  "BackingChainInvalid",
  "PoolMissing",
  "PoolInactive",
  "VolumeMissing",
  "VolumeIncomplete",
  "FileMissing",
  "NetworkMissing",
  "NetworkInactive",
  "BridgeMissing",
  "InterfaceMissing",
  "FilterMissing",
  "DeviceMissing",
  "DeviceInactive",
  "DeviceInUse",
  "DeviceNotDetached",
  "SecretMissing",
  "FirmwareMissing",
  "KernelMissing",
  "EmulatorMissing",
  "MachineUnsupported",
  "VirtualizationUnsupported",
  "MemoryShort",
] as const;
/** One of them. */
export type FindingReason = (typeof findingReasons)[number];

/** Something that keeps a domain from starting. */
export interface Finding {
  reason: FindingReason;
  /** Where it is referred to: an XPath below the domain such as "devices/disk[2]/source", or a field of the resource. */
  path: string;
  /** What is wrong, by name. */
  message: string;
  /** What a person can do about it. */
  remedy: string;
  /** What the controller can do about it. */
  repair?: Repair | undefined;
  /** Target of the disk that cannot be had, where the domain could be started without it. */
  disk?: string | undefined;
}

/** Something that the controller can mend before a start. Nothing is ever overwritten or taken away by it. */
export type Repair =
  | { kind: "StartPool"; pool: string }
  /** Has libvirt look anew at what a pool contains. */
  | { kind: "RefreshPool"; pool: string }
  | { kind: "StartNetwork"; network: string }
  /** Starts a mediated device that is defined. */
  | { kind: "StartDevice"; device: string }
  | { kind: "CreateVolume"; volume: DeclaredVolume };

/** What tells one repair from another. */
export function repairKey(repair: Repair): string {
  return `${repair.kind} ${whatOf(repair)}`;
}

function whatOf(repair: Repair): string {
  switch (repair.kind) {
    case "StartPool":
    case "RefreshPool":
      return repair.pool;
    case "StartNetwork":
      return repair.network;
    case "StartDevice":
      return repair.device;
    case "CreateVolume":
      return `${repair.volume.pool}/${repair.volume.name}`;
    default:
      return repair satisfies never;
  }
}

/** What a repair has done: "started pool images". */
export function repaired(repair: Repair): string {
  return `${verbs[repair.kind].done} ${objectOf(repair)}`;
}

/** What a repair is about to do: "starting pool images". */
export function repairing(repair: Repair): string {
  return `${verbs[repair.kind].doing} ${objectOf(repair)}`;
}

const verbs: Readonly<Record<Repair["kind"], { doing: string; done: string }>> = {
  StartPool: { doing: "starting", done: "started" },
  RefreshPool: { doing: "refreshing", done: "refreshed" },
  StartNetwork: { doing: "starting", done: "started" },
  StartDevice: { doing: "starting", done: "started" },
  CreateVolume: { doing: "creating", done: "created" },
};

function objectOf(repair: Repair): string {
  switch (repair.kind) {
    case "StartPool":
    case "RefreshPool":
      return `pool ${repair.pool}`;
    case "StartNetwork":
      return `network ${repair.network}`;
    case "StartDevice":
      return `device ${repair.device}`;
    case "CreateVolume":
      return `volume ${repair.volume.name} in pool ${repair.volume.pool}`;
    default:
      return repair satisfies never;
  }
}
