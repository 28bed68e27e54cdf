import type { Connection } from "../connection/connection.ts";
import type { ConnectionError } from "../errors.ts";
import { AgentReason, AgentState } from "../names/agent.ts";
import { nameOf } from "../names/enumeration.ts";
import { IOErrorAction } from "../names/io-error.ts";
import { BlockJobStatus, BlockJobType, decodeJobOperation } from "../names/jobs.ts";
import type { JobOperation } from "../names/jobs.ts";
import { decodeLifecycle } from "../names/lifecycle.ts";
import type { LifecycleEvent } from "../names/lifecycle.ts";
import { MetadataType } from "../names/metadata.ts";
import type { MetadataKind } from "../names/metadata.ts";
import { events } from "../protocol/events.ts";
import type { EventProcedure } from "../protocol/procedure.ts";
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
  readonly domains: readonly ListedDomain[];
  readonly hypervisor: HypervisorInfo;
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

/**
 * What a session tells its listener. `receivedAtMs` is the time at which it was read from the socket, as
 * performance.now() counts.
 */
export type SessionEvent = Connected | Disconnected | DomainEvent;

type Listen = (connection: Connection, onEvent: (event: DomainEvent) => void) => void;

/** An event of libvirt, and how to have it told to the listener. */
export interface Subscription {
  readonly event: EventProcedure<unknown>;
  readonly listen: Listen;
}

/** What an event adds to the domain and the time, which all have. */
type Told<E> = E extends DomainEvent ? Omit<E, "domain" | "receivedAtMs"> : never;

function subscription<P extends { readonly dom: Domain }>(
  event: EventProcedure<P>,
  tell: (payload: P) => Told<DomainEvent>,
): Subscription {
  return {
    event,
    listen: (connection, onEvent) => {
      connection.onEvent(event, (payload, receivedAtMs) =>
        onEvent({ ...tell(payload), domain: payload.dom, receivedAtMs }),
      );
    },
  };
}

/** All events that a session subscribes to. */
export const subscriptions: readonly Subscription[] = [
  subscription(events.lifecycle, ({ event, detail }) => ({
    type: "Lifecycle",
    ...decodeLifecycle(event, detail),
  })),
  subscription(events.reboot, () => ({ type: "Reboot" })),
  subscription(events.ioErrorReason, ({ srcPath, devAlias, action, reason }) => ({
    type: "IOError",
    path: srcPath,
    device: devAlias,
    action: nameOf(IOErrorAction, action),
    reason,
  })),
  subscription(events.agentLifecycle, ({ state, reason }) => ({
    type: "AgentLifecycle",
    state: nameOf(AgentState, state),
    reason: nameOf(AgentReason, reason),
  })),
  subscription(events.metadataChange, ({ type, nsUri }) => ({
    type: "MetadataChange",
    kind: nameOf(MetadataType, type),
    nsUri,
  })),
  subscription(events.jobCompleted, ({ params }) => ({
    type: "JobCompleted",
    operation: decodeJobOperation(params),
    stats: params,
  })),
  subscription(events.blockJob, ({ dst, type, status }) => ({
    type: "BlockJob",
    disk: dst,
    job: nameOf(BlockJobType, type),
    status: nameOf(BlockJobStatus, status),
  })),
  subscription(events.pmWakeup, () => ({ type: "PMWakeup" })),
  subscription(events.pmSuspend, () => ({ type: "PMSuspend" })),
];
