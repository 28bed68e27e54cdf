import type { RestartRecord } from "../crds/restart.ts";
import { parseTimestamp } from "../crds/timestamp.ts";
import type { Domain } from "./ports.ts";

/** How long after a failed attempt a guest that goes off is taken to obey it after all, in milliseconds. */
const lateMs = 600_000;

/** Ends of a restart that left the guest running although it may have been asked to go down. */
const reasonsWithGuestRunning = new Set([
  "GuestShutdownTimedOut",
  "GuestDidNotWake",
  "ShutdownRefused",
  "RebootRefused",
  "WakeRefused",
  "DestroyRefused",
  "DeadlineExceeded",
  "RebootUnproven",
  "NoMarks",
]);

/** Whether the guest may still obey the signals of an attempt that has ended without it. */
function mayStopLate(ended: RestartRecord, epochMs: number): boolean {
  if (!reasonsWithGuestRunning.has(ended.reason) || !mayHaveHeard(ended)) return false;
  const endedAtMs = parseTimestamp(ended.endedAt);
  return endedAtMs !== undefined && Math.abs(epochMs - endedAtMs) < lateMs;
}

/** Whether the guest was asked, or its power cut; how an attempt came that another process had begun may not be known. */
function mayHaveHeard({ method, reason }: RestartRecord): boolean {
  // A destroy that was refused can still take effect.
  return method !== "Start" || reason === "DestroyRefused";
}

/**
 * Whether a domain went off because its guest obeyed a failed attempt, the last one that did anything, too late: our signal stopped it, so it is
 * ours to start. A destroy, a crash, a save is somebody else's doing.
 */
export function stoppedLate(ended: RestartRecord, domain: Domain, epochMs: number): boolean {
  const reasons = ended.reason === "DestroyRefused" ? [...lateReasons, ...lateDestroyReasons] : lateReasons;
  if (domain.id !== undefined || !reasons.includes(domain.reason)) return false;
  return mayStopLate(ended, epochMs);
}

/** Reasons of a domain whose guest may have obeyed late; a restarted libvirtd knows none. */
const lateReasons = ["Shutdown", "Unknown", "Daemon"];

/** A destroy that libvirt gave up on can still take effect, and looks like a crash then. */
const lateDestroyReasons = ["Destroyed", "Crashed", "Failed"];
