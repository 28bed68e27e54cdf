import { longestFindingText, mostListed, type DetachedVolume } from "../crds/machine.ts";
import { shortened } from "../crds/shortened.ts";
import { annotations } from "../crds/virtual-machine.ts";
import { endsInPlace, inStage, needsPreflight, type Attempt, type TriedRepair } from "./attempt.ts";
import type { AttemptSubject, Ruling, Subject, Verdict } from "./decision.ts";
import { repairKey, repairing, type Finding, type Repair } from "./finding.ts";
import { lookAgainMs } from "./obstacle.ts";
import { names } from "./request.ts";
import type { Definition, Instant, NextStart } from "./ports.ts";

/** What is known of the next start, and of the attempt that needs it. */
interface Preparation {
  attempt: Attempt;
  definition: Definition;
  next: NextStart | undefined;
  now: Instant;
}

/** A restart in place needs nothing of the host: its boot goes on. */
export function preflight(subject: AttemptSubject): Ruling | undefined {
  return isInPlace(subject) ? undefined : preflightOfStart(subject);
}

/**
 * Nothing happens to a guest before all that its next start needs was seen to be there. What can be mended is mended
 * first; what cannot leaves the guest alone, or off, until it is. Disks that cannot be had are left out where the policy
 * allows it.
 */
export function preflightOfStart(subject: AttemptSubject): Ruling | undefined {
  const { attempt, definition, next, now } = subject;
  if (!needsPreflight(attempt, now)) return undefined;
  const isAccepted = (finding: Finding) => isLeftOut(subject, finding) || isSkipped(subject, finding);
  const verdict = unready({ attempt, definition, next, now }, isAccepted);
  if (verdict !== undefined) return { verdict };
  const leftOut = detachedBy((next?.findings ?? []).filter((finding) => isLeftOut(subject, finding)));
  const isOtherStart = attempt.refusal?.effect === "Start" && leavesOutMore(attempt, leftOut);
  const refusal = isOtherStart ? undefined : attempt.refusal;
  return { attempt: { ...attempt, preflightPassedAt: now, leftOut, refusal } };
}

/** A start without a disk is another one than the start with it that was refused: it waits for nothing. */
function leavesOutMore({ leftOut: before }: Attempt, leftOut: readonly DetachedVolume[]): boolean {
  return leftOut.some(({ disk }) => before.every((one) => one.disk !== disk));
}

/** A domain that is not there is defined as its resource says, once all is there that its start needs. */
export function defineMissing(subject: Subject): Ruling | undefined {
  const { attempt, definition, domain, now } = subject;
  if (domain.kind !== "Missing" || attempt === undefined || definition.kind !== "Given") return undefined;
  // What it was marked with is gone together with it.
  const unmarked = { ...inStage(attempt, "Preparing", now), marked: false };
  if (attempt.failure !== undefined) {
    const { method, touched } = attempt;
    const end = { ...attempt.failure, method: touched ? method : undefined, evidence: [] };
    return { verdict: { kind: "End", result: "Failed", ...end } };
  }
  const verdict = unready({ attempt: unmarked, definition, next: domain.next, now }, () => false);
  if (verdict !== undefined) return { verdict, attempt: unmarked };
  return {
    verdict: defineVerdict(
      definition,
      "the domain is not there, and is defined as spec.definition says",
      false,
    ),
    attempt: unmarked,
  };
}

/** Whether the running boot is to end without the domain's going off. */
function isInPlace({ attempt, policy, domain }: AttemptSubject): boolean {
  return domain.id !== undefined && endsInPlace(attempt, policy) && attempt.resetRefused !== true;
}

/** A transient domain is defined, so that it is there once its guest is off. A restart in place applies no definition. */
export function define(subject: AttemptSubject): Ruling | undefined {
  const { persistent, definition } = subject;
  if (persistent) return isInPlace(subject) ? undefined : defineForStart(subject);
  const which = definition.kind === "Given" ? "as spec.definition says" : "from its own XML";
  const message = `the domain is transient, and is defined ${which}: otherwise it would be gone once it is off`;
  return { verdict: defineVerdict(definition, message, false) };
}

/**
 * libvirt takes the definition before anything happens to the guest; the running boot does not change by it. Where it
 * has taken it already, from a process that died or for a restart that failed, no boot has been started with it yet: it
 * counts as new, so that it can make way.
 */
export function defineForStart({ attempt, definition, next }: AttemptSubject): Ruling | undefined {
  if (definition.kind !== "Given" || next === undefined) return undefined;
  if (next.isToBeDefined) {
    const message = "spec.definition becomes the domain's configuration, for its next start";
    return { verdict: defineVerdict(definition, message, true) };
  }
  const isNew = next.changes === undefined ? next.keepsPrevious : next.changes.length > 0;
  return isNew && attempt.definition === undefined
    ? { attempt: { ...attempt, definition: "Applied" } }
    : undefined;
}

