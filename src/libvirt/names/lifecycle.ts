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
