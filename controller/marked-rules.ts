import type { RestartEvidence, RestartMethod } from "../crds/restart.ts";
import { inStage, markOf, unheard, wasStartRefused, type Attempt, type Refusal } from "./attempt.ts";
import {
  endOfOldBoot,
  evidenceOfNewBoot,
  evidenceOfReboot,
  mayHaveRebootedUnheard,
  rebootBurstMs,
  runningBoot,
  type Boot,
} from "./boot.ts";
import type { AttemptRule, AttemptSubject, Ruling, Verdict } from "./decision.ts";
import { hardRules } from "./hard-rules.ts";
import {
  isGoingDown,
  isStartingUp,
  jobObstacle,
  lifeElsewhere,
  lookAgainMs,
  storageObstacle,
} from "./obstacle.ts";
import type { Domain } from "./ports.ts";
import { preflightOfStart } from "./preflight-rules.ts";
import { forceOrFail, softRules } from "./soft-rules.ts";

/**
 * The rules about an attempt that is on record, in order. The boot that runs comes first; the rules from `suspended`
 * on are about the old boot, which still runs: what holds it up, then force, then asking.
 */
export const markedRules: readonly AttemptRule[] = [
  rolledBackBefore,
  eventsMissed,
  nextBootStarts,
  newBootRuns,
  rebootedInPlace,
  bootIsUnknown,
  rebootIsUnproven,
  stoppedAgain,
  stopped,
  undefinedMeanwhile,
  markLost,
  suspended,
  busy,
  waitWhileGoingDown,
  storageFailing,
  justRebooted,
  ...hardRules,
  ...softRules,
];

/** The configuration before was put back although libvirt's answer was lost: the domain's own record says so. */
function rolledBackBefore({ attempt, marks }: AttemptSubject): Ruling | undefined {
  if (marks.next?.attempt !== attempt.id || marks.next.definition !== "RolledBack") return undefined;
  if (attempt.definition === "RolledBack") return undefined;
  return { attempt: { ...attempt, definition: "RolledBack" } };
}

/** Nobody tells of what happened while libvirt was not connected. */
function eventsMissed({ attempt, domain }: AttemptSubject): Ruling | undefined {
  const { connection } = domain;
  if (attempt.recordIn !== "Domain" || attempt.connection === connection) return undefined;
  const unproven = attempt.unproven || mayHaveRebootedUnheard(attempt, domain);
  return { attempt: { ...attempt, connection, unproven } };
}

/** How long to wait between two looks at a domain that libvirt is starting, in milliseconds: not every end is an event. */
const startingAgainMs = 1000;

/**
 * libvirt has begun to start the domain, whoever asked for it, and its processors do not run yet. A libvirtd that ends
 * now has its next one end the boot as well.
 */
function nextBootStarts(subject: AttemptSubject): Ruling | undefined {
  const { attempt, domain, now } = subject;
  if (!isStartingUp(domain) || boot(subject) === "Old") return undefined;
  const message = "libvirt is starting the domain";
  const untilMs = now.monotonicMs + startingAgainMs;
  return {
    verdict: { kind: "Wait", reason: "Starting", message, untilMs },
    attempt: inStage(attempt, "Starting", now),
  };
}

/** The next boot runs: the restart is done, whoever started it. */
function newBootRuns(subject: AttemptSubject): Ruling | undefined {
  if (boot(subject) !== "New") return undefined;
  return verified(subject, evidenceOfNewBoot(subject.attempt, subject.domain));
}

/**
 * The guest rebooted, or was reset, without the domain's going off: that is a restart, too. A marked boot is made to end
 * in off; what still reboots is one that was asked to reboot in place, or one that libvirt resets because it crashed.
 */
function rebootedInPlace(subject: AttemptSubject): Ruling | undefined {
  const { attempt, domain, agent } = subject;
  if (boot(subject) !== "Old") return undefined;
  const evidence = evidenceOfReboot(attempt, domain, agent);
  if (evidence.length === 0) return undefined;
  return attempt.released
    ? verified(subject, evidence)
    : { verdict: release(attempt, "Restarted", "the guest rebooted in place") };
}

