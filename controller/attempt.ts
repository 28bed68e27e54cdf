import type {
  RestartAttempt,
  RestartMethod,
  RestartMode,
  RestartRequest,
  RestartResult,
  RestartStage,
} from "../crds/restart.ts";
import type { RestartPolicy, Signal } from "../crds/restart-policy.ts";
import { parseTimestamp } from "../crds/timestamp.ts";
import type { VirtualMachine } from "../crds/virtual-machine.ts";
import type { DetachedVolume } from "../crds/machine.ts";
import type { Verdict } from "./decision.ts";
import { disturbsGuest } from "./disturbance.ts";
import { repairKey, type Repair } from "./finding.ts";
import type { Blueprint, Effect, Instant, Outcome, Question, RefusalCause, RequestMark } from "./ports.ts";
import { joined, type Served } from "./request.ts";

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
  /** When this process began it or took it over, on its monotonic clock. */
  readonly begunAtMs: number;
  /** When its request was first seen, on the monotonic clock of this process: a wall clock can be set. */
  readonly requestedAtMs: number;
  /** Where it is put on record before the guest is touched. */
  readonly recordIn: RecordPlace;
  /** Whether the domain takes no marks, because something holds it: it can only be put on record in the status. */
  readonly unmarkable: boolean;
  /** Whether it is on record: the domain carries the marks, or the API server has the status. */
  readonly marked: boolean;
  /** Whether any mark may be on the domain, or anything was done to it, so that the guest has to be let go. */
  readonly touched: boolean;
  /** When this process put it on record: a stop after that is the end of the old boot, whoever caused it. */
  readonly markedAt?: Instant | undefined;
  /** ID of the domain before anything was done to it; undefined where it was off, or before this process. */
  readonly domainId?: number | undefined;
  /**
   * The connection to the hypervisor on which it was put on record; where that is on the domain, the one on which the
   * domain was last looked at.
   */
  readonly connection?: number | undefined;
  /** Whether the old boot ends by a reboot or a reset in place: the domain is not to go off, and keeps its mark. */
  readonly inPlace: boolean;
  /** Boot ID that the guest agent told before an in-place reboot. */
  readonly bootId?: string | undefined;
  /** Whether the guest may have rebooted in place without this process's knowledge, which leaves no trace on the domain. */
  readonly unproven: boolean;
  /** How the old boot ends or ended, as far as this attempt has a hand in it. */
  readonly method: RestartMethod | undefined;
  /** Whether the domain told of it: another process began it, or this one did and has forgotten it since. */
  readonly isInherited: boolean;
  /** What had been served before it, where its mark told: one that is adopted once more has been served itself by now. */
  readonly servedBefore?: Served | undefined;
  /** Whether a resource that was deleted began it: what that one asked for is no request of this one. */
  readonly isForeign: boolean;
  /** When this process first did something to the guest: a reboot that libvirt tells of after that counts. */
  readonly askedAt?: Instant | undefined;
  /** Why libvirt would not signal the guest; the next look tells whether that is a reason to cut its power. */
  readonly signalRefusal?: string | undefined;
  /** First and last signal that this process sent to the guest, and how the last one was sent. */
  readonly firstSignal?: Instant | undefined;
  readonly lastSignal?: Instant | undefined;
  readonly lastSignalBy?: Signal | undefined;
  /** Whether libvirt refused to ask the agent: it is not asked again. */
  readonly agentRefused: boolean;
  /** When the guest was woken up, which is done once, and when it was last resumed after an I/O error. */
  readonly wokenAt?: Instant | undefined;
  readonly resumedAt?: Instant | undefined;
  /** Since when the guest is seen to go down. */
  readonly goingDownSince?: Instant | undefined;
  /** When the reset button was pressed. */
  readonly resetAt?: Instant | undefined;
  /** Whether libvirt would not reset the domain, or not let it be prepared for that: its power is cut instead. */
  readonly resetRefused?: boolean | undefined;
  /** Since when the new boot's agent is waited for. */
  readonly verifyingSince?: Instant | undefined;
  /** Whether the start discards memory that was saved on disk. */
  readonly discardsSaved?: boolean | undefined;
  /** When everything that the next start needs was last seen to be there. */
  readonly preflightPassedAt?: Instant | undefined;
  /** What was mended for the next start, or was to be, in order. */
  readonly repairs: readonly TriedRepair[];
  /** Disks that cannot be had, and that the domain is started without. */
  readonly leftOut: readonly DetachedVolume[];
  /**
   * Whether the resource's definition became the domain's configuration and no boot was started with it before, and
   * whether that was put back.
   */
  readonly definition?: RequestMark["definition"];
  /** When libvirt last refused to start the domain. */
  readonly startRefusedAt?: Instant | undefined;
  /** Why the configuration before is put back: what libvirt said about starting the new one. */
  readonly rolledBackBecause?: string | undefined;
  /** Set once the hypervisor said that the domain was started. */
  readonly started?: Instant | undefined;
  /** Why an attempt that began by asking went over to force. */
  readonly forcedBecause?: string | undefined;
  /** What libvirt refused last, until something else succeeds. */
  readonly refusal?: Refusal | undefined;
  /** Why the attempt cannot succeed; it ends as soon as the guest has been let go. */
  readonly failure?: Failure | undefined;
  /** Whether it ended long ago, and only its boot, which was saved on disk then, is still to be let go. */
  readonly isLeftover?: boolean | undefined;
  /** Whether the guest may reboot by itself again. */
  readonly released: boolean;
  /** Whether this process has put the result on the domain's own record. */
  readonly settled: boolean;
  /** How the attempt ends: it is not judged again once that is on the domain's record. */
  readonly conclusion?: (Verdict & { kind: "End" }) | undefined;
  /** The result that was on the domain's own record when it was adopted: of one that a guest obeyed too late. */
  readonly adoptedResult?: RestartResult | undefined;
  /** The result that the domain's own record tells of, where the status has not heard of it. */
  readonly toldResult?: RestartResult | undefined;
}

