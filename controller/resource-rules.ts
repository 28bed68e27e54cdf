import type { RestartPolicy } from "../crds/restart-policy.ts";
import { parseTimestamp } from "../crds/timestamp.ts";
import { annotations } from "../crds/virtual-machine.ts";
import { deadlineMs, type Failure } from "./attempt.ts";
import { elderOf } from "./claim.ts";
import type { ResourceRule, Ruling, Subject } from "./decision.ts";
import { domainReference } from "./domain-reference.ts";
import type { Notice } from "./notice.ts";
import { lookAgainMs } from "./obstacle.ts";
import { plugIn } from "./plug-in.ts";
import { hasMarks, requestMarkUri } from "./ports.ts";
import { defineMissing } from "./preflight-rules.ts";
import { baseline, names } from "./request.ts";

/** The rules about the resource as a whole, in order. */
export const resourceRules: readonly ResourceRule[] = [
  firstSight,
  reverted,
  refused,
  cancelled,
  overdue,
  unreachable,
  domainGone,
  domainNotFound,
  claimedByAnother,
  claimedByAnotherCluster,
  overdueHalfMarked,
  suspended,
  tooSoon,
  defineMissing,
  plugIn,
];

/**
 * A new, restored or newly adopted resource restarts nothing by what it says already. What a deleted one of its
 * name had begun is brought to its end all the same.
 */
function firstSight({ trigger, virtualMachine }: Subject): Ruling | undefined {
  if (trigger.kind !== "FirstSight") return undefined;
  return { verdict: { kind: "Rebase", served: baseline(virtualMachine) } };
}

/** Git went back: the older state becomes the baseline. A restart under way is finished first. */
function reverted({ trigger, attempt }: Subject): Ruling | undefined {
  if (trigger.kind !== "Reverted" || attempt?.marked === true) return undefined;
  const notice: Notice = {
    type: "Normal",
    reason: "RestartReverted",
    action: "Ignore",
    note: trigger.message,
  };
  return { verdict: { kind: "Rebase", served: trigger.served, notice } };
}

/** A value that cannot be used is refused once. A restart under way is finished first. */
function refused({ trigger, attempt }: Subject): Ruling | undefined {
  if (trigger.kind !== "Invalid" || attempt?.marked === true) return undefined;
  const { served, message } = trigger;
  const notice: Notice = {
    type: "Warning",
    reason: "InvalidRestartRequest",
    action: "Ignore",
    note: message,
  };
  return { verdict: { kind: "Rebase", served, problem: message, notice } };
}

/** The request was taken back before anything was done; a guest that has been asked cannot be asked back. */
function cancelled({ trigger, attempt }: Subject): Ruling | undefined {
  if (trigger.kind !== "Nothing" && trigger.kind !== "Cancelled") return undefined;
  if (attempt === undefined || attempt.touched) return undefined;
  const message = "the request was taken back before the guest was touched";
  return { verdict: { kind: "End", result: "Skipped", reason: "Cancelled", message, evidence: [] } };
}

/** A request that nothing could be done about for too long fails, so that whoever waits for it learns of it. */
function overdue({ virtualMachine, attempt, now }: Subject): Ruling | undefined {
  if (attempt === undefined || attempt.touched) return undefined;
  const deadline = deadlineMs(attempt, virtualMachine.spec.restartPolicy);
  if (deadline === undefined || now.monotonicMs < deadline) return undefined;
  const why = virtualMachine.status.conditions?.find(({ type }) => type === "Ready")?.message;
  const failure = deadlineExceeded(virtualMachine.spec.restartPolicy, why ?? "it waited");
  return { verdict: { kind: "End", result: "Failed", ...failure, evidence: [] } };
}

/** Why a request fails that something held up for too long. */
export function deadlineExceeded({ deadlineSeconds }: RestartPolicy, why: string): Failure {
  return { reason: "DeadlineExceeded", message: `it could not be done within ${deadlineSeconds} s: ${why}` };
}

/** The connection tells when it is back; a domain that hangs is asked again. */
function unreachable({ domain, now }: Subject): Ruling | undefined {
  if (domain.kind !== "Unreachable") return undefined;
  const { reason, message, retryInMs } = domain;
  const untilMs = retryInMs === undefined ? undefined : now.monotonicMs + retryInMs;
  return { verdict: { kind: "Unavailable", reason, message, untilMs } };
}

