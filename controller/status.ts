import { longestMessage, type Condition } from "../crds/condition.ts";
import {
  longestFindingText,
  longestListed,
  longestPath,
  mostListed,
  type DetachedVolume,
  type PreflightFinding,
} from "../crds/machine.ts";
import type { RestartAttempt, RestartRecord, RestartRequest } from "../crds/restart.ts";
import { shortened } from "../crds/shortened.ts";
import { formatTimestamp } from "../crds/timestamp.ts";
import {
  historyLength,
  type DomainStatus,
  type VirtualMachine,
  type VirtualMachineStatus,
} from "../crds/virtual-machine.ts";
import type { Attempt } from "./attempt.ts";
import { runningBoot } from "./boot.ts";
import { conditionsFor, type ConditionNow } from "./conditions.ts";
import type { Decision, Observation, Verdict } from "./decision.ts";
import { repaired, type Finding } from "./finding.ts";
import { hasMarks, type NextStart } from "./ports.ts";
import { isServed, servedBy, type Served, type Trigger } from "./request.ts";

/**
 * The whole status, from what was seen and what was decided: the only place that computes one. As JSON, where
 * an undefined field is an absent one, a pass that found nothing new gives the status that is there already.
 */
export function computeStatus(observation: Observation, decision: Decision): VirtualMachineStatus {
  const { virtualMachine, now } = observation;
  const { verdict, attempt } = decision;
  const before = virtualMachine.status;
  const record =
    verdict.kind === "End" && attempt !== undefined ? recordOf(attempt, verdict, now.epochMs) : undefined;
  const inFlight = record === undefined ? attempt : undefined;
  const served = servedNow(verdict, record, attempt);
  const past: VirtualMachineStatus = {
    observedGeneration: virtualMachine.metadata.generation,
    observedRestartGeneration: servedGeneration(verdict, served, virtualMachine),
    observedRestartToken: served.observedRestartToken ?? before.observedRestartToken,
    lastRestart: record ?? before.lastRestart,
    history: record ? [record, ...(before.history ?? [])].slice(0, historyLength) : before.history,
  };
  const { lastRestart } = past;
  const pendingChanges = pendingChangesNow(observation);
  const detachedVolumes = detachedNow(observation, decision);
  const conditions = conditionsFor({
    observation,
    verdict,
    attempt: inFlight,
    lastRestart,
    pendingChanges,
    detachedVolumes,
  });
  return {
    ...past,
    request: waitingRequest(decision.trigger, before.request, past) ?? inFlight?.request,
    domain: domainStatus(observation),
    attempt: inFlight && attemptStatus(inFlight),
    findings: verdict.kind === "Blocked" ? verdict.findings?.map(findingStatus) : undefined,
    pendingChanges: pendingChanges?.slice(0, mostListed),
    detachedVolumes: detachedVolumes?.slice(0, mostListed),
    conditions: conditions.map((condition) => sinceWhen(condition, before.conditions, now.epochMs)),
  };
}

/**
 * The request that is recorded so that it outlives its annotation: also one that came too late for the attempt
 * in flight, and gets a restart of its own after it. A generation that goes back takes no token with it.
 */
function waitingRequest(
  trigger: Trigger,
  recorded: RestartRequest | undefined,
  status: VirtualMachineStatus,
): RestartRequest | undefined {
  const request = trigger.kind === "Reverted" ? byToken(recorded) : requested(trigger);
  return request === undefined || isServed(request, status) ? undefined : request;
}

function requested(trigger: Trigger): RestartRequest | undefined {
  return trigger.kind === "Requested" ? trigger.request : undefined;
}

function byToken(request: RestartRequest | undefined): RestartRequest | undefined {
  return request?.restartToken === undefined ? undefined : { ...request, restartGeneration: undefined };
}

/** An ended request never takes the baseline back; only a revert does. */
function servedGeneration(
  verdict: Verdict,
  served: Served,
  { spec, status }: VirtualMachine,
): number | undefined {
  const { observedRestartGeneration } = served;
  if (observedRestartGeneration === undefined) return status.observedRestartGeneration;
  if (verdict.kind === "Rebase") return observedRestartGeneration;
  const ended = Math.max(observedRestartGeneration, status.observedRestartGeneration ?? 0);
  // Taken back by lowering it: what was never served is no baseline to revert from.
  const isSkipped = verdict.kind === "End" && verdict.result === "Skipped";
  return isSkipped ? Math.min(ended, spec.restartGeneration ?? ended) : ended;
}

function servedNow(
  verdict: Verdict,
  record: RestartRecord | undefined,
  attempt: Attempt | undefined,
): Served {
  if (verdict.kind === "Rebase") return verdict.served;
  return record === undefined || attempt?.isForeign === true ? {} : servedBy(record.request);
}

/** What the next start would change; it is not looked for at every pass, and what was found last still counts. */
function pendingChangesNow({ domain, virtualMachine, definition }: Observation): string[] | undefined {
  if (domain.kind === "Missing" || definition.kind === "Unavailable") return undefined;
  const { pendingChanges } = virtualMachine.status;
  if (domain.kind === "Unreachable") return pendingChanges;
  if (domain.domain.id === undefined) return pendingChanges && [];
  const { next } = domain;
  if (isUnusable(next)) return undefined;
  return next?.changes ?? pendingChanges;
}

