import { endsInPlace, inStage, markOf } from "./attempt.ts";
import type { AttemptRule, AttemptSubject, Ruling, Verdict } from "./decision.ts";
import {
  deafnessOf,
  hasCrashed,
  jobObstacle,
  lifeElsewhere,
  lookAgainMs,
  pausedObstacle,
  storageObstacle,
} from "./obstacle.ts";
import { define, preflight } from "./preflight-rules.ts";

/** The rules about an attempt that has not touched the domain yet, in order. */
export const unmarkedRules: readonly AttemptRule[] = [
  savedOrMigrated,
  busy,
  crashed,
  storageFailing,
  cannotHear,
  preflight,
  define,
  recordInStatus,
  recordInDomain,
];

/** Nothing is started that lives elsewhere. */
function savedOrMigrated({ domain, policy, now }: AttemptSubject): Ruling | undefined {
  const obstacle = lifeElsewhere(domain, policy);
  return obstacle && { verdict: { kind: "Blocked", ...obstacle, untilMs: lookAgainMs(now) } };
}

/** What libvirt is doing with the domain is not broken off. */
function busy(subject: AttemptSubject): Ruling | undefined {
  const { attempt, policy, now } = subject;
  const obstacle = jobObstacle(subject, attempt.mode, policy);
  return obstacle && { verdict: { kind: "Blocked", ...obstacle, untilMs: lookAgainMs(now) } };
}

/** A crashed guest hears nothing, and mode Soft cuts no power. */
function crashed({ attempt, domain }: AttemptSubject): Ruling | undefined {
  if (domain.id === undefined || !hasCrashed(domain) || attempt.mode !== "Soft") return undefined;
  const message = "the guest has crashed, and mode Soft cuts no power";
  return { attempt: { ...attempt, failure: { reason: "GuestCrashed", message } } };
}

/** Nothing is begun whose end would need the storage that has just failed. */
function storageFailing(subject: AttemptSubject): Ruling | undefined {
  const obstacle = storageObstacle(subject);
  return obstacle && { verdict: { kind: "Blocked", ...obstacle, untilMs: lookAgainMs(subject.now) } };
}

/**
 * Nothing is begun with a guest that hears nothing, unless its power may be cut. One that sleeps is woken up, and one
 * that is paused on an I/O error is resumed, but by mode Auto alone.
 */
function cannotHear({ attempt, domain, policy }: AttemptSubject): Ruling | undefined {
  const deafness = deafnessOf(domain);
  if (deafness === undefined || deafness === "Suspended" || hasCrashed(domain)) return undefined;
  if (attempt.mode === "Hard") return undefined;
  if (attempt.mode === "Auto" && (deafness === "IOError" || policy.whenPaused === "Force")) return undefined;
  return { verdict: { kind: "Blocked", ...pausedObstacle(domain) } };
}

/** Without marks the status is the only record: nothing is done before the API server has it. */
function recordInStatus({ attempt, domain, stored, policy, now }: AttemptSubject): Ruling | undefined {
  if (attempt.recordIn !== "Status") return undefined;
  if (stored.attempt?.id === attempt.id && stored.attempt.recordedIn === "Status") {
    const { id: domainId, connection } = domain;
    const isRunning = domainId !== undefined;
    return {
      attempt: {
        ...attempt,
        marked: true,
        touched: true,
        markedAt: now,
        domainId,
        connection,
        inPlace: isRunning && endsInPlace(attempt, policy),
        // What a refused mark may have left on the domain ends with its boot, but its record does not.
        released: true,
        settled: !attempt.touched,
      },
    };
  }
  const message = "the restart is recorded in the status before anything happens to the domain";
  return {
    verdict: { kind: "Wait", reason: "Preparing", message },
    attempt: inStage(attempt, "Preparing", now),
  };
}

/** Every mark first; only then the guest hears of it. Also for a domain that is off: a crash does not start it twice. */
function recordInDomain(subject: AttemptSubject): Ruling {
  const { attempt, domain, now, policy } = subject;
  return {
    verdict: markVerdict(subject, endsInPlace(attempt, policy)),
    attempt: { ...inStage(attempt, "Preparing", now), domainId: domain.id, connection: domain.connection },
  };
}

/** Writes the marks: in place the running boot keeps its own. */
export function markVerdict(subject: AttemptSubject, inPlace: boolean): Verdict {
  const { attempt, virtualMachine, cluster, domain, agent } = subject;
  const running = domain.id !== undefined;
  const mark = {
    ...markOf(attempt, virtualMachine, cluster),
    wasOff: !running,
    inPlace: running && inPlace,
    bootId: running && inPlace ? agent?.bootId : undefined,
  };
  const message = "the domain is marked with the restart before anything happens to it";
  return {
    kind: "Act",
    effect: { kind: "Mark", mark, running },
    reason: "Preparing",
    message,
    announce: false,
  };
}
