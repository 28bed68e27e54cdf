import type { Decision, Observation } from "./decision.ts";
import { hasMarks, type Lease } from "./ports.ts";

/**
 * Whether a decision is carried out by a process that has lost its lease: who has stopped a guest still starts it, as
 * long as the next holder keeps away from it. After that a signal of the next holder, which has taken the restart over,
 * could end the boot that this process starts. What the domain says decides whether the start is still open.
 */
export function isOwedWithoutLease(
  { domain, now }: Observation,
  { verdict, attempt }: Decision,
  { goneAtMs }: Lease,
): boolean {
  if (verdict.kind !== "Act" || verdict.effect.kind !== "Start" || attempt === undefined) return false;
  if (now.monotonicMs >= goneAtMs) return false;
  const wasStoppedHere = !attempt.isInherited && attempt.method !== "Start";
  const next = hasMarks(domain) ? domain.marks.next : undefined;
  return wasStoppedHere && next?.attempt === attempt.id && next.result === undefined;
}