/** Where an attempt can be on record before the guest is touched. */
export type RecordPlace = NonNullable<RestartAttempt["recordedIn"]>;

/** A refusal of libvirt, and when it is asked again. */
export interface Refusal {
  effect: Effect["kind"];
  /** Refusals of this effect in a row. */
  count: number;
  message: string;
  /** When it may be tried again, on the monotonic clock. */
  retryAtMs: number;
}

/** A repair, and how it went. */
export interface TriedRepair {
  repair: Repair;
  at: Instant;
  /** What libvirt had against it; absent where it succeeded. */
  refusal?: string | undefined;
}

/** Why an attempt fails, as one word and in words. */
export interface Failure {
  reason: string;
  message: string;
}

/** Time to wait when libvirt could not be asked, in milliseconds. */
const notSentDelayMs = 100;

/**
 * Seconds to wait after each refusal of an effect in a row; one more fails the attempt. A guest that was stopped gets
 * more tries to start: what it lacks may come back.
 */
const refusalDelays: Readonly<Partial<Record<Effect["kind"], readonly number[]>>> = {
  Start: [1, 2, 4, 8, 15, 30],
};
const usualRefusalDelays = [1, 2, 4];

function delaysAfterRefusal(effect: Effect["kind"]): readonly number[] {
  return refusalDelays[effect] ?? usualRefusalDelays;
}

/** An effect that is refused this often in a row fails the attempt. */
function mostRefusals(effect: Effect["kind"]): number {
  return delaysAfterRefusal(effect).length + 1;
}

/** How long to wait for a domain that something else holds, after libvirt itself has waited for it, in milliseconds. */
const heldDelayMs = 10_000;

/** For so long nothing is taken to have gone that was seen to be there for the next start, in milliseconds. */
const preflightHoldsMs = 10_000;

/** A new attempt that has done nothing yet. */
export function beginAttempt(
  id: string,
  request: RestartRequest,
  policy: RestartPolicy,
  now: Instant,
): Attempt {
  return {
    id,
    request,
    mode: request.mode ?? policy.mode,
    stage: "Queued",
    stageStartedAtMs: now.epochMs,
    startedAtMs: now.epochMs,
    begunAtMs: now.monotonicMs,
    requestedAtMs: now.monotonicMs - waitedMs(request, now),
    recordIn: recordPlaceOf(policy),
    unmarkable: false,
    marked: false,
    touched: false,
    method: "Start",
    inPlace: false,
    unproven: false,
    isInherited: false,
    isForeign: false,
    agentRefused: false,
    repairs: [],
    leftOut: [],
    released: false,
    settled: false,
  };
}

