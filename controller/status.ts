import type { Condition } from "../crds/condition.ts";
import type { RestartAttempt, RestartRecord } from "../crds/restart.ts";
import { formatTimestamp } from "../crds/timestamp.ts";
import { historyLength, type DomainStatus, type VirtualMachineStatus } from "../crds/virtualmachine.ts";
import type { Attempt } from "./attempt.ts";
import { conditionsFor } from "./conditions.ts";
import type { Decision, Observation, Verdict } from "./decision.ts";
import { servedBy } from "./request.ts";

/**
 * The whole status, from what was seen and what was decided: the only place that computes one. Equal inputs
 * give equal statuses, and a pass that found nothing new gives the status that is there already.
 */
export function computeStatus(observation: Observation, decision: Decision): VirtualMachineStatus {
  const { virtualMachine, now } = observation;
  const { verdict, attempt } = decision;
  const before = virtualMachine.status;
  const record =
    verdict.kind === "End" && attempt !== undefined ? recordOf(attempt, verdict, now.epochMs) : undefined;
  const inFlight = record === undefined ? attempt : undefined;
  const status: VirtualMachineStatus = {
    observedGeneration: virtualMachine.metadata.generation,
    ...servedBefore(before),
    ...(verdict.kind === "Rebase" ? verdict.served : {}),
    ...(record === undefined ? {} : servedBy(record.request)),
    ...(inFlight === undefined ? {} : { request: inFlight.request, attempt: attemptStatus(inFlight) }),
    ...domainStatus(observation),
    ...records(before, record),
  };
  const conditions = conditionsFor({
    observation,
    verdict,
    attempt: inFlight,
    lastRestart: status.lastRestart,
  });
  return { ...status, conditions: conditions.map((condition) => sinceWhen(condition, before.conditions)) };
}

function servedBefore(before: VirtualMachineStatus): Partial<VirtualMachineStatus> {
  const { observedRestartGeneration, observedRestartToken } = before;
  return {
    ...(observedRestartGeneration === undefined ? {} : { observedRestartGeneration }),
    ...(observedRestartToken === undefined ? {} : { observedRestartToken }),
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
    ...(attempt.forcedBecause === undefined ? {} : { forcedBecause: attempt.forcedBecause }),
  };
}

/** While the hypervisor does not answer, the last that was seen of the domain stays. */
function domainStatus({ domain, virtualMachine }: Observation): { domain?: DomainStatus } {
  switch (domain.kind) {
    case "Unreachable":
      return virtualMachine.status.domain === undefined ? {} : { domain: virtualMachine.status.domain };
    case "Missing":
      return {};
    case "Present": {
      const { uuid, id, state, reason } = domain.domain;
      return { domain: { uuid, ...(id === undefined ? {} : { id }), state, reason } };
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
    ...(end.method === undefined ? {} : { method: end.method }),
    evidence: end.evidence,
    reason: end.reason,
    message: end.message,
    ...(attempt.forcedBecause === undefined ? {} : { forcedBecause: attempt.forcedBecause }),
    startedAt: formatTimestamp(attempt.startedAtMs),
    ...(end.stoppedAtMs === undefined ? {} : { stoppedAt: formatTimestamp(end.stoppedAtMs) }),
    endedAt: formatTimestamp(endedAtMs),
    ...(end.downtimeMs === undefined ? {} : { downtimeMilliseconds: Math.round(end.downtimeMs) }),
  };
}

function records(
  before: VirtualMachineStatus,
  record: RestartRecord | undefined,
): Partial<VirtualMachineStatus> {
  if (record !== undefined) {
    return { lastRestart: record, history: [record, ...(before.history ?? [])].slice(0, historyLength) };
  }
  return {
    ...(before.lastRestart === undefined ? {} : { lastRestart: before.lastRestart }),
    ...(before.history === undefined ? {} : { history: before.history }),
  };
}

/** A condition's transition time is that of its status, not of its reason or message. */
function sinceWhen(condition: Condition, before: Condition[] | undefined): Condition {
  const same = before?.find(({ type, status }) => type === condition.type && status === condition.status);
  return same === undefined ? condition : { ...condition, lastTransitionTime: same.lastTransitionTime };
}
