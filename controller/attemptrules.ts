import type { Attempt } from "./attempt.ts";
import type { AttemptRule, AttemptSubject, Ruling } from "./decision.ts";
import { markedRules } from "./markedrules.ts";
import type { Instant } from "./ports.ts";
import { unmarkedRules } from "./unmarkedrules.ts";

/** The rules about a restart under way, in order. */
export function attemptRules(attempt: Attempt): readonly AttemptRule[] {
  return [failed, retryLater, ...(attempt.marked ? markedRules : unmarkedRules)];
}

/** The attempt cannot succeed. The guest may reboot by itself again before the result is told. */
function failed({ attempt, domain, now }: AttemptSubject): Ruling | undefined {
  if (attempt.failure === undefined) return undefined;
  const { reason, message } = attempt.failure;
  if (attempt.marked && !attempt.released && domain.id !== undefined) {
    if (retryDue(attempt, now)) {
      const effect = { kind: "Release", attempt: attempt.id } as const;
      return { verdict: { kind: "Act", effect, reason, message, announce: false } };
    }
    return { verdict: { kind: "Wait", reason, message, ...until(attempt.retryAtMs) } };
  }
  return {
    verdict: { kind: "End", result: "Failed", reason, message, method: attempt.method, evidence: [] },
  };
}

/** What libvirt has just refused is tried again a little later. */
function retryLater({ attempt, now }: AttemptSubject): Ruling | undefined {
  if (retryDue(attempt, now)) return undefined;
  const message = `libvirt refused, and is asked again: ${attempt.lastRefusal ?? ""}`;
  return { verdict: { kind: "Wait", reason: "Retrying", message, ...until(attempt.retryAtMs) } };
}

function retryDue(attempt: Attempt, now: Instant): boolean {
  return attempt.refusals === 0 || attempt.retryAtMs === undefined || now.monotonicMs >= attempt.retryAtMs;
}

function until(untilMs: number | undefined): { untilMs?: number } {
  return untilMs === undefined ? {} : { untilMs };
}
