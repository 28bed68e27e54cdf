import type {
  RestartAttempt,
  RestartMethod,
  RestartMode,
  RestartRequest,
  RestartResult,
  RestartStage,
} from "../crds/restart.ts";
import type { RestartPolicy } from "../crds/restart-policy.ts";
import type { VirtualMachine } from "../crds/virtual-machine.ts";
import type { Verdict } from "./decision.ts";
import type { Effect, Instant, Outcome, RequestMark } from "./ports.ts";
import { joined } from "./request.ts";

/**
 * A restart in flight, as this process knows it. What must survive the process is on the domain (the marks);
 * the rest is told in the status and begins anew after a crash.
 */
export interface Attempt {
  /** The attempt's random name: the boot mark of the boot that it ends. */
  readonly id: string;
  readonly request: RestartRequest;
  /** The mode in force; Hard once an Auto attempt has been forced. */
  readonly mode: RestartMode;
  readonly stage: RestartStage;
  readonly stageStartedAtMs: number;
  readonly startedAtMs: number;
  /** Whether the domain carries the marks. */
  readonly marked: boolean;
  /** Whether any of them may be there, so that the guest has to be let go. */
  readonly touched: boolean;
  /** When this process wrote them: a stop after that is the end of the old boot, whoever caused it. */
  readonly markedAt?: Instant | undefined;
  /** ID of the domain before anything was done to it; undefined where it was off, or before this process. */
  readonly domainId?: number | undefined;
  /** How the old boot ends or ended, as far as this attempt has a hand in it. */
  readonly method: RestartMethod | undefined;
  /** Whether the domain told of it: another process began it, or this one did and has forgotten it since. */
  readonly isInherited: boolean;
  /** Whether a resource that was deleted began it: what that one asked for is no request of this one. */
  readonly isForeign: boolean;
  /** Why libvirt would not signal the guest; the next look tells whether that is a reason to cut its power. */
  readonly signalRefusal?: string | undefined;
  /** First and last signal that this process sent to the guest. */
  readonly firstSignal?: Instant | undefined;
  readonly lastSignal?: Instant | undefined;
  /** Set once the hypervisor said that the domain was started. */
  readonly started?: Instant | undefined;
  /** Why an attempt that began by asking went over to force. */
  readonly forcedBecause?: string | undefined;
  /** What libvirt refused last, until something else succeeds. */
  readonly refusal?: Refusal | undefined;
  /** Why the attempt cannot succeed; it ends as soon as the guest has been let go. */
  readonly failure?: Failure | undefined;
  /** Whether the guest may reboot by itself again. */
  readonly released: boolean;
  /** Whether this process has put the result on the domain's own record. */
  readonly settled: boolean;
  /** How the attempt ends: it is not judged again once that is on the domain's record. */
  readonly conclusion?: (Verdict & { kind: "End" }) | undefined;
  /** The result that the domain's own record tells of, where the status has not heard of it. */
  readonly toldResult?: RestartResult | undefined;
}

/** A refusal of libvirt, and when it is asked again. */
export interface Refusal {
  effect: Effect["kind"];
  /** Refusals of this effect in a row. */
  count: number;
  message: string;
  /** When it may be tried again, on the monotonic clock. */
  retryAtMs: number;
}

/** Why an attempt fails, as one word and in words. */
export interface Failure {
  reason: string;
  message: string;
}

/** An effect that is refused this often in a row fails the attempt. */
const mostRefusals = 4;

/** Time to wait when libvirt could not be asked, in milliseconds. */
const notSentDelayMs = 100;

/** Time to wait after the n-th refusal in a row, in milliseconds: 1, 2, 4 s. */
function refusalDelayMs(refusals: number): number {
  return 1000 * 2 ** (refusals - 1);
}

/** A new attempt that has done nothing yet. */
export function beginAttempt(id: string, request: RestartRequest, mode: RestartMode, now: Instant): Attempt {
  return {
    id,
    request,
    mode,
    stage: "Queued",
    stageStartedAtMs: now.epochMs,
    startedAtMs: now.epochMs,
    marked: false,
    touched: false,
    method: "Start",
    isInherited: false,
    isForeign: false,
    released: false,
    settled: false,
  };
}

/** What the domain is to remember of an attempt. */
export function markOf(attempt: Attempt, { metadata, status }: VirtualMachine): RequestMark {
  const { observedRestartGeneration, observedRestartToken } = status;
  return {
    attempt: attempt.id,
    resource: metadata.uid,
    owner: `${metadata.namespace}/${metadata.name}`,
    request: attempt.request,
    servedBefore: { observedRestartGeneration, observedRestartToken },
    startedAtMs: attempt.startedAtMs,
  };
}

/**
 * The attempt that the domain's own record tells of. The status may know how far an earlier process came with
 * it; what neither knows is not claimed.
 */
