import type { RestartMode } from "../crds/restart.ts";
import type { RestartPolicy } from "../crds/restart-policy.ts";
import type { Domain, Instant, Sight } from "./ports.ts";

/** Why an attempt has to wait, in a word and in words. */
export interface Obstacle {
  reason: string;
  message: string;
}

/** A domain state in which a guest hears no signal, by who has to end it. */
export type Deafness =
  /** Somebody paused it, and has to resume it. */
  | "Paused"
  /** Its disk failed it; it can be resumed where that is mended. */
  | "IOError"
  /** It sleeps, and can be woken up. */
  | "Suspended";

/** Reasons of a paused domain that is on its way: it will run or be off without anybody's doing. */
const transientReasons = new Set(["Migration", "Save", "Dump", "Snapshot", "StartingUp"]);

/** Why a guest hears no signal: that is known at once, not after a timeout. */
export function deafnessOf(domain: Domain): Deafness | undefined {
  const { state, reason } = domain;
  if (state === "PMSuspended") return "Suspended";
  if (state !== "Paused" || isGoingDown(domain)) return undefined;
  return reason === "IOError" ? "IOError" : "Paused";
}

/** Whether the guest's power is already going: QEMU has told so, and libvirt cleans up. */
export function isGoingDown({ state, reason }: Domain): boolean {
  return state === "Shutdown" || (state === "Paused" && reason === "ShuttingDown");
}

/** Whether there is a process for the guest, which libvirt has not let run yet. */
export function isStartingUp({ state, reason }: Domain): boolean {
  return state === "Paused" && reason === "StartingUp";
}

/** Whether the guest has crashed and its domain is kept for a look at it. */
export function hasCrashed({ state, reason }: Domain): boolean {
  return state === "Crashed" || (state === "Paused" && reason === "Crashed");
}

/** What a paused guest waits for. */
export function pausedObstacle({ reason }: Domain): Obstacle {
  return {
    reason: "GuestPaused",
    message: `the guest is paused (${reason}) and cannot hear a signal: resume it`,
  };
}

/**
 * What libvirt is doing with the domain, and must be left to end: a migration always, another job unless the policy
 * says that a hard restart may break it off.
 */
export function jobObstacle(
  { domain, job }: Sight,
  mode: RestartMode,
  policy: RestartPolicy,
): Obstacle | undefined {
  if (domain.id === undefined) return undefined;
  const { state, reason } = domain;
  // In post-copy a part of the guest's memory is on the other host, whichever of the two copies runs.
  const isMigrating = reason.startsWith("PostCopy") || (state === "Paused" && reason === "Migration");
  if (job?.kind === "Migration" || isMigrating) {
    return {
      reason: "Migrating",
      message: "the domain is being migrated: the restart waits until that is over",
    };
  }
  const what = job?.what ?? (state === "Paused" && transientReasons.has(reason) ? reason : undefined);
  if (what === undefined || (mode === "Hard" && policy.whenBusy === "Force")) return undefined;
  return { reason: "JobRunning", message: `libvirt is busy with the domain (${what}): the restart waits` };
}

/** A disk that cannot be read: a domain that is destroyed now could not start again. */
export function storageObstacle({ domain, storageProblem }: Sight): Obstacle | undefined {
  if (deafnessOf(domain) !== "IOError" || storageProblem === undefined) return undefined;
  return {
    reason: "StorageFailing",
    message: `the guest is paused on an I/O error, and its storage is not well: ${storageProblem}`,
  };
}

/** A boot that lives on, on disk or on another host: starting the domain here would make a second copy of it. */
export function lifeElsewhere({ id, reason }: Domain, { whenSaved }: RestartPolicy): Obstacle | undefined {
  if (id !== undefined) return undefined;
  switch (reason) {
    case "Saved":
      if (whenSaved === "Discard") return undefined;
      return {
        reason: "DomainSaved",
        message:
          "the guest's memory is saved on disk: start the domain, remove the saved image, or set " +
          "restartPolicy.whenSaved to Discard",
      };
    case "Migrated":
      return {
        reason: "DomainMigrated",
        message: "the domain was migrated away and may run on another host",
      };
    default:
      return undefined;
  }
}

/** When to look again at what no event tells of, such as the removal of a saved image: in a minute. */
export function lookAgainMs({ monotonicMs }: Instant): number {
  return monotonicMs + 60_000;
}
