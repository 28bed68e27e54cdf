import type { RestartEvidence, RestartMethod } from "../crds/restart.ts";
import { forced, inStage, type Attempt } from "./attempt.ts";
import { endOfOldBoot, evidenceOfNewBoot, runningBoot } from "./boot.ts";
import type { AttemptRule, AttemptSubject, Ruling, Verdict } from "./decision.ts";
import { deafness, lifeElsewhere, lookAgainMs } from "./obstacle.ts";
import type { Notice } from "./notice.ts";
import type { Domain } from "./ports.ts";

/**
 * The rules about an attempt whose marks are on the domain, in order. The boot that runs is read from the
 * marks first; the rules after `powerOff` are about the old boot, which still runs.
 */
export const markedRules: readonly AttemptRule[] = [
  newBootRuns,
  bootIsUnknown,
  stoppedAgain,
  stopped,
  undefinedMeanwhile,
  markLost,
  powerOff,
  waitWhilePaused,
  guestCrashed,
  signalRefused,
  softTimeout,
  signal,
  waitForGuest,
];

/** The next boot runs: the restart is done, whoever started it. */
function newBootRuns(subject: AttemptSubject): Ruling | undefined {
  const { attempt, domain } = subject;
  if (boot(subject) !== "New") return undefined;
  const evidence = evidenceOfNewBoot(attempt, domain);
  return { verdict: { ...succeeded(subject), evidence } };
}

/** The marks prove nothing, so nothing more is done: a second restart would be worse than an open question. */
function bootIsUnknown(subject: AttemptSubject): Ruling | undefined {
  const { attempt } = subject;
  if (boot(subject) !== "Unknown") return undefined;
  const message =
    "the domain's marks prove neither that the old boot still runs nor that a new one does " +
    "(it was restored or defined anew, or somebody else wrote them); nothing more is done for this request";
  if (!attempt.released) {
    const effect = { kind: "Release", attempt: attempt.id } as const;
    return { verdict: { kind: "Act", effect, reason: "ContradictoryMarks", message, announce: false } };
  }
  const verdict: Verdict = {
    kind: "End",
    result: "Unverified",
    reason: "ContradictoryMarks",
    message,
    method: attempt.method,
    evidence: [],
  };
  return { verdict };
}

/** It was started and is off again: exactly once means that it is not started a second time. */
function stoppedAgain({ attempt, domain }: AttemptSubject): Ruling | undefined {
  if (domain.id !== undefined || attempt.started === undefined) return undefined;
  const message = `the domain was started and is off again (${domain.state}, ${domain.reason})`;
  const reason = "StoppedAfterStart";
  const evidence: RestartEvidence[] = ["DomainOff"];
  return { verdict: { kind: "End", result: "Failed", reason, message, method: attempt.method, evidence } };
}

/** The old boot is gone: start the next one at once. */
function stopped({ attempt, domain, now }: AttemptSubject): Ruling | undefined {
  if (domain.id !== undefined) return undefined;
  const obstacle = lifeElsewhere(domain);
  if (obstacle !== undefined)
    return {
      verdict: { kind: "Blocked", ...obstacle, untilMs: lookAgainMs(now) },
      attempt: { ...unheard(attempt), method: howItStopped(attempt, domain) },
    };
  const message = "the guest is down and the domain is started";
  return {
    verdict: { kind: "Act", effect: { kind: "Start" }, reason: "Starting", message, announce: false },
    attempt: { ...inStage(attempt, "Starting", now), method: howItStopped(attempt, domain) },
  };
}

/** Somebody undefined the domain under its running guest: once that is off there is nothing left to start. */
function undefinedMeanwhile({ attempt, persistent }: AttemptSubject): Ruling | undefined {
  if (persistent) return undefined;
  const message = "the domain was undefined while it was being restarted; its guest is left running";
  return { attempt: { ...attempt, failure: { reason: "TransientDomain", message } } };
}

/** Somebody defined the domain anew, without the mark of the next boot: no signal without it. */
function markLost({ attempt, marks }: AttemptSubject): Ruling | undefined {
  if (marks.next?.attempt === attempt.id) return undefined;
  if (marks.next === undefined) return { attempt: { ...attempt, marked: false } };
  const message = `another attempt (${marks.next.attempt}) has marked the domain: do two controllers work on it?`;
  const failure = { reason: "MarkReplaced", message };
  // The marks are the other one's now: nothing of them is put back, and its record is not overwritten.
  return { attempt: { ...attempt, failure, released: true, settled: true } };
}

/** The restart is forced: cut the power of the marked boot, and of no other. */
function powerOff({ attempt, now }: AttemptSubject): Ruling | undefined {
  if (attempt.mode !== "Hard") return undefined;
  const message = `the domain's power is cut: ${attempt.forcedBecause ?? "mode Hard asks for it"}`;
  const notice: Notice =
    attempt.forcedBecause === undefined
      ? { type: "Normal", reason: "RestartStarted", action: "PowerCycle", note: message }
      : { type: "Warning", reason: "RestartForced", action: "PowerCycle", note: message };
  const isRetry = attempt.refusal?.effect === "Destroy";
  return {
    verdict: {
      kind: "Act",
      effect: { kind: "Destroy" },
      reason: "PoweringOff",
      message,
      announce: true,
      notice: isRetry ? undefined : notice,
    },
    attempt: inStage(attempt, "PoweringOff", now),
  };
}

