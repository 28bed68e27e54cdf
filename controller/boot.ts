import type { RestartEvidence } from "../crds/restart.ts";
import type { Attempt } from "./attempt.ts";
import type { Domain, Instant, Marks, Sight } from "./ports.ts";

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

/** Which boot runs, for an attempt that is on record. */
export function runningBoot(attempt: Attempt, domain: Domain, marks: Marks): Boot {
  if (domain.id === undefined) return "Off";
  return attempt.recordIn === "Domain" ? bootByMarks(attempt, marks) : bootByEvents(attempt, domain);
}

function bootByMarks(attempt: Attempt, marks: Marks): Boot {
  const isNew = marks.live?.attempt === attempt.id;
  if (marks.bootMark === isNew) return "Unknown";
  // A boot that began after ours was started and still carries the mark has it from a redefinition.
  if (marks.bootMark && attempt.started !== undefined) return "Unknown";
  return isNew ? "New" : "Old";
}

/**
 * Without marks, what this process saw has to do: a stop, or another ID. Another process saw nothing of it, and over
 * a lost connection neither is certain. A boot that was restored from a saved image or a snapshot is an old one.
 */
function bootByEvents(attempt: Attempt, domain: Domain): Boot {
  if (attempt.started !== undefined) return "New";
  if (attempt.unproven) return "Unknown";
  const { domainId, markedAt } = attempt;
  // The stop of an earlier restart may be as old as the record of this one, and no older.
  const hasStopped = (domain.lastStop?.monotonicMs ?? -Infinity) > (markedAt?.monotonicMs ?? Infinity);
  // It has been seen to be off, and a start whose answer was lost may have happened.
  const wasSeenOff = attempt.stage === "Starting" || attempt.stage === "Verifying";
  const hasEnded = hasStopped || wasSeenOff || domainId !== domain.id;
  if (hasEnded) return domain.reason === "Booted" ? "New" : "Unknown";
  return attempt.connection === domain.connection ? "Old" : "Unknown";
}

/**
 * Whether a guest that was asked may have rebooted in place while libvirt was not connected, of which nobody tells; of a
 * connection that the attempt has not taken note of yet.
 */
export function mayHaveRebootedUnheard(attempt: Attempt, { connection }: Domain): boolean {
  return attempt.inPlace && attempt.askedAt !== undefined && attempt.connection !== connection;
}

/** What proves that the attempt's old boot ended and the running one is another. */
export function evidenceOfNewBoot(attempt: Attempt, domain: Domain): RestartEvidence[] {
  const evidence: RestartEvidence[] = [];
  if (endOfOldBoot(attempt, domain) !== undefined) evidence.push("StopEvent");
  if (attempt.recordIn === "Domain") evidence.push("BootMarkGone", "RequestMarkSeen");
  else if (attempt.started !== undefined || attempt.domainId === undefined) evidence.push("DomainOff");
  if (attempt.domainId !== undefined && attempt.domainId !== domain.id) evidence.push("DomainIDChanged");
  return evidence;
}

/** libvirt tells of one reboot up to four times; what it tells within this time of the first is the same reboot. */
export const rebootBurstMs = 1000;

/** What proves that the guest rebooted or was reset in place, after it had been asked; nothing where it did not. */
export function evidenceOfReboot(attempt: Attempt, domain: Domain, agent: Sight["agent"]): RestartEvidence[] {
  const evidence: RestartEvidence[] = [];
  const { askedAt, bootId } = attempt;
  const { lastReboot } = domain;
  if (askedAt !== undefined && lastReboot !== undefined && lastReboot.monotonicMs >= askedAt.monotonicMs)
    evidence.push("RebootEvent");
  if (bootId !== undefined && agent?.bootId !== undefined && agent.bootId !== bootId)
    evidence.push("BootIDChanged");
  return evidence;
}

/** When libvirt told this process that the marked boot had stopped; undefined where it did not. */
export function endOfOldBoot(attempt: Attempt, domain: Domain): Instant | undefined {
  const { markedAt } = attempt;
  const { lastStop } = domain;
  if (markedAt === undefined || lastStop === undefined) return undefined;
  return lastStop.monotonicMs >= markedAt.monotonicMs ? lastStop : undefined;
}
