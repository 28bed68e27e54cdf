import type { ResourceRule, Subject, Verdict } from "./decision.ts";
import type { Notice } from "./notice.ts";
import { baseline } from "./request.ts";

/** The rules about the resource as a whole, in order. */
export const resourceRules: readonly ResourceRule[] = [
  firstSight,
  reverted,
  refused,
  hypervisorUnreachable,
  domainGone,
  domainNotFound,
  cancelled,
  suspended,
];

/** A new, restored or newly adopted resource restarts nothing by what it says already. */
function firstSight({ trigger, virtualMachine, attempt }: Subject): { verdict: Verdict } | undefined {
  if (trigger.kind !== "FirstSight" || attempt !== undefined) return undefined;
  return { verdict: { kind: "Rebase", served: baseline(virtualMachine) } };
}

/** Git went back: the older state becomes the baseline. A restart under way is finished first. */
function reverted({ trigger, attempt }: Subject): { verdict: Verdict } | undefined {
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
function refused({ trigger, attempt }: Subject): { verdict: Verdict } | undefined {
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

/** The connection tells when it is back. */
function hypervisorUnreachable({ domain, now }: Subject): { verdict: Verdict } | undefined {
  if (domain.kind !== "Unreachable") return undefined;
  const { message, retryInMs } = domain;
  const untilMs = retryInMs === undefined ? undefined : now.monotonicMs + retryInMs;
  return { verdict: { kind: "Unavailable", reason: "HypervisorUnreachable", message, untilMs } };
}

/** Somebody undefined the domain that was being restarted: there is nothing left to start. */
function domainGone({ domain, attempt }: Subject): { verdict: Verdict } | undefined {
  if (domain.kind !== "Missing" || attempt?.marked !== true) return undefined;
  const message = "the domain was undefined while it was being restarted";
  return { verdict: { kind: "End", result: "Failed", reason: "DomainNotFound", message, evidence: [] } };
}

/** The domain is not there; libvirt tells when somebody defines it. */
function domainNotFound({ domain, virtualMachine }: Subject): { verdict: Verdict } | undefined {
  if (domain.kind !== "Missing") return undefined;
  const { name, uuid } = virtualMachine.spec.domain;
  const which = uuid === undefined ? `named ${name ?? virtualMachine.metadata.name}` : `with UUID ${uuid}`;
  const message = `the hypervisor has no domain ${which}: define it, or correct spec.domain in a new resource`;
  return { verdict: { kind: "Unavailable", reason: "DomainNotFound", message } };
}

/** The request was taken back before anything was done. */
function cancelled({ trigger, attempt }: Subject): { verdict: Verdict } | undefined {
  if (trigger.kind !== "Nothing" || attempt === undefined || attempt.marked) return undefined;
  const message = "the request was taken back before the guest was touched";
  return { verdict: { kind: "End", result: "Skipped", reason: "Cancelled", message, evidence: [] } };
}

/** Nothing is begun. What has been marked is finished: a guest that was stopped must not stay off. */
function suspended({ virtualMachine, attempt }: Subject): { verdict: Verdict } | undefined {
  if (!virtualMachine.spec.suspend || attempt === undefined || attempt.marked) return undefined;
  const message = "spec.suspend is true: the restart waits";
  return { verdict: { kind: "Blocked", reason: "Suspended", message } };
}
