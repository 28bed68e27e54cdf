import { deadlineMs, markOf, type Failure } from "./attempt.ts";
import { attemptRules } from "./attempt-rules.ts";
import { currentAttempt } from "./current-attempt.ts";
import type { AttemptSubject, Decision, Observation, Rule, Subject, Verdict } from "./decision.ts";
import { hasMarks, type Instant } from "./ports.ts";
import { readTriggers, type Trigger } from "./request.ts";
import { deadlineExceeded, resourceRules } from "./resource-rules.ts";

/** Decides what to do about a resource. Pure: the same observation has the same decision. */
export function decide(observation: Observation): Decision {
  const { virtualMachine, domain, now } = observation;
  const trigger = readTriggers(virtualMachine, now.epochMs);
  const current = currentAttempt(observation, trigger);
  const subject: Subject = { ...observation, trigger, attempt: current };
  const general = firstRuling(resourceRules, subject);
  if (general !== undefined && "verdict" in general) {
    const decision = behindPredecessor({ trigger, attempt: current, ...general }, observation);
    return untilDeadline(heldBack(decision, now), observation);
  }
  const attempt = general?.attempt ?? current;
  if (attempt === undefined || !hasMarks(domain)) {
    return { rule: "nothingRequested", verdict: { kind: "Rest" }, trigger, attempt: undefined };
  }
  const policy = virtualMachine.spec.restartPolicy;
  const decided = decideAttempt({ ...observation, ...domain, policy, attempt }, trigger);
  const decision = heldBack(behindPredecessor(settledFirst(decided, observation), observation), now);
  return untilDeadline(decision, observation);
}

/** The domain's own record learns the result before anybody else does: it is what survives everything. */
function settledFirst(decision: Decision, { virtualMachine, cluster }: Observation): Decision {
  const { verdict, attempt } = decision;
  if (verdict.kind !== "End" || attempt?.marked !== true || attempt.settled) return decision;
  const { reason, message, result, method, evidence } = verdict;
  // A guest that rebooted in place succeeded without its definition: the configuration before is still needed.
  const isWithout = result === "Succeeded" && !evidence.includes("RequestMarkSeen");
  const definition = isWithout ? undefined : attempt.definition;
  const mark = { ...markOf(attempt, virtualMachine, cluster), result, method, definition };
  const effect = { kind: "Settle", mark } as const;
  const stage = result === "Succeeded" ? "Verifying" : attempt.stage;
  return {
    ...decision,
    verdict: { kind: "Act", effect, reason, message, announce: false },
    attempt: { ...attempt, stage, conclusion: verdict },
  };
}

/** What is held up is looked at again when its deadline passes, at the latest. */
function untilDeadline(decision: Decision, { virtualMachine, now }: Observation): Decision {
  const { verdict, attempt } = decision;
  if (attempt === undefined) return decision;
  // What has touched a domain knows no deadline for a hypervisor that does not answer: it may have to start its guest.
  const isHeldUp = verdict.kind === "Blocked" || (verdict.kind === "Unavailable" && !attempt.touched);
  if (!isHeldUp) return decision;
  const deadline = deadlineMs(attempt, virtualMachine.spec.restartPolicy);
  if (deadline === undefined || deadline <= now.monotonicMs) return decision;
  const untilMs = Math.min(verdict.untilMs ?? Number.POSITIVE_INFINITY, deadline);
  return { ...decision, verdict: { ...verdict, untilMs } };
}

/**
 * The previous holder of the lease may have sent something that has not happened yet. A late signal would end a boot that
 * was started meanwhile, and a late mark would bring a request back to life that was served meanwhile: so nothing is done
 * to a domain before, neither in an attempt that was inherited nor in a new one, and no result is put on record.
 */
function behindPredecessor(decision: Decision, { predecessorGoneAtMs, now }: Observation): Decision {
  const { verdict } = decision;
  if (verdict.kind !== "Act" || now.monotonicMs >= predecessorGoneAtMs) return decision;
  const message =
    "the controller that had the lease before may have sent something that has not happened yet";
  return {
    ...decision,
    verdict: { kind: "Wait", reason: "PredecessorMayAct", message, untilMs: predecessorGoneAtMs },
  };
}

/** An effect that libvirt has just refused waits a little; any other effect is as good as ever. */
function heldBack(decision: Decision, now: Instant): Decision {
  const { verdict, attempt } = decision;
  const refusal = attempt?.refusal;
  if (
    verdict.kind !== "Act" ||
    refusal?.effect !== verdict.effect.kind ||
    now.monotonicMs >= refusal.retryAtMs
  ) {
    return decision;
  }
  const message = `${refusal.message}; libvirt is asked again`;
  return {
    ...decision,
    verdict: { kind: "Wait", reason: verdict.reason, message, untilMs: refusal.retryAtMs },
  };
}

/** A ruling that only changes the attempt (it is forced, or it has failed) sends it through the rules again. */
function decideAttempt(subject: AttemptSubject, trigger: Trigger): Decision {
  const ruling = firstRuling(attemptRules(subject.attempt), subject);
  if (ruling === undefined)
    throw new Error("the rules for an attempt cover every state; this one fell through");
  const { attempt = subject.attempt } = ruling;
  if (!("verdict" in ruling)) return decideAttempt({ ...subject, attempt }, trigger);
  if (ruling.verdict.kind === "Rest") return { ...ruling, trigger, attempt: undefined };
  const failure = heldUpTooLong({ ...subject, attempt }, ruling.verdict);
  return failure === undefined
    ? { ...ruling, trigger, attempt }
    : decideAttempt({ ...subject, attempt: { ...attempt, failure } }, trigger);
}

/**
 * A restart that cannot go on fails at its request's deadline, also when it had already begun; but a guest that it has
 * stopped is owed its start, however long its host lacks what that needs.
 */
function heldUpTooLong(
  { policy, attempt, domain, now }: AttemptSubject,
  verdict: Verdict,
): Failure | undefined {
  if (verdict.kind !== "Blocked") return undefined;
  const isStoppedByUs = attempt.marked && domain.id === undefined && attempt.method !== "Start";
  if (isStoppedByUs && verdict.findings !== undefined) return undefined;
  const deadline = deadlineMs(attempt, policy);
  if (deadline === undefined || now.monotonicMs < deadline) return undefined;
  return deadlineExceeded(policy, verdict.message);
}

function firstRuling<S, R>(rules: readonly Rule<S, R>[], subject: S): (R & { rule: string }) | undefined {
  for (const rule of rules) {
    const ruling = rule(subject);
    if (ruling !== undefined) return { ...ruling, rule: rule.name };
  }
  return undefined;
}
