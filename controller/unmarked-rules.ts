import { inStage, markOf } from "./attempt.ts";
import type { AttemptRule, AttemptSubject, Ruling, Verdict } from "./decision.ts";
import { deafness, lifeElsewhere, lookAgainMs } from "./obstacle.ts";

/** The rules about an attempt that has not touched the domain yet, in order. */
export const unmarkedRules: readonly AttemptRule[] = [
  savedOrMigrated,
  markStopped,
  transient,
  crashed,
  cannotHear,
  markRunning,
];

/** Nothing is started that lives elsewhere. */
function savedOrMigrated({ domain, now }: AttemptSubject): Ruling | undefined {
  const obstacle = lifeElsewhere(domain);
  return obstacle && { verdict: { kind: "Blocked", ...obstacle, untilMs: lookAgainMs(now) } };
}

/** It is off already: the next boot is marked, so that a crash between does not start it twice. */
function markStopped(subject: AttemptSubject): Ruling | undefined {
  if (subject.domain.id !== undefined) return undefined;
  return {
    verdict: markVerdict(subject, false),
    attempt: inStage(subject.attempt, "Preparing", subject.now),
  };
}

/** A transient domain is gone once it is off: there would be nothing to start. */
function transient({ attempt, persistent }: AttemptSubject): Ruling | undefined {
  if (persistent) return undefined;
  const message =
    "the domain is transient: once it is off there is nothing left to start; define it (virsh define) first";
  return { attempt: { ...attempt, failure: { reason: "TransientDomain", message } } };
}

/** A crashed guest hears nothing, and mode Soft cuts no power. */
function crashed({ attempt, domain }: AttemptSubject): Ruling | undefined {
  if (domain.state !== "Crashed" || attempt.mode !== "Soft") return undefined;
  const message = "the guest has crashed, and mode Soft cuts no power";
  return { attempt: { ...attempt, failure: { reason: "GuestCrashed", message } } };
}

/** Nothing is begun with a guest that hears nothing, unless its power may be cut. */
function cannotHear({ attempt, domain, policy }: AttemptSubject): Ruling | undefined {
  const obstacle = deafness(domain);
  if (obstacle === undefined || attempt.mode === "Hard") return undefined;
  if (domain.state === "Paused" && attempt.mode === "Auto" && policy.whenPaused === "Force") return undefined;
  return { verdict: { kind: "Blocked", ...obstacle } };
}

/** Every mark first; only then the guest hears of it. */
function markRunning(subject: AttemptSubject): Ruling {
  const { attempt, domain, now } = subject;
  return {
    verdict: markVerdict(subject, true),
    attempt: { ...inStage(attempt, "Preparing", now), domainId: domain.id },
  };
}

function markVerdict({ attempt, virtualMachine }: AttemptSubject, running: boolean): Verdict {
  const mark = { ...markOf(attempt, virtualMachine), wasOff: !running };
  const message = "the domain is marked with the restart before anything happens to it";
  return {
    kind: "Act",
    effect: { kind: "Mark", mark, running },
    reason: "Preparing",
    message,
    announce: false,
  };
}