export function adoptAttempt(
  mark: RequestMark,
  told: RestartAttempt | undefined,
  policy: RestartPolicy,
  now: Instant,
): Attempt {
  const known = told?.id === mark.attempt ? told : undefined;
  const mode = known?.mode ?? mark.request.mode ?? policy.mode;
  const request = known === undefined ? mark.request : joined(mark.request, known.request);
  return {
    ...beginAttempt(mark.attempt, request, mode, now),
    stage: known?.stage ?? "Preparing",
    stageStartedAtMs: now.epochMs,
    startedAtMs: mark.startedAtMs,
    marked: true,
    touched: true,
    isInherited: true,
    method: mark.wasOff === true ? "Start" : (mark.method ?? likelyMethod(mode, known)),
    forcedBecause: known?.forcedBecause,
  };
}

/** How an adopted attempt ends or ended the old boot, where that can be known: an Auto one may have been forced. */
function likelyMethod(mode: RestartMode, known: RestartAttempt | undefined): RestartMethod | undefined {
  if (mode !== "Auto") return mode;
  return known === undefined ? undefined : "Soft";
}

/** The attempt in another stage; the stage's clock starts when it changes. */
export function inStage(attempt: Attempt, stage: RestartStage, now: Instant): Attempt {
  return attempt.stage === stage ? attempt : { ...attempt, stage, stageStartedAtMs: now.epochMs };
}

/** The attempt gone over from asking the guest to cutting its power. */
export function forced(attempt: Attempt, forcedBecause: string): Attempt {
  return { ...attempt, mode: "Hard", forcedBecause };
}

/** The attempt after an effect. */
export function afterEffect(attempt: Attempt, effect: Effect, outcome: Outcome, now: Instant): Attempt {
  if (outcome.kind === "NotSent") return afterNotSent(attempt, effect, outcome.message, now);
  const asked = { ...attempt, touched: attempt.touched || effect.kind === "Mark" };
  switch (outcome.kind) {
    case "Unanswered":
      return afterSilence(asked, effect, outcome.message, now);
    case "Refused":
      return afterRefusal(asked, effect, outcome.message, now);
    case "Done":
      return afterSuccess(asked, effect, now);
    default:
      return outcome satisfies never;
  }
}

/** Nothing happened, and looking may work all the same: without a pause it would be tried in a tight loop. */
function afterNotSent(attempt: Attempt, effect: Effect, message: string, now: Instant): Attempt {
  const count = attempt.refusal?.effect === effect.kind ? attempt.refusal.count : 0;
  const retryAtMs = now.monotonicMs + notSentDelayMs;
  return { ...attempt, refusal: { effect: effect.kind, count, message, retryAtMs } };
}

/**
 * No answer claims nothing: the next look at the domain tells what happened, and the effect is tried again. A signal
 * and a destroy leave a trace all the same: the guest may go off by them. The guest's time runs only from a signal
 * that libvirt has answered; one that is never answered counts as refused in the end.
 */
function afterSilence(attempt: Attempt, effect: Effect, message: string, now: Instant): Attempt {
  if (effect.kind === "Destroy") return afterNotSent({ ...attempt, method: "Hard" }, effect, message, now);
  if (effect.kind !== "Shutdown") return afterNotSent(attempt, effect, message, now);
  const count = attempt.refusal?.effect === "Shutdown" ? attempt.refusal.count + 1 : 1;
  const silent = { ...attempt, method: "Soft" } as const;
  if (count >= mostRefusals) return { ...silent, signalRefusal: message };
  return {
    ...silent,
    refusal: { effect: effect.kind, count, message, retryAtMs: now.monotonicMs + notSentDelayMs },
  };
}

function afterSuccess({ refusal: _mended, ...attempt }: Attempt, effect: Effect, now: Instant): Attempt {
  switch (effect.kind) {
    case "Mark":
      return { ...attempt, marked: true, markedAt: now };
    case "Shutdown":
      return { ...attempt, method: "Soft", firstSignal: attempt.firstSignal ?? now, lastSignal: now };
    case "Destroy":
      return { ...attempt, method: "Hard" };
    case "Start":
      return { ...attempt, started: now };
    case "Release":
      return { ...attempt, released: true };
    case "Settle":
      return { ...attempt, settled: true };
    default:
      return effect satisfies never;
  }
}

function afterRefusal(attempt: Attempt, effect: Effect, message: string, now: Instant): Attempt {
  if (effect.kind === "Shutdown" && attempt.mode === "Auto") return { ...attempt, signalRefusal: message };
  const count = attempt.refusal?.effect === effect.kind ? attempt.refusal.count + 1 : 1;
  const retryAtMs = now.monotonicMs + refusalDelayMs(count);
  const refused = { ...attempt, refusal: { effect: effect.kind, count, message, retryAtMs } };
  if (count < mostRefusals) return refused;
  // Tidying up is not worth holding the result back for ever.
  if (effect.kind === "Release") return { ...refused, released: true };
  if (effect.kind === "Settle") return { ...refused, settled: true };
  const failure = `libvirt refused ${mostRefusals} times to ${verb(effect)} the domain: ${message}`;
  return { ...refused, failure: { reason: `${effect.kind}Refused`, message: failure } };
}

function verb(effect: Effect): string {
  switch (effect.kind) {
    case "Mark":
      return "write the restart's marks into";
    case "Shutdown":
      return "shut down";
    case "Destroy":
      return "destroy";
    case "Start":
      return "start";
    case "Release":
      return "restore the reboot action of";
    case "Settle":
      return "write the restart's result into";
    default:
      return effect satisfies never;
  }
}