/** A guest that is paused hears nothing, so its time does not run; it is asked anew when it is resumed. */
function waitWhilePaused({ attempt, domain, policy }: AttemptSubject): Ruling | undefined {
  const obstacle = deafness(domain);
  if (obstacle === undefined) return undefined;
  if (domain.state === "Paused" && policy.whenPaused === "Force" && attempt.mode === "Auto") {
    return { attempt: forced(attempt, obstacle.message) };
  }
  return { verdict: { kind: "Blocked", ...obstacle }, attempt: unheard(attempt) };
}

/** A crashed guest that libvirt keeps for a look at its memory will never shut down. */
function guestCrashed({ attempt, domain }: AttemptSubject): Ruling | undefined {
  return domain.state === "Crashed"
    ? forceOrFail(attempt, "GuestCrashed", "the guest has crashed")
    : undefined;
}

/** Whatever libvirt has against asking the guest, it is no reason to leave an Auto restart undone. */
function signalRefused({ attempt }: AttemptSubject): Ruling | undefined {
  if (attempt.signalRefusal === undefined) return undefined;
  return forceOrFail(
    attempt,
    "ShutdownRefused",
    `libvirt did not signal the guest: ${attempt.signalRefusal}`,
  );
}

/** The guest had its time, from the first signal that libvirt had answered. */
function softTimeout({ attempt, policy, now }: AttemptSubject): Ruling | undefined {
  const { timeoutSeconds } = policy.soft;
  const { firstSignal } = attempt;
  if (firstSignal === undefined || now.monotonicMs < firstSignal.monotonicMs + timeoutSeconds * 1000)
    return undefined;
  return forceOrFail(
    attempt,
    "GuestShutdownTimedOut",
    `the guest did not shut down within ${timeoutSeconds} s`,
  );
}

const asked = "the guest is asked to shut down by the ACPI power button";

/** Ask the guest to shut down; and again, in case it was still booting when it was asked. */
function signal({ attempt, domain, policy, now }: AttemptSubject): Ruling | undefined {
  if (domain.state === "Shutdown") return undefined;
  const { lastSignal } = attempt;
  const isFirst = attempt.firstSignal === undefined && attempt.refusal === undefined;
  if (lastSignal !== undefined && now.monotonicMs < lastSignal.monotonicMs + policy.soft.resendSeconds * 1000)
    return undefined;
  const notice: Notice = { type: "Normal", reason: "RestartStarted", action: "Restart", note: asked };
  return {
    verdict: {
      kind: "Act",
      effect: { kind: "Shutdown" },
      reason: "ShuttingDown",
      message: asked,
      announce: true,
      notice: isFirst ? notice : undefined,
    },
    attempt: inStage(attempt, "ShuttingDown", now),
  };
}

/** libvirt tells when it is off; otherwise the clock does. */
function waitForGuest({ attempt, domain, policy, now }: AttemptSubject): Ruling {
  const begin = attempt.firstSignal ?? now;
  const timeoutAtMs = begin.monotonicMs + policy.soft.timeoutSeconds * 1000;
  const resendAtMs = (attempt.lastSignal ?? begin).monotonicMs + policy.soft.resendSeconds * 1000;
  return {
    verdict: {
      kind: "Wait",
      reason: "ShuttingDown",
      message: asked,
      // One that is going down already is not asked again.
      untilMs: domain.state === "Shutdown" ? timeoutAtMs : Math.min(timeoutAtMs, resendAtMs),
    },
    attempt:
      attempt.firstSignal === undefined ? { ...attempt, firstSignal: begin, lastSignal: begin } : attempt,
  };
}

function boot({ attempt, domain, marks }: AttemptSubject): ReturnType<typeof runningBoot> {
  return runningBoot(attempt, domain, marks);
}

/** What the guest has been told counts no more: it is asked anew. */
function unheard(attempt: Attempt): Attempt {
  return { ...attempt, firstSignal: undefined, lastSignal: undefined, signalRefusal: undefined };
}

/** The guest does not answer: mode Auto cuts its power, mode Soft gives up. */
function forceOrFail(attempt: Attempt, reason: string, because: string): Ruling {
  if (attempt.mode === "Auto") return { attempt: forced(attempt, because) };
  return { attempt: { ...attempt, failure: { reason, message: `${because}, and mode Soft cuts no power` } } };
}

/** An operator's destroy or a crash during the wait is not the guest's answer, whatever it had been asked. */
function howItStopped({ method }: Attempt, { reason }: Domain): RestartMethod | undefined {
  if (method === "Soft" && !gentleReasons.has(reason)) return "Start";
  if (method !== undefined) return method;
  // An adopted attempt that may have been forced: the domain says whether it was.
  if (reason === "Shutdown") return "Soft";
  return reason === "Destroyed" ? "Hard" : undefined;
}

/** Reasons of an inactive domain whose guest may have shut down itself; libvirtd forgets the reason when it restarts. */
const gentleReasons = new Set(["Shutdown", "Unknown", "Daemon"]);

function succeeded({ attempt, domain }: AttemptSubject): Verdict & { kind: "End" } {
  const stop = endOfOldBoot(attempt, domain);
  return {
    kind: "End",
    result: "Succeeded",
    reason: "Restarted",
    message: message(attempt),
    method: attempt.method,
    evidence: [],
    stoppedAtMs: stop?.epochMs,
    downtimeMs: stop && attempt.started && Math.max(0, attempt.started.monotonicMs - stop.monotonicMs),
  };
}

function message(attempt: Attempt): string {
  switch (attempt.method) {
    case "Soft":
      return "the guest shut down when asked, and a new boot runs";
    case "Hard":
      return "the domain's power was cut, and a new boot runs";
    case "Start":
      return "the domain was off, or somebody else stopped it, and a new boot runs";
    case undefined:
      return "the old boot ended, and a new one runs";
    default:
      return attempt.method satisfies never;
  }
}
