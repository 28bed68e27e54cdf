import type { Attempt } from "./attempt.ts";
import type { AttemptRule, AttemptSubject, Ruling } from "./decision.ts";
import { markedRules } from "./marked-rules.ts";
import { unmarkedRules } from "./unmarked-rules.ts";

/** The rules about a restart under way, in order. */
export function attemptRules(attempt: Attempt): readonly AttemptRule[] {
  return [leftover, endedBefore, concluded, failed, ...(attempt.marked ? markedRules : unmarkedRules)];
}

/** The attempt ended while its boot was saved on disk: the boot is let go now that it runs again. */
function leftover({ attempt, domain }: AttemptSubject): Ruling | undefined {
  if (attempt.isLeftover !== true) return undefined;
  if (attempt.released || domain.id === undefined) return { verdict: { kind: "Rest" } };
  const message = "the guest of an earlier restart was restored, and may reboot by itself again";
  const effect = { kind: "Release", attempt: attempt.id } as const;
  return { verdict: { kind: "Act", effect, reason: "Restarted", message, announce: false } };
}

/** The attempt ended long ago, and only the status does not know: after a lost write, or from an older backup. */
function endedBefore({ attempt }: AttemptSubject): Ruling | undefined {
  if (attempt.toldResult === undefined) return undefined;
  const message = "the domain's own record says that this request has been served";
  return {
    verdict: {
      kind: "End",
      result: attempt.toldResult,
      reason: "ServedBefore",
      method: attempt.method,
      message,
      evidence: ["DomainRecord"],
    },
    attempt: { ...attempt, settled: true },
  };
}

/**
 * The result is on the domain's own record: whatever has happened since is another story. A success is one as soon as
 * it was seen; a guest that obeys while its failure is being recorded is still started.
 */
function concluded({ attempt }: AttemptSubject): Ruling | undefined {
  const { conclusion, settled } = attempt;
  if (conclusion === undefined || !(settled || conclusion.result === "Succeeded")) return undefined;
  return { verdict: conclusion };
}

/** The attempt cannot succeed. The guest may reboot by itself again before the result is told. */
function failed({ attempt, domain }: AttemptSubject): Ruling | undefined {
  if (attempt.failure === undefined) return undefined;
  const { reason, message } = attempt.failure;
  if (attempt.touched && !attempt.released && domain.id !== undefined) {
    const effect = { kind: "Release", attempt: attempt.id } as const;
    return { verdict: { kind: "Act", effect, reason, message, announce: false } };
  }
  // Where nothing was done, nothing has ended the old boot.
  const method = attempt.touched ? attempt.method : undefined;
  return { verdict: { kind: "End", result: "Failed", reason, message, method, evidence: [] } };
}