function defineVerdict(definition: Definition, message: string, replaces: boolean): Verdict {
  return {
    kind: "Act",
    effect: {
      kind: "Define",
      definition: definition.kind === "Given" ? definition.xml : undefined,
      replaces,
    },
    reason: "Preparing",
    message,
    announce: true,
    notice: { type: "Normal", reason: "DomainDefined", action: "Define", note: message },
  };
}

/** What has to be done or waited for before the next start can succeed; undefined where it can. */
function unready(
  { attempt, definition, next, now }: Preparation,
  isAccepted: (finding: Finding) => boolean,
): Verdict | undefined {
  if (next?.findings === undefined) {
    const message = "what the next start needs is looked at";
    return { kind: "Look", reason: "Preparing", message };
  }
  const findings = [...unavailableDefinition(definition), ...next.findings];
  const mendable = findings.find(({ repair }) => repair !== undefined && !wasTried(attempt, repair, now));
  if (mendable?.repair !== undefined) return repairVerdict(attempt, mendable, mendable.repair);
  const open = findings.filter((finding) => !isAccepted(finding)).map((one) => withRefusal(one, attempt));
  return open.length === 0 ? undefined : preflightFailed(open, now);
}

function preflightFailed(findings: Finding[], now: Instant): Verdict {
  const [first] = findings;
  const others = findings.length > 1 ? ` (and ${findings.length - 1} more, see status.findings)` : "";
  return {
    kind: "Blocked",
    reason: "PreflightFailed",
    message: `the domain could not start again, so nothing is done to it: ${first?.message}${others}; ${first?.remedy}`,
    // No event tells that a file is back.
    untilMs: lookAgainMs(now),
    findings: findings.slice(0, mostListed),
  };
}

/** A repair that did not help before is tried again without a word: what is wrong is told already. */
function repairVerdict(attempt: Attempt, { message }: Finding, repair: Repair): Verdict {
  const note = `${message}; mending it: ${repairing(repair)}`;
  const isFirst = triedBefore(attempt, repair) === undefined;
  return {
    kind: "Act",
    effect: { kind: "Repair", repair },
    reason: "Preparing",
    message: note,
    announce: isFirst,
    notice: isFirst ? { type: "Normal", reason: "StartRepaired", action: "Repair", note } : undefined,
  };
}

/** Where the resource points to a definition that is not there. */
function unavailableDefinition(definition: Definition): Finding[] {
  if (definition.kind !== "Unavailable") return [];
  const { message } = definition;
  const remedy = "correct spec.definition or what it refers to; a change is noticed by itself";
  return [{ reason: "DefinitionUnavailable", path: "spec.definition", message, remedy }];
}

/** A repair that did not help is tried again no sooner than one looks again. */
function wasTried(attempt: Attempt, repair: Repair, now: Instant): boolean {
  const tried = triedBefore(attempt, repair);
  return tried !== undefined && now.monotonicMs < lookAgainMs(tried.at);
}

function triedBefore({ repairs }: Attempt, repair: Repair): TriedRepair | undefined {
  return repairs.find((one) => repairKey(one.repair) === repairKey(repair));
}

/** A finding with what libvirt had against mending it. */
function withRefusal(finding: Finding, attempt: Attempt): Finding {
  const { repair, message } = finding;
  if (repair === undefined) return finding;
  const refusal = triedBefore(attempt, repair)?.refusal;
  return refusal === undefined
    ? finding
    : { ...finding, message: `${message}, and libvirt says: ${refusal}` };
}

function isLeftOut({ policy }: AttemptSubject, { disk }: Finding): boolean {
  return policy.onUnavailableVolume === "Detach" && disk !== undefined;
}

/** A finding can be wrong; whoever knows better says so, for one request. A definition that cannot be used stays so. */
function isSkipped({ virtualMachine, attempt }: AttemptSubject, { reason }: Finding): boolean {
  if (reason === "DefinitionInvalid" || reason === "DefinitionUnavailable") return false;
  return names(virtualMachine.metadata.annotations[annotations.skipPreflight], attempt.request);
}

/** Each disk once, with the first thing that is wrong with it. */
function detachedBy(findings: Finding[]): DetachedVolume[] {
  const byDisk = new Map<string, DetachedVolume>();
  for (const { disk, reason, message } of findings) {
    if (disk !== undefined && !byDisk.has(disk))
      byDisk.set(disk, { disk, reason, message: shortened(message, longestFindingText) });
  }
  return [...byDisk.values()];
}
