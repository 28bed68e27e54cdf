import { inStage, type Attempt } from "./attempt.ts";
import type { AttemptRule, AttemptSubject, Ruling } from "./decision.ts";
import type { Notice } from "./notice.ts";
import type { Effect } from "./ports.ts";
import { defineForStart, preflightOfStart } from "./preflight-rules.ts";
import { markVerdict } from "./unmarked-rules.ts";

/** The rules about force, for an attempt whose old boot runs, in order. */
export const hardRules: readonly AttemptRule[] = [waitForReset, markForReset, reset, powerOff];

/** How long libvirt may take to tell of a reset, in milliseconds. */
const resetTimeoutMs = 10_000;

/** The reset button was pressed: libvirt tells of the reset, or nobody knows. It is not pressed twice. */
function waitForReset({ attempt, now }: AttemptSubject): Ruling | undefined {
  if (attempt.resetAt === undefined) return undefined;
  const untilMs = attempt.resetAt.monotonicMs + resetTimeoutMs;
  if (now.monotonicMs < untilMs) {
    const message = "the reset button was pressed; libvirt tells when the guest is reset";
    return { verdict: { kind: "Wait", reason: "PoweringOff", message, untilMs } };
  }
  const message =
    `the reset button was pressed, and libvirt did not tell of a reset within ${resetTimeoutMs / 1000} s; ` +
    "nothing more is done for this request";
  return {
    verdict: {
      kind: "End",
      result: "Unverified",
      reason: "RebootUnproven",
      message,
      method: attempt.method,
      evidence: [],
    },
  };
}

/** The record has to say that the boot keeps its mark, and its reboot must not end in off, before it is reset. */
function markForReset(subject: AttemptSubject): Ruling | undefined {
  const { attempt } = subject;
  if (!isReset(subject) || attempt.inPlace || attempt.recordIn === "Status") return undefined;
  return { verdict: markVerdict(subject, true) };
}

/** The restart is forced in place. */
function reset(subject: AttemptSubject): Ruling | undefined {
  return isReset(subject) ? force(subject, { kind: "Reset" }, "the domain is reset") : undefined;
}

/** The restart is forced: cut the power of the marked boot, and of no other. */
function powerOff(subject: AttemptSubject): Ruling | undefined {
  if (subject.attempt.mode !== "Hard") return undefined;
  // It may have been minutes since the guest was asked.
  const preflight = preflightOfStart(subject);
  if (preflight !== undefined && "verdict" in preflight) return preflight;
  // It was to be restarted in place. What cannot be defined at once is looked at again: it has not passed before.
  const define = defineForStart(subject);
  return (
    define ??
    preflight ??
    recordDefinition(subject) ??
    force(subject, { kind: "Destroy" }, "the domain's power is cut")
  );
}

/** Whoever starts what is off has to know that there is a configuration to go back to. */
function recordDefinition(subject: AttemptSubject): Ruling | undefined {
  const { attempt, marks } = subject;
  if (attempt.definition !== "Applied" || attempt.recordIn === "Status") return undefined;
  // What takes no marks any more is forced all the same.
  if (attempt.resetRefused === true) return undefined;
  return marks.next?.definition === undefined ? { verdict: markVerdict(subject, false) } : undefined;
}

/** Only a guest that runs (Xen's idle one as well) can be reset: libvirt leaves one that has crashed paused. */
function isReset({ attempt, policy, domain }: AttemptSubject): boolean {
  if (attempt.mode !== "Hard" || attempt.resetRefused === true) return false;
  const runs = domain.state === "Running" || domain.state === "Blocked";
  return runs && policy.hard.via === "Reset";
}

function force({ attempt, now }: AttemptSubject, effect: Effect, what: string): Ruling {
  const message = `${what}: ${attempt.forcedBecause ?? "mode Hard asks for it"}`;
  const isRetry = attempt.refusal?.effect === effect.kind;
  return {
    verdict: {
      kind: "Act",
      effect,
      reason: "PoweringOff",
      message,
      announce: true,
      notice: isRetry ? undefined : noticeOfForce(attempt, message),
    },
    attempt: inStage(attempt, "PoweringOff", now),
  };
}

function noticeOfForce({ forcedBecause }: Attempt, note: string): Notice {
  return forcedBecause === undefined
    ? { type: "Normal", reason: "RestartStarted", action: "PowerCycle", note }
    : { type: "Warning", reason: "RestartForced", action: "PowerCycle", note };
}
