import type { RestartRecord } from "../crds/restart.ts";
import { parseTimestamp } from "../crds/timestamp.ts";
import type { VirtualMachine } from "../crds/virtual-machine.ts";
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
function mayStopLate({ status }: VirtualMachine, epochMs: number): boolean {
  const { lastRestart } = status;
  if (lastRestart === undefined || !reasonsWithGuestRunning.has(lastRestart.reason)) return false;
  if (!mayHaveHeard(lastRestart)) return false;
  const endedAtMs = parseTimestamp(lastRestart.endedAt);
  return endedAtMs !== undefined && Math.abs(epochMs - endedAtMs) < lateMs;
}

/** Whether the guest was asked, or its power cut; how an attempt came that another process had begun may not be known. */
function mayHaveHeard({ method, reason }: RestartRecord): boolean {
  // A destroy that was refused can still take effect.
  return method !== "Start" || reason === "DestroyRefused";
}

/**
 * Whether a domain went off because its guest obeyed a failed attempt too late: our signal stopped it, so it is
 * ours to start. A destroy, a crash, a save is somebody else's doing.
 */
export function stoppedLate(virtualMachine: VirtualMachine, domain: Domain, epochMs: number): boolean {
  const { lastRestart } = virtualMachine.status;
  const reasons =
    lastRestart?.reason === "DestroyRefused" ? [...lateReasons, ...lateDestroyReasons] : lateReasons;
  if (domain.id !== undefined || !reasons.includes(domain.reason)) return false;
  return mayStopLate(virtualMachine, epochMs);
}

/** Reasons of a domain whose guest may have obeyed late; a restarted libvirtd knows none. */
const lateReasons = ["Shutdown", "Unknown", "Daemon"];

/** A destroy that libvirt gave up on can still take effect, and looks like a crash then. */
const lateDestroyReasons = ["Destroyed", "Crashed", "Failed"];
