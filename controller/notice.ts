import type { Condition } from "../crds/condition.ts";
import type { PreflightFinding } from "../crds/machine.ts";
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
  "CancelIgnored",
  "HypervisorUnreachable",
  "HypervisorReachable",
  "DomainUnresponsive",
  "DomainResponsive",
  "DomainUnreadable",
  "DomainReadable",
  "DomainNotFound",
  "DomainFound",
  "DomainCrashed",
  "DomainRecovered",
  "ClaimedByAnother",
] as const;
/** One of them. */
export type NoticeReason = (typeof noticeReasons)[number];

/** A Kubernetes Event about a transition, told once. */
export interface Notice {
  type: "Normal" | "Warning";
  reason: NoticeReason;
  /** What the controller did or refused to do, as one word. */
  action: "Restart" | "PowerCycle" | "Wait" | "Ignore" | "Repair" | "Define" | "PlugIn" | "Look";
  note: string;
}

/** What Bound says where something is wrong, with what is told once that is over. */
const outages = [
  { begin: "HypervisorUnreachable", end: "HypervisorReachable" },
  { begin: "DomainUnresponsive", end: "DomainResponsive" },
  { begin: "DomainUnreadable", end: "DomainReadable" },
  { begin: "DomainNotFound", end: "DomainFound" },
  { begin: "DomainCrashed", end: "DomainRecovered" },
  { begin: "ClaimedByAnother", end: "DomainFound" },
] as const satisfies readonly { begin: NoticeReason; end: NoticeReason }[];

/** The Events that a status is worth, told at the transition and not at every pass. */
export function noticesOf(
  decision: Decision,
  before: VirtualMachineStatus,
  after: VirtualMachineStatus,
): Notice[] {
  return [noticeOfBound(decision, before, after), noticeOf(decision, before, after)].filter(
    (notice) => notice !== undefined,
  );
}

/** Which part is away, once for each, whether or not a restart waits for it; and that it is back. */
function noticeOfBound(
  { attempt }: Decision,
  before: VirtualMachineStatus,
  after: VirtualMachineStatus,
): Notice | undefined {
  const [was, is] = [bound(before), bound(after)];
  if (is === undefined || is.reason === was?.reason) return undefined;
  const begun = outages.find(({ begin }) => begin === is.reason);
  if (begun !== undefined) {
    const note = attempt === undefined ? is.message : `${is.message}; the restart waits`;
    return { type: "Warning", reason: begun.begin, action: "Wait", note };
  }
  const over = outages.find(({ begin }) => begin === was?.reason);
  if (over === undefined) return undefined;
  return { type: "Normal", reason: over.end, action: "Look", note: `${is.message}; ${over.begin} is over` };
}

function bound({ conditions }: VirtualMachineStatus): Condition | undefined {
  return conditions?.find(({ type }) => type === "Bound");
}

function noticeOf(
  { verdict, attempt }: Decision,
  before: VirtualMachineStatus,
  after: VirtualMachineStatus,
): Notice | undefined {
  switch (verdict.kind) {
    case "Act":
    case "Rebase":
      return verdict.notice;
    case "Blocked": {
      if (attempt === undefined) return undefined;
      if (!isToldAlready(verdict.reason, before)) return blocked(verdict.message);
      const further = furtherFinding(before, after);
      return further && blocked(`the domain could not start again: ${further.message}; ${further.remedy}`);
    }
    case "End":
      return ended(verdict);
    // Bound tells.
    case "Unavailable":
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

/** Something that is missing and was not before, although the reason to wait is the same. */
function furtherFinding(
  before: VirtualMachineStatus,
  after: VirtualMachineStatus,
): PreflightFinding | undefined {
  const known = new Set(before.findings?.map(whatOf));
  return after.findings?.find((finding) => !known.has(whatOf(finding)));
}

/** How much memory is short is another number at each look. */
function whatOf({ reason, path, message }: PreflightFinding): string {
  return reason === "MemoryShort" ? reason : `${reason} ${path} ${message}`;
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