/** How long to wait between two questions to a connected agent that does not answer yet, in milliseconds. */
const pingAgainMs = 5000;

/** The old boot has ended and another one runs; where the policy asks for it, its guest has to answer as well. */
function verified(subject: AttemptSubject, evidence: RestartEvidence[]): Ruling {
  const { attempt, policy, domain, agent, now } = subject;
  const { verifyGuest } = policy;
  if (verifyGuest === undefined) return { verdict: succeeded(subject, evidence) };
  const isAsked = attempt.verifyingSince !== undefined;
  if (isAsked && agent !== undefined) return { verdict: succeeded(subject, [...evidence, "AgentReady"]) };
  const verifyingSince = attempt.verifyingSince ?? now;
  const timeoutAtMs = verifyingSince.monotonicMs + verifyGuest.timeoutSeconds * 1000;
  if (now.monotonicMs >= timeoutAtMs) {
    const message = `a new boot runs, but its guest agent did not answer within ${verifyGuest.timeoutSeconds} s`;
    return { attempt: { ...attempt, failure: { reason: "GuestNotReady", message } } };
  }
  const againAtMs = now.monotonicMs + (isAsked ? pingAgainMs : 0);
  return {
    verdict: {
      kind: "Wait",
      reason: "Verifying",
      message: "a new boot runs; its guest agent is waited for",
      // An agent that is not connected yet tells by an event.
      untilMs: domain.agent === "Connected" ? Math.min(timeoutAtMs, againAtMs) : timeoutAtMs,
    },
    attempt: { ...inStage(attempt, "Verifying", now), verifyingSince },
  };
}

/** What is known proves nothing, so nothing more is done: a second restart would be worse than an open question. */
function bootIsUnknown(subject: AttemptSubject): Ruling | undefined {
  const { attempt } = subject;
  if (boot(subject) !== "Unknown") return undefined;
  const [reason, why] =
    attempt.recordIn === "Domain"
      ? [
          "ContradictoryMarks",
          "the domain's marks prove neither that the old boot still runs nor that a new one does " +
            "(it was restored or defined anew, or somebody else wrote them)",
        ]
      : [
          "NoMarks",
          "without marks on the domain nobody can tell which boot runs: the controller was restarted, or its " +
            "connection to libvirt broke, in the middle of the restart",
        ];
  const message = `${why}; nothing more is done for this request`;
  return {
    verdict: attempt.released ? unverified(attempt, reason, message) : release(attempt, reason, message),
  };
}

/**
 * Another process may have rebooted the guest in place, or not have come to it; or the guest may have done it when
 * nobody heard. The agent's boot ID tells, where there was one; otherwise nothing does.
 */