/** How long a request has waited already, as far as the wall clock can tell. */
function waitedMs({ requestedAt }: RestartRequest, { epochMs }: Instant): number {
  return Math.max(0, epochMs - (parseTimestamp(requestedAt) ?? epochMs));
}

/** When an attempt that cannot go on fails, on the monotonic clock; undefined: never. */
export function deadlineMs(
  { requestedAtMs }: Attempt,
  { deadlineSeconds }: RestartPolicy,
): number | undefined {
  return deadlineSeconds === undefined ? undefined : requestedAtMs + deadlineSeconds * 1000;
}

/** Where a policy wants an attempt to be on record. */
export function recordPlaceOf({ marks }: RestartPolicy): RecordPlace {
  return marks === "Domain" ? "Domain" : "Status";
}

/** What the domain is to remember of an attempt. */
export function markOf(attempt: Attempt, { metadata, status }: VirtualMachine, cluster: string): RequestMark {
  const { observedRestartGeneration, observedRestartToken } = status;
  // What a deleted resource had served is nothing of this one's.
  const told = attempt.isForeign ? undefined : attempt.servedBefore;
  return {
    attempt: attempt.id,
    cluster,
    resource: metadata.uid,
    owner: `${metadata.namespace}/${metadata.name}`,
    request: attempt.request,
    servedBefore: told ?? { observedRestartGeneration, observedRestartToken },
    startedAtMs: attempt.startedAtMs,
    definition: attempt.definition,
  };
}

/** What is on record of an attempt, on the domain or in the status. */
export type Trace = Pick<
  RequestMark,
  "attempt" | "request" | "startedAtMs" | "wasOff" | "method" | "result" | "inPlace" | "bootId" | "definition"
> &
  Partial<Pick<RequestMark, "servedBefore">>;

/**
 * The attempt of another process that a record tells of. The status may know how far that one came with it; what
 * neither knows is not claimed.
 */
export function adoptAttempt(
  trace: Trace,
  recordIn: RecordPlace,
  told: RestartAttempt | undefined,
  policy: RestartPolicy,
  now: Instant,
): Attempt {
  const known = told?.id === trace.attempt ? told : undefined;
  const request = known === undefined ? trace.request : joined(trace.request, known.request);
  const begun = beginAttempt(trace.attempt, request, policy, now);
  const mode = known?.mode ?? trace.request.mode ?? policy.mode;
  const inPlace = trace.inPlace === true;
  return {
    ...begun,
    mode,
    stage: known?.stage ?? "Preparing",
    startedAtMs: trace.startedAtMs,
    recordIn,
    marked: true,
    touched: true,
    isInherited: true,
    adoptedResult: trace.result,
    method: trace.wasOff === true ? "Start" : (trace.method ?? likelyMethod(mode, recordIn, known)),
    inPlace,
    bootId: trace.bootId,
    definition: trace.definition,
    servedBefore: trace.servedBefore,
    unproven: inPlace || recordIn === "Status",
    // The guest may have been asked: a reboot that is seen from now on counts.
    askedAt: inPlace ? now : undefined,
    // What was not done, or was never on the domain, need not be undone there.
    released: inPlace || recordIn === "Status",
    settled: recordIn === "Status",
    forcedBecause: known?.forcedBecause,
  };
}

/** How an adopted attempt ends or ended the old boot, where that can be known: an Auto one may have been forced. */
function likelyMethod(
  mode: RestartMode,
  recordIn: RecordPlace,
  known: RestartAttempt | undefined,
): RestartMethod | undefined {
  // Without marks nothing tells how far it came.
  if (recordIn === "Status") return undefined;
  if (mode !== "Auto") return mode;
  return known === undefined ? undefined : "Soft";
}

