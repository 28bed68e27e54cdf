import type { CallHeldError, ConnectionError } from "../errors.ts";
import type { AgentReason, AgentState } from "../names/agent.ts";
import type { NetworkEvent, NodeDeviceEvent, SecretEvent, StoragePoolEvent } from "../names/host-events.ts";
import type { IOErrorAction } from "../names/io-error.ts";
import type { BlockJobStatus, BlockJobType, JobOperation } from "../names/jobs.ts";
import type { LifecycleEvent } from "../names/lifecycle.ts";
import type { MetadataKind } from "../names/metadata.ts";
import type { Domain, TypedParam } from "../protocol/types.ts";
import type { ListedDomain } from "./list-domains.ts";

/** What is at the other end. */
export interface HypervisorInfo {
  readonly hostname: string;
  /** libvirt's version, such as "9.0.0". */
  readonly libVersion: string;
  /** The URI as the daemon names it. */
  readonly uri: string;
}

/** The state of all domains at the moment at which the events begin. */
export interface Connected {
  readonly type: "Connected";
  /**
   * Undefined where the daemon did not list them in time, as it does while it holds one of them: each can be asked for
   * alone, and `Listed` follows when the daemon answers.
   */
  readonly domains: readonly ListedDomain[] | undefined;
  readonly hypervisor: HypervisorInfo;
  readonly receivedAtMs: number;
}

/** The state of all domains, where `Connected` had none. What events have told since the list was asked for is newer. */
export interface Listed {
  readonly type: "Listed";
  readonly domains: readonly ListedDomain[];
  readonly receivedAtMs: number;
}

/** So many calls about domains are unanswered that nothing more is asked about any domain. */
export interface Held {
  readonly type: "Held";
  readonly error: CallHeldError;
  readonly receivedAtMs: number;
}

/** The daemon has answered one of them. */
export interface Released {
  readonly type: "Released";
  readonly receivedAtMs: number;
}

/** There is no connection; the next attempt comes in `retryInMs`, or as soon as the daemon's socket changes. */
export interface Disconnected {
  readonly type: "Disconnected";
  /** `Lost`: there was a connection. `FirstConnect`: there never was one. `Reconnect`: none came back yet. */
  readonly stage: "FirstConnect" | "Lost" | "Reconnect";
  readonly error: ConnectionError;
  readonly retryInMs: number;
  readonly receivedAtMs: number;
}

/** Something happened to a domain. */
export type DomainEvent = { readonly domain: Domain; readonly receivedAtMs: number } & (
  | ({ readonly type: "Lifecycle" } & LifecycleEvent)
  | { readonly type: "Reboot" }
  | {
      readonly type: "IOError";
      /** The path of the disk's image; empty when it has none. */
      readonly path: string;
      /** The disk's alias, such as "virtio-disk0". */
      readonly device: string;
      readonly action: IOErrorAction;
      /** What went wrong, such as "enospc"; may be empty. */
      readonly reason: string;
    }
  | { readonly type: "AgentLifecycle"; readonly state: AgentState; readonly reason: AgentReason }
  | {
      readonly type: "MetadataChange";
      readonly kind: MetadataKind;
      /** The namespace of the element that changed. */
      readonly nsUri: string | undefined;
    }
  | {
      readonly type: "JobCompleted";
      readonly operation: JobOperation;
      readonly stats: readonly TypedParam[];
    }
  | {
      readonly type: "BlockJob";
      /** The disk's target, such as "vda". */
      readonly disk: string;
      readonly job: BlockJobType;
      readonly status: BlockJobStatus;
    }
  | { readonly type: "PMWakeup" }
  | { readonly type: "PMSuspend" }
);

/** Something happened to what a host has for its domains. */
export type HostChange = { readonly type: "HostChange"; readonly receivedAtMs: number } & (
  | { readonly object: "Network"; readonly name: string; readonly event: NetworkEvent }
  | {
      readonly object: "StoragePool";
      readonly name: string;
      /** `Refreshed`: libvirt has looked anew which volumes there are. */
      readonly event: StoragePoolEvent | "Refreshed";
    }
  | {
      readonly object: "NodeDevice";
      /** Such as "pci_0000_02_10_7". */
      readonly name: string;
      readonly event: NodeDeviceEvent;
    }
  | {
      readonly object: "Secret";
      /** The UUID: secrets have no names. */
      readonly name: string;
      readonly event: SecretEvent | "ValueChanged";
    }
);

/** What a daemon tells of its own accord. */
export type DaemonEvent = DomainEvent | HostChange;

/**
 * What a session tells its listener. `receivedAtMs` is the time at which it was read from the socket, as
 * performance.now() counts.
 */
export type SessionEvent = Connected | Listed | Held | Released | Disconnected | DaemonEvent;
