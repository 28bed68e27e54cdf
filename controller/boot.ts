import type { RestartEvidence } from "../crds/restart.ts";
import type { Attempt } from "./attempt.ts";
import type { Domain, Instant, Marks } from "./ports.ts";

/**
 * Which boot of the domain runs, as its marks say. A domain ID is no proof: it comes round again after a
 * restart of libvirtd, and a guest that reboots in place keeps it.
 */
export type Boot =
  /** No guest runs. */
  | "Off"
  /** The boot that the attempt was to end. */
  | "Old"
  /** A boot that began after the attempt was marked. */
  | "New"
  /** Contradictory marks, or none: a snapshot was restored, the domain was defined anew, or another wrote. */
  | "Unknown";

/** Reads the marks of a marked attempt. */
export function runningBoot(attempt: Attempt, domain: Domain, marks: Marks): Boot {
  if (domain.id === undefined) return "Off";
  const isNew = marks.live?.attempt === attempt.id;
  if (marks.bootMark === isNew) return "Unknown";
  // A boot that began after ours was started and still carries the mark has it from a redefinition.
  if (marks.bootMark && attempt.started !== undefined) return "Unknown";
  return isNew ? "New" : "Old";
}

/** What proves that the attempt's old boot ended and the running one is another. */
export function evidenceOfNewBoot(attempt: Attempt, domain: Domain): RestartEvidence[] {
  const evidence: RestartEvidence[] = ["BootMarkGone", "RequestMarkSeen"];
  if (endOfOldBoot(attempt, domain) !== undefined) evidence.unshift("StopEvent");
  if (attempt.domainId !== undefined && attempt.domainId !== domain.id) evidence.push("DomainIDChanged");
  return evidence;
}

/** When libvirt told this process that the marked boot had stopped; undefined where it did not. */
export function endOfOldBoot(attempt: Attempt, domain: Domain): Instant | undefined {
  const { markedAt } = attempt;
  const { lastStop } = domain;
  if (markedAt === undefined || lastStop === undefined) return undefined;
  return lastStop.monotonicMs >= markedAt.monotonicMs ? lastStop : undefined;
}
