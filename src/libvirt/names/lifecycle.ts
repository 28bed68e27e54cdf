/**
 * The lifecycle events and the details of each, in the order of libvirt's numbers from 0
 * (virDomainEventType and virDomainEvent*DetailType in libvirt/libvirt-domain.h, 9.0.0).
 */
const detailsByEvent = {
  Defined: ["Added", "Updated", "Renamed", "FromSnapshot"],
  Undefined: ["Removed", "Renamed"],
  Started: ["Booted", "Migrated", "Restored", "FromSnapshot", "Wakeup"],
  Suspended: [
    "Paused",
    "Migrated",
    "IOError",
    "Watchdog",
    "Restored",
    "FromSnapshot",
    "APIError",
    "PostCopy",
    "PostCopyFailed",
  ],
  Resumed: ["Unpaused", "Migrated", "FromSnapshot", "PostCopy", "PostCopyFailed"],
  Stopped: ["Shutdown", "Destroyed", "Crashed", "Migrated", "Saved", "Failed", "FromSnapshot"],
  Shutdown: ["Finished", "Guest", "Host"],
  PMSuspended: ["Memory", "Disk"],
  Crashed: ["Panicked", "CrashLoaded"],
} as const;

type DetailsByEvent = typeof detailsByEvent;

/** What happened to a domain; `Unknown` for a number that a later libvirt added. */
export type LifecycleEventName = keyof DetailsByEvent | "Unknown";

/** A lifecycle event with one of its own details; a detail that a later libvirt added is Unknown. */
export type LifecycleEvent =
  | {
      [E in keyof DetailsByEvent]: {
        readonly event: E;
        readonly detail: DetailsByEvent[E][number] | "Unknown";
      };
    }[keyof DetailsByEvent]
  | { readonly event: "Unknown"; readonly detail: "Unknown" };

const eventNames = Object.keys(detailsByEvent) as (keyof DetailsByEvent)[];

/** Names a lifecycle event and its detail. */
export function decodeLifecycle(event: number, detail: number): LifecycleEvent {
  const name = eventNames[event];
  if (name === undefined) {
    return { event: "Unknown", detail: "Unknown" };
  }
  return { event: name, detail: detailsByEvent[name][detail] ?? "Unknown" } as LifecycleEvent;
}

const ioErrorActions = ["None", "Pause", "Report"] as const;
/** What the hypervisor did about an I/O error (virDomainEventIOErrorAction). */
export type IOErrorAction = (typeof ioErrorActions)[number] | "Unknown";

/** Names what the hypervisor did about an I/O error. */
export function decodeIOErrorAction(action: number): IOErrorAction {
  return ioErrorActions[action] ?? "Unknown";
}

const agentStates = ["Unknown", "Connected", "Disconnected"] as const;
/** Whether the guest agent answers (virConnectDomainEventAgentLifecycleState). */
export type AgentState = (typeof agentStates)[number];

/** Names whether the guest agent answers. */
export function decodeAgentState(state: number): AgentState {
  return agentStates[state] ?? "Unknown";
}

const agentReasons = ["Unknown", "DomainStarted", "Channel"] as const;
/** What changed the guest agent's state (virConnectDomainEventAgentLifecycleReason). */
export type AgentReason = (typeof agentReasons)[number];

/** Names what changed the guest agent's state. */
export function decodeAgentReason(reason: number): AgentReason {
  return agentReasons[reason] ?? "Unknown";
}

const metadataTypes = ["Description", "Title", "Element"] as const;
/** Which metadata changed (virDomainMetadataType). */
export type MetadataKind = (typeof metadataTypes)[number] | "Unknown";

/** Names which metadata changed. */
export function decodeMetadataKind(type: number): MetadataKind {
  return metadataTypes[type] ?? "Unknown";
}
