import type { Signal } from "../crds/restart-policy.ts";
import { forced, inStage, unheard, type Attempt } from "./attempt.ts";
import type { AttemptRule, AttemptSubject, Ruling } from "./decision.ts";
import { deafnessOf, hasCrashed, lookAgainMs, pausedObstacle } from "./obstacle.ts";
import type { Effect } from "./ports.ts";
import { preflightOfStart } from "./preflight-rules.ts";

/** The rules about asking the guest, for an attempt whose old boot runs, in order. The last one always answers. */
export const softRules: readonly AttemptRule[] = [
  guestCrashed,
  signalRefused,
  wake,
  resume,
  waitWhilePaused,
  softTimeout,
  signal,
  waitForGuest,
];

/** How long a guest may take to wake up, in milliseconds. */
const wakeTimeoutMs = 10_000;

/** A crashed guest that libvirt keeps for a look at its memory will never shut down. */
function guestCrashed({ attempt, domain }: AttemptSubject): Ruling | undefined {
  return hasCrashed(domain) ? forceOrFail(attempt, "GuestCrashed", "the guest has crashed") : undefined;
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

/** A guest that sleeps hears nothing: it is woken up first, once. */
function wake({ attempt, domain, now }: AttemptSubject): Ruling | undefined {
  if (deafnessOf(domain) !== "Suspended") return undefined;
  const message = "the guest sleeps and is woken up";
  const awake = unheard(attempt);
  if (attempt.refusal?.effect === "Wake" && attempt.mode === "Auto")
    return { attempt: forced(attempt, `libvirt did not wake the guest up: ${attempt.refusal.message}`) };
  if (attempt.wokenAt === undefined) {
    return {
      verdict: { kind: "Act", effect: { kind: "Wake" }, reason: "Preparing", message, announce: false },
      attempt: awake,
    };
  }
  const untilMs = attempt.wokenAt.monotonicMs + wakeTimeoutMs;
  if (now.monotonicMs < untilMs)
    return { verdict: { kind: "Wait", reason: "Preparing", message, untilMs }, attempt: awake };
  return forceOrFail(
    attempt,
    "GuestDidNotWake",
    `the guest sleeps and did not wake up within ${wakeTimeoutMs / 1000} s`,
  );
}

/**
 * A guest that stands still on an I/O error may run on by now: mode Auto resumes it, and again each minute. One that is
 * paused at once again shows that its storage is not well: it is not power-cycled, for it might not start again.
 */
function resume({ attempt, domain, now }: AttemptSubject): Ruling | undefined {
  if (deafnessOf(domain) !== "IOError" || attempt.mode !== "Auto") return undefined;
  const { resumedAt } = attempt;
  const againAtMs = resumedAt === undefined ? now.monotonicMs : lookAgainMs(resumedAt);
  if (now.monotonicMs < againAtMs) {
    const message = "the guest was resumed, and is paused on an I/O error again: its storage is not well";
    return {
      verdict: { kind: "Blocked", reason: "StorageFailing", message, untilMs: againAtMs },
      attempt: unheard(attempt),
    };
  }
  const message = "the guest is paused on an I/O error, its disks can be read, and it is resumed";
  return {
    verdict: { kind: "Act", effect: { kind: "Resume" }, reason: "Preparing", message, announce: false },
    attempt: unheard(attempt),
  };
}

/** A guest that is paused hears nothing, so its time does not run; it is asked anew when it is resumed. */
function waitWhilePaused({ attempt, domain, policy }: AttemptSubject): Ruling | undefined {
  if (deafnessOf(domain) === undefined) return undefined;
  const obstacle = pausedObstacle(domain);
  if (policy.whenPaused === "Force" && attempt.mode === "Auto")
    return { attempt: forced(attempt, obstacle.message) };
  return { verdict: { kind: "Blocked", ...obstacle }, attempt: unheard(attempt) };
}

/** The guest had its time, from the first signal that libvirt had answered. */
function softTimeout({ attempt, policy, now }: AttemptSubject): Ruling | undefined {
  const { timeoutSeconds } = policy.soft;
  const { firstSignal, lastSignal } = attempt;
  if (firstSignal === undefined || now.monotonicMs < firstSignal.monotonicMs + timeoutSeconds * 1000)
    return undefined;
  if (lastSignal === undefined) {
    const why = `no guest agent was connected within ${timeoutSeconds} s, and soft.signals names no other signal`;
    return forceOrFail(attempt, "AgentNotConnected", why);
  }
  return forceOrFail(
    attempt,
    "GuestShutdownTimedOut",
    `the guest did not ${policy.soft.via === "Reboot" ? "reboot" : "shut down"} within ${timeoutSeconds} s`,
  );
}

/** Ask the guest; and again, in case it was still booting when it was asked. */
function signal(subject: AttemptSubject): Ruling | undefined {
  const { attempt, policy, now } = subject;
  const { lastSignal } = attempt;
  if (lastSignal !== undefined && now.monotonicMs < lastSignal.monotonicMs + policy.soft.resendSeconds * 1000)
    return undefined;
  const by = nextSignal(subject);
  if (by === undefined) return undefined;
  // It may have been long since it was marked. One that was asked may go off anyway: asking it again changes little.
  const unprepared = lastSignal === undefined && !attempt.inPlace ? preflightOfStart(subject) : undefined;
  if (unprepared !== undefined) return unprepared;
  const effect: Effect = { kind: attempt.inPlace ? "Reboot" : "Shutdown", signal: by };
  const note = asked(effect.kind, by);
  const isFirst = attempt.askedAt === undefined && attempt.refusal === undefined;
  return {
    verdict: {
      kind: "Act",
      effect,
      reason: "ShuttingDown",
      message: note,
      announce: true,
      notice: isFirst ? { type: "Normal", reason: "RestartStarted", action: "Restart", note } : undefined,
    },
    attempt: inStage(attempt, "ShuttingDown", now),
  };
}

/** libvirt tells when it is off; otherwise the clock does. Where no signal is there, an event tells of one. */
function waitForGuest(subject: AttemptSubject): Ruling {
  const { attempt, policy, now } = subject;
  const { lastSignal, lastSignalBy, inPlace } = attempt;
  const firstSignal = attempt.firstSignal ?? now;
  const timeoutAtMs = firstSignal.monotonicMs + policy.soft.timeoutSeconds * 1000;
  const canResend = lastSignal !== undefined && nextSignal(subject) !== undefined;
  const resendAtMs = canResend ? lastSignal.monotonicMs + policy.soft.resendSeconds * 1000 : timeoutAtMs;
  return {
    verdict: {
      kind: "Wait",
      reason: "ShuttingDown",
      message:
        lastSignalBy === undefined
          ? "the guest cannot be asked: its agent is not connected"
          : asked(inPlace ? "Reboot" : "Shutdown", lastSignalBy),
      untilMs: Math.min(timeoutAtMs, resendAtMs),
    },
    attempt: { ...inStage(attempt, "ShuttingDown", now), firstSignal },
  };
}

/**
 * The next way to ask, in the policy's order: after each resend the next one, and the last one again and again. An
 * agent that is not connected, or that libvirt did not reach, is skipped at once.
 */
function nextSignal({ attempt, policy, domain }: AttemptSubject): Signal | undefined {
  const usable = policy.soft.signals.filter(
    (one) => one !== "Agent" || (domain.agent === "Connected" && !attempt.agentRefused),
  );
  const last = attempt.lastSignalBy === undefined ? -1 : policy.soft.signals.indexOf(attempt.lastSignalBy);
  return usable.find((one) => policy.soft.signals.indexOf(one) > last) ?? usable.at(-1);
}

function asked(kind: Effect["kind"], by: Signal): string {
  const what = kind === "Reboot" ? "reboot in place" : "shut down";
  return `the guest is asked to ${what} by ${by === "Agent" ? "its guest agent" : "the ACPI power button"}`;
}

/** The guest does not answer: mode Auto forces it, mode Soft gives up. */
export function forceOrFail(attempt: Attempt, reason: string, because: string): Ruling {
  if (attempt.mode === "Auto") return { attempt: forced(attempt, because) };
  return { attempt: { ...attempt, failure: { reason, message: `${because}, and mode Soft cuts no power` } } };
}
