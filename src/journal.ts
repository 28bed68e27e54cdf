import type { Logger } from "pino";
import type { Decision, Verdict } from "../controller/decision.ts";
import { repaired } from "../controller/finding.ts";
import type { Effect, Journal, Key, Performance } from "../controller/ports.ts";
import { parseKey } from "./kubernetes/resource.ts";
import { passed } from "./steps.ts";

/**
 * The log of what the controller decides and does. Every line of a restart carries the namespace and the name
 * of the resource and the attempt; a decision that changes nothing is told at level debug, as is what keeps a resource
 * waiting once it was told.
 */
export function createJournal(log: Logger): Journal {
  const waits = new Map<Key, Waiting>();
  return {
    decided: (key, decision) => {
      logWait(log, key, decision, waits);
      logDecision(log, key, decision);
      const { verdict } = decision;
      passed(verdict.kind === "Act" ? `effect/${verdict.effect.kind}/begin` : `decided/${verdict.kind}`);
    },
    performed: (performance) => {
      logPerformance(log, performance);
      passed(`effect/${performance.effect.kind}/end`);
    },
  };
}

type Waiting = Verdict & { kind: "Blocked" | "Unavailable" };

/** What a resource waits for, and that this is over: once, however often it is tried again meanwhile. */
function logWait(log: Logger, key: Key, decision: Decision, waits: Map<Key, Waiting>): void {
  const { rule, verdict, attempt } = decision;
  // Between two looks nothing is over.
  if (verdict.kind === "Look") return;
  const before = waits.get(key);
  const line = { ...parseKey(key), attempt: attempt?.id, stage: attempt?.stage, rule };
  // The connection's own line tells of all machines at rest.
  const isTold = attempt === undefined && [before, verdict].some(isOfHypervisor);
  if (verdict.kind === "Blocked" || verdict.kind === "Unavailable") {
    waits.set(key, verdict);
    const isNews = verdict.reason !== before?.reason || verdict.message !== before.message;
    log[isNews && !isTold ? "warn" : "debug"]({ ...line, reason: verdict.reason }, verdict.message);
  } else if (waits.delete(key)) {
    log[isTold ? "debug" : "info"]({ ...line, reason: before?.reason }, `over: ${before?.message}`);
  }
}

function isOfHypervisor(verdict: Verdict | undefined): boolean {
  return verdict?.kind === "Unavailable" && verdict.reason === "HypervisorUnreachable";
}

function logDecision(log: Logger, key: Key, { rule, verdict, attempt }: Decision): void {
  const line = { ...parseKey(key), attempt: attempt?.id, stage: attempt?.stage, rule };
  switch (verdict.kind) {
    case "Rest":
      log.debug(line, "nothing is requested");
      return;
    case "Rebase":
      log.info(
        { ...line, ...verdict.served },
        verdict.problem ?? verdict.notice?.note ?? "first look: what the resource says is the baseline",
      );
      return;
    case "Unavailable":
    case "Blocked":
      return;
    case "Wait":
    case "Look":
      log.debug({ ...line, reason: verdict.reason }, verdict.message);
      return;
    case "Act":
      log.info({ ...line, reason: verdict.reason, effect: verdict.effect.kind }, verdict.message);
      return;
    case "End": {
      const { kind: _kind, message, ...end } = verdict;
      log[end.result === "Succeeded" || end.result === "Skipped" ? "info" : "error"](
        { ...line, ...end },
        message,
      );
      return;
    }
    default:
      verdict satisfies never;
  }
}

function logPerformance(
  log: Logger,
  { key, attempt, domain, effect, outcome, began, ended }: Performance,
): void {
  const line = {
    ...parseKey(key),
    attempt,
    domain: domain?.name,
    effect: effect.kind,
    outcome: outcome.kind,
    tookMs: rounded(ended.monotonicMs - began.monotonicMs),
    // How long the guest had been known to be off when its start was asked for.
    ...(effect.kind === "Start" && domain?.lastStop !== undefined
      ? { offForMs: rounded(began.monotonicMs - domain.lastStop.monotonicMs) }
      : {}),
  };
  if (outcome.kind === "Done") log.info(line, doneBy(effect));
  else log.warn(line, outcome.message);
}

function doneBy(effect: Effect): string {
  return effect.kind === "Repair" ? repaired(effect.repair) : done[effect.kind];
}

const done = {
  Mark: "marked",
  Shutdown: "asked the guest to shut down",
  Reboot: "asked the guest to reboot",
  Destroy: "cut the power",
  Reset: "pressed the reset button",
  Wake: "woke the guest up",
  Resume: "resumed the guest",
  Start: "started",
  Settle: "the result is on the domain",
  Define: "the definition is the domain's configuration",
  RollBack: "the configuration before is back",
  AttachDisk: "plugged the disk in",
  Release: "the guest may reboot and power off by itself again",
} as const satisfies Record<Exclude<Effect["kind"], "Repair">, string>;

function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}
