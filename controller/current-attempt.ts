import type { RestartMode } from "../crds/restart.ts";
import { adoptAttempt, beginAttempt, forced, type Attempt } from "./attempt.ts";
import { runningBoot } from "./boot.ts";
import type { Observation } from "./decision.ts";
import { stoppedLate } from "./late-stop.ts";
import { hasMarks } from "./ports.ts";
import { joined, tellsOfUnended, type Trigger } from "./request.ts";

/**
 * The attempt that a pass works on: the one in flight, with a request that still may join it; the one that
 * the domain's own record tells of, left by a process that is gone; or a new one for what is requested.
 */
export function currentAttempt(observation: Observation, trigger: Trigger): Attempt | undefined {
  const { virtualMachine, attempt, now, nonce } = observation;
  if (attempt?.marked === true) return joinedAttempt(observation, attempt, trigger);
  // An attempt that waits may have begun before the domain could be asked what it remembers.
  const adopted = adoptedAttempt(observation);
  // Its own mark, when that was refused, proves nothing: it is written again.
  if (adopted !== undefined && adopted.id !== attempt?.id) return adopted;
  if (attempt !== undefined)
    return inModeOf(observation, joinedAttempt(observation, attempt, trigger), trigger);
  const policy = virtualMachine.spec.restartPolicy;
  if (trigger.kind !== "Requested" && trigger.kind !== "Cancelled") return undefined;
  return beginAttempt(nonce, trigger.request, trigger.request.mode ?? policy.mode, now);
}

/** What an earlier process, or a deleted resource of the same name, began and did not bring to its end. */
function adoptedAttempt({ virtualMachine, domain, now }: Observation): Attempt | undefined {
  if (!hasMarks(domain)) return undefined;
  const mark = domain.marks.next;
  if (mark === undefined) return undefined;
  const { metadata, status, spec } = virtualMachine;
  const isForeign = mark.resource !== metadata.uid;
  const adopted = { ...adoptAttempt(mark, status.attempt, spec.restartPolicy, now), isForeign };
  if (tellsOfUnended(mark, virtualMachine)) return { ...adopted, toldResult: mark.result };
  return stoppedLate(virtualMachine, domain.domain, mark, now.epochMs) ? adopted : undefined;
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

function oldBootRuns({ domain }: Observation, attempt: Attempt): boolean {
  if (!attempt.marked) return true;
  if (!hasMarks(domain)) return false;
  return runningBoot(attempt, domain.domain, domain.marks) === "Old";
}

/** How much a mode allows: a joining request can only add to it. */
function strength(mode: RestartMode): number {
  return ["Soft", "Auto", "Hard"].indexOf(mode);
}

/** What has not begun follows the policy and the annotation as they are now. */
function inModeOf({ virtualMachine }: Observation, attempt: Attempt, trigger: Trigger): Attempt {
  if (trigger.kind !== "Requested" || attempt.forcedBecause !== undefined) return attempt;
  return { ...attempt, mode: trigger.request.mode ?? virtualMachine.spec.restartPolicy.mode };
}
