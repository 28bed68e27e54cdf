import type { Decision, Observation } from "./decision.ts";
import type { Lease } from "./ports.ts";

/**
 * Whether a decision is carried out by a process that has lost its lease: who has stopped a guest still starts it, as
 * long as the next holder keeps away from it. After that a signal of the next holder, which has taken the restart over,
 * could end the boot that this process starts.
 */
export function isOwedWithoutLease(
  { now }: Observation,
  { verdict, attempt }: Decision,
  { goneAtMs }: Lease,
): boolean {
  if (verdict.kind !== "Act" || verdict.effect.kind !== "Start") return false;
  // Without marks the next holder has told its result by now, and starts what goes off late itself.
  if (attempt?.recordIn !== "Domain") return false;
  const wasStoppedHere = !attempt.isInherited && attempt.method !== "Start";
  return wasStoppedHere && now.monotonicMs < goneAtMs;
}