/** Somebody undefined the domain that was being restarted: there is nothing left to start. */
function domainGone({ domain, attempt, definition }: Subject): Ruling | undefined {
  if (domain.kind !== "Missing" || attempt?.touched !== true || definition.kind === "Given") return undefined;
  const message = "the domain was undefined while it was being restarted";
  return { verdict: { kind: "End", result: "Failed", reason: "DomainNotFound", message, evidence: [] } };
}

/** The domain is not there; libvirt tells when somebody defines it. */
function domainNotFound({ domain, virtualMachine, attempt, definition }: Subject): Ruling | undefined {
  if (domain.kind !== "Missing") return undefined;
  if (definition.kind === "Given") {
    if (attempt !== undefined) return undefined;
    const message = "the hypervisor has no such domain; a restart defines it as spec.definition says";
    return { verdict: { kind: "Unavailable", reason: "DomainNotFound", message } };
  }
  const reference = domainReference(virtualMachine);
  const which = reference.kind === "UUID" ? `with UUID ${reference.uuid}` : `named ${reference.name}`;
  const message = `the hypervisor has no domain ${which}: define it, or correct spec.domain in a new resource`;
  return { verdict: { kind: "Unavailable", reason: "DomainNotFound", message } };
}

/** Two resources for one domain would restart it twice: the older one has it. What was begun is finished. */
function claimedByAnother({ virtualMachine, rivals, attempt }: Subject): Ruling | undefined {
  const elder = elderOf(virtualMachine, rivals);
  if (elder === undefined || attempt?.marked === true) return undefined;
  const { namespace, name } = elder.metadata;
  const message = `the older VirtualMachine ${namespace}/${name} names the same domain: delete one of the two`;
  return { verdict: { kind: "Unavailable", reason: "ClaimedByAnother", message } };
}

/** A restart that another cluster's controller has begun and not ended is that one's to end. */
function claimedByAnotherCluster({ domain, attempt, cluster, now }: Subject): Ruling | undefined {
  if (attempt === undefined || attempt.marked || !hasMarks(domain)) return undefined;
  const mark = domain.marks.next;
  if (mark === undefined || mark.cluster === cluster || mark.result !== undefined) return undefined;
  const message =
    `the VirtualMachine ${mark.owner} of another cluster (${mark.cluster}) is restarting this domain; if that cluster ` +
    `is gone: virsh metadata ${domain.domain.name} ${requestMarkUri} --config --remove`;
  return {
    verdict: { kind: "Blocked", reason: "ClaimedByAnotherCluster", message, untilMs: lookAgainMs(now) },
  };
}

/** What a refused mark has left on the domain is put back before the request fails. */
function overdueHalfMarked({ virtualMachine, attempt, now }: Subject): Ruling | undefined {
  if (attempt === undefined || attempt.marked || !attempt.touched) return undefined;
  const { restartPolicy } = virtualMachine.spec;
  const deadline = deadlineMs(attempt, restartPolicy);
  if (deadline === undefined || now.monotonicMs < deadline) return undefined;
  const why = attempt.refusal?.message ?? "its marks could not be written";
  return { attempt: { ...attempt, failure: deadlineExceeded(restartPolicy, why) } };
}

/** Nothing is begun. What has been marked is finished: a guest that was stopped must not stay off. */
function suspended({ virtualMachine, attempt }: Subject): Ruling | undefined {
  if (!virtualMachine.spec.suspend || attempt === undefined || attempt.marked) return undefined;
  const message = "spec.suspend is true: the restart waits";
  return { verdict: { kind: "Blocked", reason: "Suspended", message } };
}

/** A template that changes at every render must not restart the machine at every render. */
function tooSoon({ virtualMachine, attempt, now }: Subject): Ruling | undefined {
  // Only what touched the domain counts: a request that failed while it waited must not make the next one wait.
  const lastRestart = virtualMachine.status.history?.find(({ method }) => method !== undefined);
  const { minIntervalSeconds } = virtualMachine.spec.restartPolicy;
  if (attempt === undefined || attempt.marked || lastRestart === undefined) return undefined;
  if (names(virtualMachine.metadata.annotations[annotations.skipInterval], attempt.request)) return undefined;
  // A wall clock that is set, before the attempt or during its wait, must not make the wait longer than the interval.
  const sinceMs = Math.min(parseTimestamp(lastRestart.endedAt) ?? 0, attempt.startedAtMs);
  const untilMs = attempt.begunAtMs + sinceMs - attempt.startedAtMs + minIntervalSeconds * 1000;
  if (now.monotonicMs >= untilMs) return undefined;
  const message = `the last restart ended less than ${minIntervalSeconds} s ago`;
  return { verdict: { kind: "Blocked", reason: "MinInterval", message, untilMs } };
}