/** What a look has to find out for an attempt, or for a request of which there is none yet. */
export function questionFor(
  attempt: Attempt | undefined,
  policy: RestartPolicy,
  blueprint: Blueprint,
  now: Instant,
): Question {
  // An attempt that waits has marked nothing: what matters is what an earlier one has left. It can begin in the same
  // pass, and no request's mode is known before.
  if (attempt?.marked !== true) {
    const canBeInPlace = policy.soft.via === "Reboot" || policy.hard.via === "Reset";
    const comparison = { blueprint, preflight: true };
    return { jobs: true, agent: canBeInPlace ? "BootID" : undefined, comparison };
  }
  const { inPlace, unproven, verifyingSince } = attempt;
  const question: Question = { attempt: attempt.id, jobs: true };
  const preflight = needsPreflight(attempt, now);
  // What the new boot differs in is told together with the result.
  const isOver = attempt.settled && attempt.conclusion !== undefined;
  const isAsConfigured = wasStartRefused(attempt) && !isOver;
  if (preflight || isOver)
    question.comparison = { blueprint: isAsConfigured ? configured(blueprint) : blueprint, preflight };
  if (inPlace && unproven) return { ...question, agent: "BootID" };
  return { ...question, agent: verifyingSince === undefined ? undefined : "Ping" };
}

/** What is off starts with the configuration that it has, whatever has become of the resource's definition. */
function configured({ volumes }: Blueprint): Blueprint {
  return { volumes };
}

/**
 * Whether it has to be known what the next start lacks: before anything happens to the guest, before it is asked for the
 * first time or anew and before its power is cut, which may be minutes later, and when libvirt would not start it.
 */
export function needsPreflight(attempt: Attempt, now: Instant): boolean {
  const { marked, mode, inPlace, lastSignal, started, preflightPassedAt } = attempt;
  if (started !== undefined) return false;
  const isAskedNext = lastSignal === undefined && !inPlace;
  const isDue = !marked || mode === "Hard" || isAskedNext || wasStartRefused(attempt);
  const hasPassed =
    preflightPassedAt !== undefined && now.monotonicMs < preflightPassedAt.monotonicMs + preflightHoldsMs;
  return isDue && !hasPassed;
}

/** Whether libvirt would not start the domain, or what that called for could not be done yet. */
export function wasStartRefused({ refusal, stage }: Attempt): boolean {
  return stage === "Starting" && refusal !== undefined && effectsOfStart.has(refusal.effect);
}

const effectsOfStart: ReadonlySet<Effect["kind"]> = new Set(["Start", "Repair", "RollBack"]);

/** The attempt in another stage; the stage's clock starts when it changes. */
export function inStage(attempt: Attempt, stage: RestartStage, now: Instant): Attempt {
  return attempt.stage === stage ? attempt : { ...attempt, stage, stageStartedAtMs: now.epochMs };
}

/** What the guest has been told counts no more: it is asked anew. */
export function unheard(attempt: Attempt): Attempt {
  const {
    firstSignal: _first,
    lastSignal: _last,
    lastSignalBy: _by,
    signalRefusal: _refusal,
    ...anew
  } = attempt;
  return anew;
}

/** Whether a policy has the old boot end without the domain's going off. */
export function endsInPlace({ mode }: Attempt, { soft, hard }: RestartPolicy): boolean {
  return mode === "Hard" ? hard.via === "Reset" : soft.via === "Reboot";
}

/** The attempt gone over from asking the guest to cutting its power. */
export function forced(attempt: Attempt, forcedBecause: string): Attempt {
  return { ...attempt, mode: "Hard", forcedBecause };
}

/** The attempt after an effect that was begun at one moment and is over at another. */
export function afterEffect(
  attempt: Attempt,
  effect: Effect,
  outcome: Outcome,
  began: Instant,
  now: Instant,
): Attempt {
  if (outcome.kind === "NotSent") return afterNotSent(attempt, effect, outcome.message, now);
  if (effect.kind === "Repair") return afterRepair(attempt, effect.repair, outcome, now);
  const asked = { ...attempt, touched: attempt.touched || effect.kind === "Mark" };
  if (effect.kind !== "Mark" && disturbsGuest(effect)) asked.askedAt ??= began;
  switch (outcome.kind) {
    case "Unanswered":
      return afterSilence(asked, effect, outcome.message, began, now);
    case "Refused":
      return afterRefusal(asked, effect, outcome, now);
    case "Done":
      return afterSuccess(asked, effect, began, now);
    default:
      return outcome satisfies never;
  }
}

