import type { Connection } from "../connection/connection.ts";
import { AgentReason, AgentState } from "../names/agent.ts";
import { nameOf } from "../names/enumeration.ts";
import { NetworkEvent, NodeDeviceEvent, SecretEvent, StoragePoolEvent } from "../names/host-events.ts";
import { IOErrorAction } from "../names/io-error.ts";
import { BlockJobStatus, BlockJobType, decodeJobOperation } from "../names/jobs.ts";
import { decodeLifecycle } from "../names/lifecycle.ts";
import { MetadataType } from "../names/metadata.ts";
import { events, hostEvents } from "../protocol/events.ts";
import type { EventProcedure } from "../protocol/procedure.ts";
import type { Domain } from "../protocol/types.ts";
import type { DaemonEvent, DomainEvent, HostChange } from "./session-event.ts";

type Listen = (connection: Connection, onEvent: (event: DaemonEvent) => void) => void;

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

/** What a change adds to the type and the time, which all have. */
type Changed<E> = E extends HostChange ? Omit<E, "type" | "receivedAtMs"> : never;

function hostSubscription<P>(
  event: EventProcedure<P>,
  tell: (payload: P) => Changed<HostChange>,
): Subscription {
  return {
    event,
    listen: (connection, onEvent) => {
      connection.onEvent(event, (payload, receivedAtMs) =>
        onEvent({ ...tell(payload), type: "HostChange", receivedAtMs }),
      );
    },
  };
}

/** All events that a session subscribes to, those of domains first. */
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
  hostSubscription(hostEvents.networkLifecycle, ({ net, event }) => ({
    object: "Network",
    name: net.name,
    event: nameOf(NetworkEvent, event),
  })),
  hostSubscription(hostEvents.storagePoolLifecycle, ({ pool, event }) => ({
    object: "StoragePool",
    name: pool.name,
    event: nameOf(StoragePoolEvent, event),
  })),
  hostSubscription(hostEvents.storagePoolRefresh, ({ pool }) => ({
    object: "StoragePool",
    name: pool.name,
    event: "Refreshed",
  })),
  hostSubscription(hostEvents.nodeDeviceLifecycle, ({ dev, event }) => ({
    object: "NodeDevice",
    name: dev.name,
    event: nameOf(NodeDeviceEvent, event),
  })),
  hostSubscription(hostEvents.secretLifecycle, ({ secret, event }) => ({
    object: "Secret",
    name: secret.uuid,
    event: nameOf(SecretEvent, event),
  })),
  hostSubscription(hostEvents.secretValueChanged, ({ secret }) => ({
    object: "Secret",
    name: secret.uuid,
    event: "ValueChanged",
  })),
];
