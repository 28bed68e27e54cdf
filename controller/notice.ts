import type { VirtualMachineStatus } from "../crds/virtual-machine.ts";
import type { Decision, Verdict } from "./decision.ts";

/** Reasons of the Events that the controller publishes: a closed list, one word each. */
const noticeReasons = [
  "RestartStarted",
  "RestartForced",
  "RestartBlocked",
  "RestartSucceeded",
  "RestartFailed",
  "RestartUnverified",
  "RestartReverted",
  "RestartCancelled",
  "StartRepaired",
  "DomainDefined",
  "DefinitionRolledBack",
  "DiskPluggedIn",
  "InvalidRestartRequest",
] as const;
/** One of them. */
export type NoticeReason = (typeof noticeReasons)[number];

/** A Kubernetes Event about a transition, told once. */
export interface Notice {
  type: "Normal" | "Warning";
  reason: NoticeReason;
  /** What the controller did or refused to do, as one word. */
  action: "Restart" | "PowerCycle" | "Wait" | "Ignore" | "Repair" | "Define" | "PlugIn";
  note: string;
}

/** The Event that a decision is worth, told at the transition and not at every pass. */
export function noticeOf({ verdict, attempt }: Decision, before: VirtualMachineStatus): Notice | undefined {
  switch (verdict.kind) {
    case "Act":
    case "Rebase":
      return verdict.notice;
    case "Blocked":
    case "Unavailable":
      return attempt === undefined || isToldAlready(verdict.reason, before)
        ? undefined
        : blocked(verdict.message);
    case "End":
      return ended(verdict);
    case "Rest":
    case "Wait":
    case "Look":
      return undefined;
    default:
      return verdict satisfies never;
  }
}

function isToldAlready(reason: string, { conditions }: VirtualMachineStatus): boolean {
  return conditions?.some((condition) => condition.type === "Ready" && condition.reason === reason) ?? false;
}

function blocked(note: string): Notice {
  return { type: "Warning", reason: "RestartBlocked", action: "Wait", note };
}

function ended({ result, message, method, downtimeMs }: Verdict & { kind: "End" }): Notice {
  switch (result) {
    case "Succeeded": {
      const downtime = downtimeMs === undefined ? "" : `; it was down for ${Math.round(downtimeMs)} ms`;
      return {
        type: "Normal",
        reason: "RestartSucceeded",
        action: "Restart",
        note: `${method}: ${message}${downtime}`,
      };
    }
    case "Failed":
      return { type: "Warning", reason: "RestartFailed", action: "Restart", note: message };
    case "Unverified":
      return { type: "Warning", reason: "RestartUnverified", action: "Restart", note: message };
    case "Skipped":
      return { type: "Normal", reason: "RestartCancelled", action: "Ignore", note: message };
    default:
      return result satisfies never;
  }
}