/** A repair that failed is told with what it was to mend. libvirt is asked for the start again at once if it succeeded. */
function afterRepair(
  attempt: Attempt,
  repair: Repair,
  outcome: Exclude<Outcome, { kind: "NotSent" }>,
  now: Instant,
): Attempt {
  const refusal = outcome.kind === "Done" ? undefined : outcome.message;
  const others = attempt.repairs.filter((one) => repairKey(one.repair) !== repairKey(repair));
  const again =
    attempt.refusal && refusal === undefined ? { ...attempt.refusal, retryAtMs: 0 } : attempt.refusal;
  return {
    ...attempt,
    repairs: [...others, { repair, at: now, refusal }],
    refusal: again,
  };
}

/** Nothing happened, and looking may work all the same: without a pause it would be tried in a tight loop. */
function afterNotSent(attempt: Attempt, effect: Effect, message: string, now: Instant): Attempt {
  // An agent that cannot be asked now is not waited for: there are other signals.
  if (isByAgent(effect)) return { ...attempt, agentRefused: true };
  const count = attempt.refusal?.effect === effect.kind ? attempt.refusal.count : 0;
  const retryAtMs = now.monotonicMs + notSentDelayMs;
  return { ...attempt, refusal: { effect: effect.kind, count, message, retryAtMs } };
}

/**
 * No answer claims nothing: the next look at the domain tells what happened, and the effect is tried again. A signal
 * and a destroy leave a trace all the same: the guest may go off by them. The guest's time runs only from a signal
 * that libvirt has answered; one that is never answered counts as refused in the end. Only an agent has nothing to
 * answer while its guest goes down.
 */
function afterSilence(
  attempt: Attempt,
  effect: Effect,
  message: string,
  began: Instant,
  now: Instant,
): Attempt {
  if (isByAgent(effect)) return afterSuccess(attempt, effect, began, now);
  // A reset that may have happened is not repeated.
  if (effect.kind === "Reset") return { ...attempt, method: "Hard", resetAt: began };
  if (effect.kind === "Destroy") return afterNotSent({ ...attempt, method: "Hard" }, effect, message, now);
  if (!isSignal(effect)) return afterNotSent(attempt, effect, message, now);
  const count = attempt.refusal?.effect === effect.kind ? attempt.refusal.count + 1 : 1;
  const silent = { ...attempt, method: "Soft" } as const;
  if (count >= mostRefusals(effect.kind)) return { ...silent, signalRefusal: message };
  return {
    ...silent,
    refusal: { effect: effect.kind, count, message, retryAtMs: now.monotonicMs + notSentDelayMs },
  };
}

function afterSuccess(
  { refusal: _mended, ...attempt }: Attempt,
  effect: Effect,
  began: Instant,
  now: Instant,
): Attempt {
  switch (effect.kind) {
    case "Mark": {
      const inPlace = effect.mark.inPlace === true;
      const { bootId } = effect.mark;
      // In place nothing was changed that would have to be put back.
      return {
        ...attempt,
        marked: true,
        markedAt: attempt.markedAt ?? now,
        inPlace,
        bootId,
        released: inPlace,
      };
    }
    case "Shutdown":
    case "Reboot":
      return {
        ...attempt,
        method: "Soft",
        firstSignal: attempt.firstSignal ?? now,
        lastSignal: now,
        lastSignalBy: effect.signal,
      };
    case "Destroy":
      return { ...attempt, method: "Hard" };
    case "Reset":
      return { ...attempt, method: "Hard", resetAt: began };
    case "Wake":
      return { ...attempt, wokenAt: now };
    case "Resume":
      return { ...attempt, resumedAt: now };
    case "Start":
      return { ...attempt, started: now };
    case "Release":
      return { ...attempt, released: true };
    case "Settle":
      return { ...attempt, settled: true };
    case "Define":
      // A domain that is only now defined, or was transient, has none before to go back to.
      return { ...attempt, definition: effect.replaces ? "Applied" : attempt.definition };
    case "RollBack":
      return { ...attempt, definition: "RolledBack" };
    case "Repair":
    case "AttachDisk":
      return attempt;
    default:
      return effect satisfies never;
  }
}

