import type { RestartMode, RestartRecord } from "../crds/restart.ts";
import { parseTimestamp } from "../crds/timestamp.ts";
import { adoptAttempt, beginAttempt, forced, recordPlaceOf, type Attempt, type Trace } from "./attempt.ts";
import { evidenceOfReboot, mayHaveRebootedUnheard, runningBoot } from "./boot.ts";
import { elderOf } from "./claim.ts";
import type { Observation } from "./decision.ts";
import { stoppedLate } from "./late-stop.ts";
import { hasMarks, lastMark } from "./ports.ts";
import { joined, tellsOfUnended, type Trigger } from "./request.ts";

/**
 * The attempt that a pass works on: the one in flight, with a request that still may join it; the one that
 * the domain's own record tells of, left by a process that is gone; or a new one for what is requested.
 */
export function currentAttempt(observation: Observation, trigger: Trigger): Attempt | undefined {
  const { virtualMachine, attempt, now, nonce } = observation;
  if (attempt?.marked === true)
    return joinedAttempt(observation, withToldResult(attempt, observation), trigger);
  // An attempt that waits may have begun before the domain could be asked what it remembers.
  const adopted = adoptedAttempt(observation, trigger);
  // Its own mark, when that was refused, proves nothing: it is written again.
  if (adopted !== undefined && adopted.id !== attempt?.id) return adopted;
  if (attempt !== undefined)
    return inModeOf(observation, joinedAttempt(observation, attempt, trigger), trigger);
  if (trigger.kind !== "Requested" && trigger.kind !== "Cancelled") return undefined;
  return beginAttempt(nonce, trigger.request, virtualMachine.spec.restartPolicy, now);
}

/** The process that began an adopted attempt may have put a result on the domain since, which was late. */
function withToldResult(attempt: Attempt, { domain }: Observation): Attempt {
  const mark = hasMarks(domain) ? domain.marks.next : undefined;
  const isNews =
    attempt.isInherited && attempt.conclusion === undefined && mark?.result !== attempt.adoptedResult;
  return isNews && mark?.attempt === attempt.id ? { ...attempt, toldResult: mark.result } : attempt;
}

/** What an earlier process, or a deleted resource of the same name, began and did not bring to its end. */
function adoptedAttempt(observation: Observation, trigger: Trigger): Attempt | undefined {
  return attemptOfMark(observation, trigger) ?? attemptOfStatus(observation);
}

function attemptOfMark(
  { virtualMachine, domain, rivals, isOrphaned, now, cluster }: Observation,
  trigger: Trigger,
): Attempt | undefined {
  const mark = hasMarks(domain) ? lastMark(domain.marks) : undefined;
  if (mark === undefined || !hasMarks(domain)) return undefined;
  const { metadata, status, spec } = virtualMachine;
  const isForeign = mark.resource !== metadata.uid;
  const adopted = {
    ...adoptAttempt(mark, "Domain", status.attempt, spec.restartPolicy, now),
    isForeign,
  };
  if (tellsOfUnended(mark, virtualMachine, cluster)) return { ...adopted, toldResult: mark.result };
  if (isOrphaned && elderOf(virtualMachine, rivals) === undefined) return adopted;
  // A boot that was marked, saved and restored after its attempt had ended still does not reboot as it should.
  const isLeftover =
    domain.domain.reason === "Restored" && domain.marks.bootMark && trigger.kind !== "Requested";
  if (isLeftover && mark.result !== undefined) return { ...adopted, isLeftover };
  // A request that has failed since, while it waited, has marked nothing.
  const ended = status.history?.find(({ id }) => id === mark.attempt);
  return ended !== undefined && stoppedLate(ended, domain.domain, now.epochMs) ? adopted : undefined;
}

/** An attempt that only the status knows of: there were no marks to be had. */
function attemptOfStatus({ virtualMachine, domain, attempt, now }: Observation): Attempt | undefined {
  const { status, spec } = virtualMachine;
  // Whether its definition was applied nobody has on record; libvirt knows whether there is one before to go back to.
  const definition = spec.definition === undefined ? undefined : "Applied";
  const adopt = (trace: Trace) =>
    adoptAttempt({ ...trace, definition }, "Status", status.attempt, spec.restartPolicy, now);
  if (attempt === undefined && status.attempt?.recordedIn === "Status") {
    // The status that put it on record also says whether the domain was off then.
    const wasOff = status.attempt.stage === "Preparing" && status.domain?.id === undefined;
    return adopt({ ...traceOf(status.attempt.id, status.attempt), wasOff });
  }
  if (spec.restartPolicy.marks === "Domain" || domain.kind !== "Present") return undefined;
  // A request that was never begun has no method; of one that nobody can tell anything of it is not known.
  const ended = status.history?.find(({ method, reason }) => method !== undefined || reason === "NoMarks");
  if (ended?.id === undefined || !stoppedLate(ended, domain.domain, now.epochMs)) return undefined;
  return adopt(traceOf(ended.id, ended));
}

/** The trace that the status keeps of an attempt. */
function traceOf(
  attempt: string,
  { request, startedAt, method }: Pick<RestartRecord, "request" | "startedAt"> & Pick<Trace, "method">,
): Trace {
  return { attempt, request, startedAtMs: parseTimestamp(startedAt) ?? 0, method };
}

/** A request joins while the boot that it wants to end still runs; later it gets a restart of its own. */
function joinedAttempt(observation: Observation, attempt: Attempt, trigger: Trigger): Attempt {
  if (trigger.kind !== "Requested" || !oldBootRuns(observation, attempt)) return attempt;
  const request = joined(attempt.request, trigger.request);
  if (request === attempt.request) return attempt;
  const asked = trigger.request.mode ?? observation.virtualMachine.spec.restartPolicy.mode;
  const joinedAttempt = { ...attempt, request };
  if (strength(asked) <= strength(attempt.mode)) return joinedAttempt;
  return asked === "Hard"
    ? forced(joinedAttempt, "a request for a hard restart joined it")
    : { ...joinedAttempt, mode: asked };
}

/** A reboot in place, or a reset that may just happen, leaves the mark on the new boot. */
function oldBootRuns({ domain }: Observation, attempt: Attempt): boolean {
  if (!attempt.marked) return true;
  if (!hasMarks(domain) || attempt.resetAt !== undefined || attempt.unproven) return false;
  if (mayHaveRebootedUnheard(attempt, domain.domain)) return false;
  if (evidenceOfReboot(attempt, domain.domain, domain.agent).length > 0) return false;
  return runningBoot(attempt, domain.domain, domain.marks) === "Old";
}

/** How much a mode allows: a joining request can only add to it. */
function strength(mode: RestartMode): number {
  return ["Soft", "Auto", "Hard"].indexOf(mode);
}

/** What has not begun follows the policy and the annotation as they are now. */
function inModeOf({ virtualMachine }: Observation, attempt: Attempt, trigger: Trigger): Attempt {
  if (trigger.kind !== "Requested" || attempt.forcedBecause !== undefined) return attempt;
  const policy = virtualMachine.spec.restartPolicy;
  const recordIn = attempt.unmarkable ? "Status" : recordPlaceOf(policy);
  return { ...attempt, mode: trigger.request.mode ?? policy.mode, recordIn };
}