function rebootIsUnproven(subject: AttemptSubject): Ruling | undefined {
  const { attempt, domain, agent, policy, predecessorGoneAtMs, now } = subject;
  if (!attempt.unproven || !attempt.inPlace || domain.id === undefined) return undefined;
  // As long as the other process may still do something, the boot that runs now may not be the last one.
  if (now.monotonicMs < predecessorGoneAtMs) {
    const message = "another controller may still be rebooting the guest";
    const wait = {
      kind: "Wait",
      reason: "PredecessorMayAct",
      message,
      untilMs: predecessorGoneAtMs,
    } as const;
    return { verdict: wait };
  }
  if (attempt.bootId !== undefined && agent?.bootId === attempt.bootId)
    return { attempt: { ...attempt, unproven: false } };
  const verifyingSince = attempt.verifyingSince ?? now;
  const timeoutAtMs = verifyingSince.monotonicMs + policy.soft.timeoutSeconds * 1000;
  if (attempt.bootId !== undefined && now.monotonicMs < timeoutAtMs) {
    const message =
      "the controller or its connection to libvirt was away during the restart: the guest agent tells which boot runs";
    const untilMs =
      domain.agent === "Connected" ? Math.min(timeoutAtMs, now.monotonicMs + pingAgainMs) : timeoutAtMs;
    return {
      verdict: { kind: "Wait", reason: "Verifying", message, untilMs },
      attempt: { ...attempt, verifyingSince },
    };
  }
  const message =
    "the controller or its connection to libvirt was away during a restart in place, and no guest agent tells whether " +
    "the guest rebooted; nothing more is done for this request";
  return { verdict: unverified(attempt, "RebootUnproven", message) };
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
function stopped(subject: AttemptSubject): Ruling | undefined {
  const { attempt, domain, policy, now } = subject;
  if (domain.id !== undefined) return undefined;
  const obstacle = lifeElsewhere(domain, policy);
  if (obstacle !== undefined)
    return {
      verdict: { kind: "Blocked", ...obstacle, untilMs: lookAgainMs(now) },
      attempt: { ...unheard(attempt), method: howItStopped(attempt, domain) },
    };
  const starting = {
    ...inStage(attempt, "Starting", now),
    method: howItStopped(attempt, domain),
    discardsSaved: domain.reason === "Saved",
    refusal: explainedRefusal(subject),
  };
  const hindered = refusedStart({ ...subject, attempt: starting });
  if (hindered !== undefined) return { attempt: starting, ...hindered };
  const message = "the guest is down and the domain is started";
  const without = attempt.leftOut.map(({ disk }) => disk);
  return {
    verdict: {
      kind: "Act",
      effect: { kind: "Start", without },
      reason: "Starting",
      message,
      announce: false,
    },
    attempt: starting,
  };
}

/** A start that was refused for what the host lacked says nothing more, and is tried as soon as that is there. */
function explainedRefusal({ attempt, next }: AttemptSubject): Refusal | undefined {
  const { refusal, leftOut } = attempt;
  if (refusal?.effect !== "Start") return refusal;
  const isExplained = next?.findings?.some(({ disk }) => !leftOut.some((one) => one.disk === disk)) ?? false;
  return isExplained ? { ...refusal, count: 0, retryAtMs: 0 } : refusal;
}

/** A finding can be wrong, and a guest that is off loses nothing by a start that libvirt refuses: one a minute. */
function isWorthATry({ attempt, now }: AttemptSubject, ruling: Ruling): boolean {
  if (!("verdict" in ruling) || ruling.verdict.kind !== "Blocked") return false;
  const { startRefusedAt } = attempt;
  return startRefusedAt !== undefined && now.monotonicMs >= lookAgainMs(startRefusedAt);
}

/** How often libvirt refuses to start a new definition before the one before is put back. */
const refusalsBeforeRollBack = 3;

/**
 * libvirt would not start the domain: what has gone missing since is mended or waited for, and a new definition that
 * is the cause although nothing is missing makes way for the one before.
 */
function refusedStart(subject: AttemptSubject): Ruling | undefined {
  const { attempt, virtualMachine, cluster } = subject;
  const { refusal } = attempt;
  if (refusal === undefined || !wasStartRefused(attempt)) return undefined;
  const unprepared = preflightOfStart({ ...subject, definition: { kind: "None" } });
  if (unprepared !== undefined && !isWorthATry(subject, unprepared)) return unprepared;
  if (attempt.definition !== "Applied" || refusal.effect === "Repair") return undefined;
  if (refusal.effect === "Start" && refusal.count < refusalsBeforeRollBack) return undefined;
  const rolledBackBecause = attempt.rolledBackBecause ?? refusal.message;
  const message = `the configuration before is put back: libvirt does not start the new one: ${rolledBackBecause}`;
  const mark = {
    ...markOf(attempt, virtualMachine, cluster),
    wasOff: attempt.method === "Start",
    definition: "RolledBack",
  } as const;
  return {
    verdict: {
      kind: "Act",
      effect: { kind: "RollBack", mark },
      reason: "Starting",
      message,
      announce: true,
      notice: { type: "Warning", reason: "DefinitionRolledBack", action: "Define", note: message },
    },
    attempt: { ...attempt, rolledBackBecause },
  };
}

/** Somebody undefined the domain under its running guest: once that is off there is nothing left to start. */
function undefinedMeanwhile({ attempt, persistent }: AttemptSubject): Ruling | undefined {
  if (persistent) return undefined;
  const message = "the domain was undefined while it was being restarted; its guest is left running";
  return { attempt: { ...attempt, failure: { reason: "TransientDomain", message } } };
}

/** Somebody defined the domain anew, without the mark of the next boot: no signal without it. */
function markLost({ attempt, marks, now }: AttemptSubject): Ruling | undefined {
  if (attempt.recordIn === "Status" || marks.next?.attempt === attempt.id) return undefined;
  if (marks.next === undefined) return { attempt: { ...inStage(attempt, "Preparing", now), marked: false } };
  const message = `another attempt (${marks.next.attempt}) has marked the domain: do two controllers work on it?`;
  const failure = { reason: "MarkReplaced", message };
  // The marks are the other one's now: nothing of them is put back, and its record is not overwritten.
  return { attempt: { ...attempt, failure, released: true, settled: true } };
}

/** Nothing more is done to a guest that somebody wants left alone; if it goes down all the same, it is started. */
function suspended({ attempt, virtualMachine }: AttemptSubject): Ruling | undefined {
  if (!virtualMachine.spec.suspend) return undefined;
  const message = "spec.suspend is true: the restart waits, and starts the guest if it goes down meanwhile";
  return { verdict: { kind: "Blocked", reason: "Suspended", message }, attempt: unheard(attempt) };
}

/** What libvirt has begun with the domain since is not broken off either. */
function busy(subject: AttemptSubject): Ruling | undefined {
  const { attempt, policy, now } = subject;
  const obstacle = jobObstacle(subject, attempt.mode, policy);
  if (obstacle === undefined) return undefined;
  return {
    verdict: { kind: "Blocked", ...obstacle, untilMs: lookAgainMs(now) },
    attempt: unheard(attempt),
  };
}

/** A guest whose power is going already is waited for: starting or destroying it now could only do harm. */
function waitWhileGoingDown({ attempt, domain, policy, now }: AttemptSubject): Ruling | undefined {
  if (!isGoingDown(domain)) return undefined;
  const goingDownSince = attempt.goingDownSince ?? attempt.firstSignal ?? now;
  const { timeoutSeconds } = policy.soft;
  const untilMs = goingDownSince.monotonicMs + timeoutSeconds * 1000;
  if (now.monotonicMs >= untilMs) {
    if (attempt.mode === "Hard") return undefined;
    const because = `the guest began to go down, and was not off within ${timeoutSeconds} s`;
    return forceOrFail(attempt, "GuestShutdownTimedOut", because);
  }
  return {
    verdict: { kind: "Wait", reason: "ShuttingDown", message: "the guest is going down", untilMs },
    attempt: { ...inStage(attempt, "ShuttingDown", now), goingDownSince },
  };
}

/** What libvirt still tells of an earlier reboot must not be taken for the one that is asked for now. */
function justRebooted({ attempt, domain, now }: AttemptSubject): Ruling | undefined {
  if (attempt.askedAt !== undefined || domain.lastReboot === undefined) return undefined;
  const untilMs = domain.lastReboot.monotonicMs + rebootBurstMs;
  if (now.monotonicMs > untilMs) return undefined;
  const message = "the guest has only just rebooted: the restart waits for a moment";
  return { verdict: { kind: "Wait", reason: "Preparing", message, untilMs: untilMs + 1 } };
}

/** A guest that stands still because of its disk keeps what it has in memory until the disk can be read. */
function storageFailing(subject: AttemptSubject): Ruling | undefined {
  const obstacle = storageObstacle(subject);
  if (obstacle === undefined) return undefined;
  return {
    verdict: { kind: "Blocked", ...obstacle, untilMs: lookAgainMs(subject.now) },
    attempt: unheard(subject.attempt),
  };
}

function boot({ attempt, domain, marks }: AttemptSubject): Boot {
  return runningBoot(attempt, domain, marks);
}

/** An operator's destroy or a crash during the wait is not the guest's answer, whatever it had been asked. */
function howItStopped(attempt: Attempt, domain: Domain): RestartMethod | undefined {
  const { method, recordIn, isInherited, mode, firstSignal } = attempt;
  const { reason } = domain;
  if (method === "Soft" && wasFoundGone(attempt, domain)) return method;
  // The process before may have cut the power, and died before its status said so.
  const mayBeForced = isInherited && mode === "Auto" && firstSignal === undefined;
  if (method === "Soft" && reason === "Destroyed" && mayBeForced) return "Hard";
  if (method === "Soft" && !gentleReasons.has(reason)) return "Start";
  // Of one that only the status has on record, nobody can tell whether it was off before.
  if (method !== undefined || recordIn === "Status") return method;
  // An adopted attempt that may have been forced: the domain says whether it was.
  if (reason === "Shutdown") return "Soft";
  return reason === "Destroyed" ? "Hard" : undefined;
}

/**
 * A libvirtd that was away calls a crash whatever it finds gone. Here the guest had been asked, by this process or by the
 * one before, as the status says, and nobody has heard of a crash.
 */
function wasFoundGone(attempt: Attempt, domain: Domain): boolean {
  const { firstSignal, isInherited, stage } = attempt;
  const isAsked = firstSignal !== undefined || (isInherited && stage === "ShuttingDown");
  return domain.reason === "Crashed" && isAsked && endOfOldBoot(attempt, domain) === undefined;
}

/**
 * Reasons of an inactive domain whose guest may have shut down itself; libvirtd forgets the reason when it restarts,
 * and when a start fails.
 */
const gentleReasons = new Set(["Shutdown", "Unknown", "Daemon", "Failed"]);

/** The running boot reacts again as its configuration says, before the result is told. */
function release({ id }: Attempt, reason: string, message: string): Verdict {
  return { kind: "Act", effect: { kind: "Release", attempt: id }, reason, message, announce: false };
}

function unverified({ method }: Attempt, reason: string, message: string): Verdict & { kind: "End" } {
  return { kind: "End", result: "Unverified", reason, message, method, evidence: [] };
}

function succeeded(
  { attempt, domain }: AttemptSubject,
  evidence: RestartEvidence[],
): Verdict & { kind: "End" } {
  const stop = endOfOldBoot(attempt, domain);
  const rolledBack = attempt.definition === "RolledBack";
  const inPlace = evidence.includes("RebootEvent") || evidence.includes("BootIDChanged");
  const discarded = attempt.discardsSaved === true ? "; its saved memory was discarded" : "";
  return {
    kind: "End",
    result: rolledBack ? "Failed" : "Succeeded",
    reason: rolledBack ? "DefinitionRolledBack" : "Restarted",
    message: `${inPlace ? howItRebooted(attempt) : howItEnded(attempt)}, and a new boot runs${discarded}${aboutStart(attempt)}`,
    method: attempt.method,
    evidence,
    stoppedAtMs: stop?.epochMs,
    downtimeMs: stop && attempt.started && Math.max(0, attempt.started.monotonicMs - stop.monotonicMs),
  };
}

/** What a new boot lacks of what the resource wants. */
function aboutStart({ definition, rolledBackBecause, leftOut }: Attempt): string {
  const without = leftOut.length === 0 ? "" : `; without ${leftOut.map(({ disk }) => disk).join(", ")}`;
  if (definition !== "RolledBack") return without;
  const why = rolledBackBecause === undefined ? "" : `, which it refused to start: ${rolledBackBecause}`;
  return `${without}, but with the configuration before spec.definition${why}`;
}

function howItRebooted({ method }: Attempt): string {
  return method === "Hard" ? "the domain was reset" : "the guest rebooted in place";
}

function howItEnded({ method }: Attempt): string {
  switch (method) {
    case "Soft":
      return "the guest shut down when asked";
    case "Hard":
      return "the domain's power was cut";
    case "Start":
      return "the domain was off, or somebody else stopped it";
    case undefined:
      return "the old boot ended";
    default:
      return method satisfies never;
  }
}