/** Whether the definition cannot be used: what the next start would be is not known then. */
function isUnusable(next: NextStart | undefined): boolean {
  return next?.findings?.some(({ reason }) => reason === "DefinitionInvalid") ?? false;
}

/** Disks that the boot was started without, less those that it has by now. A start by anybody else brings all. */
function detachedNow(observation: Observation, { verdict, attempt }: Decision): DetachedVolume[] | undefined {
  const { domain, virtualMachine } = observation;
  const before = virtualMachine.status.detachedVolumes;
  if (verdict.kind === "End" && attempt !== undefined) return leftOutBy(attempt, observation);
  if (before === undefined || attempt !== undefined || domain.kind !== "Present") return before;
  if (domain.domain.id === undefined) return undefined;
  const absent = isUnusable(domain.next) ? undefined : domain.next?.absentDisks;
  return absent === undefined ? before : nonEmpty(before.filter(({ disk }) => absent.includes(disk)));
}

/**
 * What the boot that an attempt has brought lacks. Where it is not certain who has started that, the boot itself tells;
 * what a process that is gone has left out, nothing else does.
 */
function leftOutBy(attempt: Attempt, { domain, virtualMachine }: Observation): DetachedVolume[] | undefined {
  const { marked, recordIn, started, inPlace, resetAt, leftOut, isInherited } = attempt;
  if (started !== undefined) return nonEmpty([...leftOut]);
  // Without marks, one that reboots in place is not told from one that follows it.
  const isRebooted = (inPlace || resetAt !== undefined) && recordIn === "Status";
  const { status, spec } = virtualMachine;
  if (
    !marked ||
    isRebooted ||
    !hasMarks(domain) ||
    runningBoot(attempt, domain.domain, domain.marks) !== "New"
  )
    return status.detachedVolumes;
  if (domain.next === undefined) return nonEmpty([...leftOut]);
  const { absentDisks } = domain.next;
  if (!isInherited) return nonEmpty(leftOut.filter(({ disk }) => absentDisks.includes(disk)));
  if (spec.restartPolicy.onUnavailableVolume !== "Detach") return undefined;
  const message = "it could not be had when the domain was started";
  return nonEmpty(absentDisks.map((disk) => ({ disk, reason: "DisksLeftOut", message })));
}

function nonEmpty<T>(list: T[]): T[] | undefined {
  return list.length === 0 ? undefined : list;
}

/** What was mended. */
function repairsOf({ repairs }: Attempt): string[] | undefined {
  const done = repairs.filter(({ refusal }) => refusal === undefined);
  return nonEmpty(done.slice(0, mostListed).map(({ repair }) => repaired(repair).slice(0, longestListed)));
}

/** Texts of any length may come from libvirt and from the domain's XML. */
function findingStatus({ reason, path, message, remedy }: Finding): PreflightFinding {
  return {
    reason,
    path: shortened(path, longestPath),
    message: shortened(message, longestFindingText),
    remedy: shortened(remedy, longestFindingText),
  };
}

function attemptStatus(attempt: Attempt): RestartAttempt {
  return {
    id: attempt.id,
    request: attempt.request,
    mode: attempt.mode,
    stage: attempt.stage,
    stageStartedAt: formatTimestamp(attempt.stageStartedAtMs),
    startedAt: formatTimestamp(attempt.startedAtMs),
    recordedIn: isOnRecord(attempt) ? attempt.recordIn : undefined,
    forcedBecause: attempt.forcedBecause,
    repairs: repairsOf(attempt),
  };
}

/** The status that says so is itself the record of an attempt without marks. */
function isOnRecord({ marked, recordIn, stage }: Attempt): boolean {
  return marked || (recordIn === "Status" && stage === "Preparing");
}

/** While the hypervisor does not answer, the last that was seen of the domain stays. */
function domainStatus({ domain, virtualMachine }: Observation): DomainStatus | undefined {
  switch (domain.kind) {
    case "Unreachable":
      return virtualMachine.status.domain;
    case "Missing":
      return undefined;
    case "Present": {
      const { uuid, id, state, reason } = domain.domain;
      return { uuid, id, state, reason };
    }
    default:
      return domain satisfies never;
  }
}

function recordOf(attempt: Attempt, end: Verdict & { kind: "End" }, endedAtMs: number): RestartRecord {
  return {
    id: attempt.id,
    request: attempt.request,
    result: end.result,
    method: end.method,
    evidence: end.evidence,
    reason: end.reason,
    message: shortened(end.message, longestMessage),
    // A guest that went off by itself after all was not forced, whatever had been decided.
    forcedBecause: end.method === "Hard" ? attempt.forcedBecause : undefined,
    repairs: repairsOf(attempt),
    startedAt: formatTimestamp(attempt.startedAtMs),
    stoppedAt: end.stoppedAtMs === undefined ? undefined : formatTimestamp(end.stoppedAtMs),
    endedAt: formatTimestamp(endedAtMs),
    downtimeMilliseconds: end.downtimeMs === undefined ? undefined : Math.round(end.downtimeMs),
  };
}

/**
 * A condition's transition time is that of its status, not of its reason or message. It is formatted only where it is
 * new: on most passes that would be most of the work.
 */
function sinceWhen(condition: ConditionNow, before: Condition[] | undefined, epochMs: number): Condition {
  const same = before?.find(({ type, status }) => type === condition.type && status === condition.status);
  return { ...condition, lastTransitionTime: same?.lastTransitionTime ?? formatTimestamp(epochMs) };
}
