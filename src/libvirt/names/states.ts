/**
 * The states of a domain and the reasons of each, in the order of libvirt's numbers from 0
 * (virDomainState and virDomain*Reason in libvirt/libvirt-domain.h, 9.0.0; the lists are only ever appended to).
 */
const reasonsByState = {
  NoState: ["Unknown"],
  Running: [
    "Unknown",
    "Booted",
    "Migrated",
    "Restored",
    "FromSnapshot",
    "Unpaused",
    "MigrationCanceled",
    "SaveCanceled",
    "Wakeup",
    "Crashed",
    "PostCopy",
    "PostCopyFailed",
  ],
  Blocked: ["Unknown"],
  Paused: [
    "Unknown",
    "User",
    "Migration",
    "Save",
    "Dump",
    "IOError",
    "Watchdog",
    "FromSnapshot",
    "ShuttingDown",
    "Snapshot",
    "Crashed",
    "StartingUp",
    "PostCopy",
    "PostCopyFailed",
  ],
  Shutdown: ["Unknown", "User"],
  Shutoff: [
    "Unknown",
    "Shutdown",
    "Destroyed",
    "Crashed",
    "Migrated",
    "Saved",
    "Failed",
    "FromSnapshot",
    "Daemon",
  ],
  Crashed: ["Unknown", "Panicked"],
  PMSuspended: ["Unknown"],
} as const;

type ReasonsByState = typeof reasonsByState;

/** What a domain does. `Blocked` is Xen's idle; `Shutdown` is on its way to off; `Shutoff` is off. */
export type StateName = keyof ReasonsByState;

/** Why a domain is in its state; `Unknown` too for a number that a later libvirt added. */
export type ReasonName<S extends StateName = StateName> = S extends StateName
  ? ReasonsByState[S][number]
  : never;

/** A state with one of its own reasons. */
export type StateAndReason = {
  [S in StateName]: { readonly state: S; readonly reason: ReasonName<S> };
}[StateName];

const states = Object.keys(reasonsByState) as StateName[];

/** Names a state and its reason. A state that a later libvirt added becomes NoState, such a reason Unknown. */
export function decodeState(state: number, reason: number): StateAndReason {
  const name = states[state] ?? "NoState";
  return { state: name, reason: reasonsByState[name][reason] ?? "Unknown" } as StateAndReason;
}