function afterRefusal(
  attempt: Attempt,
  effect: Effect,
  { message, cause }: Outcome & { kind: "Refused" },
  now: Instant,
): Attempt {
  if (isByAgent(effect)) return afterAgentRefusal(attempt, cause);
  if (attempt.mode === "Auto" && isSignal(effect)) return { ...attempt, signalRefusal: message };
  // There is nothing to go back to: what libvirt would not start is tried on.
  if (effect.kind === "RollBack" && cause !== "Busy") return { ...attempt, definition: undefined };
  // An attempt that is marked already is only marked again for a reset, or to have its definition on record.
  if (effect.kind === "Reset" || (effect.kind === "Mark" && attempt.marked))
    return { ...attempt, resetRefused: true };
  const before = attempt.refusal?.effect === effect.kind ? attempt.refusal.count : 0;
  // What holds the domain lets it go one day, and the guest that was stopped for this restart is started then.
  const isHeld = cause === "Busy" && (effect.kind === "Start" || effect.kind === "RollBack");
  const count = isHeld ? before : before + 1;
  const delayMs = isHeld ? heldDelayMs : (delaysAfterRefusal(effect.kind)[count - 1] ?? 0) * 1000;
  const retryAtMs = now.monotonicMs + delayMs;
  const refused = { ...attempt, refusal: { effect: effect.kind, count, message, retryAtMs } };
  // What was there a moment ago may have gone.
  if (effect.kind === "Start") {
    refused.preflightPassedAt = undefined;
    refused.startRefusedAt = now;
  }
  if (effect.kind === "Mark" && cause === "Denied") return { ...refused, failure: marksDenied(message) };
  if (effect.kind === "Mark" && cause === "Busy" && attempt.mode !== "Soft")
    return forcedWithoutMarks(attempt, message);
  if (count < mostRefusals(effect.kind)) return refused;
  // Tidying up is not worth holding the result back for ever.
  if (effect.kind === "Release") return { ...refused, released: true };
  if (effect.kind === "Settle") return { ...refused, settled: true };
  const failure = `libvirt refused ${count} times to ${verb(effect)} the domain: ${message}`;
  return { ...refused, failure: { reason: `${effect.kind}Refused`, message: failure } };
}

/** Of an agent that went down with its guest before libvirt had answered, libvirt says what it says of one that failed. */
function afterAgentRefusal(attempt: Attempt, cause: RefusalCause | undefined): Attempt {
  const refused = { ...attempt, agentRefused: true };
  return cause === "Failed" ? { ...refused, method: "Soft" } : refused;
}

/**
 * A process that does not answer any more holds its domain, so that no mark can be written exactly where force is
 * needed; a destroy works all the same. The attempt goes on record in the status, and the domain ID has to do.
 */
function forcedWithoutMarks(attempt: Attempt, message: string): Attempt {
  const because = `the domain takes no marks, as something holds it: ${message}`;
  const inForce = attempt.mode === "Hard" ? attempt : forced(attempt, because);
  const { refusal: _none, ...unmarkable } = inForce;
  return { ...unmarkable, recordIn: "Status", unmarkable: true };
}

function marksDenied(message: string): Failure {
  return {
    reason: "MarkDenied",
    message:
      "libvirt does not permit the controller to write the restart's marks into the domain: grant it domain.write, " +
      `or set restartPolicy.marks to None; libvirt says: ${message}`,
  };
}

/** Whether an effect asks the guest for something that it may do or not. */
function isSignal(effect: Effect): effect is Effect & { kind: "Shutdown" | "Reboot" } {
  return effect.kind === "Shutdown" || effect.kind === "Reboot";
}

function isByAgent(effect: Effect): boolean {
  return isSignal(effect) && effect.signal === "Agent";
}

function verb(effect: Effect): string {
  switch (effect.kind) {
    case "Mark":
      return "write the restart's marks into";
    case "Shutdown":
      return "shut down";
    case "Reboot":
      return "reboot";
    case "Destroy":
      return "destroy";
    case "Reset":
      return "reset";
    case "Wake":
      return "wake up";
    case "Resume":
      return "resume";
    case "Start":
      return "start";
    case "Release":
      return "restore the reboot action of";
    case "Settle":
      return "write the restart's result into";
    case "Repair":
      return "mend what is missing for";
    case "Define":
      return "define";
    case "RollBack":
      return "put back the definition of";
    case "AttachDisk":
      return "plug a disk into";
    default:
      return effect satisfies never;
  }
}
