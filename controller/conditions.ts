import { longestMessage, type Condition, type ConditionType } from "../crds/condition.ts";
import type { DetachedVolume } from "../crds/machine.ts";
import type { RestartRecord } from "../crds/restart.ts";
import { shortened } from "../crds/shortened.ts";
import type { Attempt } from "./attempt.ts";
import type { Observation, Verdict } from "./decision.ts";

/** What the conditions are told from. */
export interface ConditionSource {
  observation: Observation;
  verdict: Verdict;
  /** The attempt, unless it has just ended. */
  attempt: Attempt | undefined;
  lastRestart: RestartRecord | undefined;
  /** What the next start would change of the running machine; undefined where that is not known. */
  pendingChanges: string[] | undefined;
  /** Disks without which the running boot was started. */
  detachedVolumes: DetachedVolume[] | undefined;
}

/** A condition as it is now; since when, the one before tells. */
export type ConditionNow = Omit<Condition, "lastTransitionTime">;

interface Answer {
  reason: string;
  message: string;
}

/**
 * Every condition, as kstatus reads them: Ready is always there; Reconciling and Stalled are there only while
 * True, and never together; Bound is always there, too, GuestReady once a domain with a
 * channel for the guest agent was seen, RestartRequired once a machine was compared with its next start, and
 * VolumesDegraded only while True.
 */
export function conditionsFor(source: ConditionSource): ConditionNow[] {
  const { observation } = source;
  const write = (type: ConditionType, status: Condition["status"], answer: Answer): ConditionNow => ({
    type,
    status,
    observedGeneration: observation.virtualMachine.metadata.generation,
    reason: answer.reason,
    message: shortened(answer.message, longestMessage),
  });
  const others = [
    ...boundCondition(source, write),
    ...guestReadyCondition(source, write),
    ...restartRequiredCondition(source, write),
    ...volumesDegradedCondition(source, write),
  ];
  const stalled = whyStalled(source);
  if (stalled !== undefined) {
    return [write("Ready", "False", stalled), write("Stalled", "True", stalled), ...others];
  }
  const reconciling = whyReconciling(source);
  if (reconciling !== undefined) {
    return [write("Ready", "False", reconciling), write("Reconciling", "True", reconciling), ...others];
  }
  return [write("Ready", "True", whyReady(source)), ...others];
}

/** Somebody has to act: nothing that the controller waits for will come by itself. */
function whyStalled({ observation, verdict, attempt, lastRestart }: ConditionSource): Answer | undefined {
  if (verdict.kind === "Unavailable" && observation.domain.kind !== "Unreachable") return verdict;
  if (verdict.kind === "Blocked" && verdict.findings !== undefined) return verdict;
  if (verdict.kind === "Rebase") {
    return verdict.problem === undefined
      ? undefined
      : { reason: "InvalidRestartRequest", message: verdict.problem };
  }
  if (attempt !== undefined) return undefined;
  if (lastRestart?.result === "Failed") return { reason: "RestartFailed", message: lastRestart.message };
  if (lastRestart?.result === "Unverified")
    return { reason: "RestartUnverified", message: lastRestart.message };
  return refusedBefore(observation, verdict);
}

/** A refused request stays reported until the next one. */
function refusedBefore({ virtualMachine }: Observation, verdict: Verdict): Answer | undefined {
  if (verdict.kind !== "Rest") return undefined;
  return virtualMachine.status.conditions?.find(
    ({ type, reason }) => type === "Stalled" && reason === "InvalidRestartRequest",
  );
}

function whyReconciling({ verdict, attempt }: ConditionSource): Answer | undefined {
  if (verdict.kind === "Unavailable") return verdict;
  if (attempt === undefined) return undefined;
  switch (verdict.kind) {
    case "Blocked":
    case "Wait":
    case "Look":
    case "Act":
      return verdict;
    case "Rest":
    case "Rebase":
    case "End":
      return undefined;
    default:
      return verdict satisfies never;
  }
}

function whyReady({ lastRestart }: ConditionSource): Answer {
  const message = "no restart is due";
  return lastRestart === undefined
    ? { reason: "Watching", message }
    : { reason: lastRestart.reason, message: `${lastRestart.message}; ${message}` };
}

type Write = (type: ConditionType, status: Condition["status"], answer: Answer) => ConditionNow;

function boundCondition({ observation, verdict }: ConditionSource, write: Write): ConditionNow[] {
  const { domain } = observation;
  if (verdict.kind === "Unavailable" && verdict.reason === "ClaimedByAnother") {
    return [write("Bound", "False", verdict)];
  }
  switch (domain.kind) {
    case "Present": {
      const { name, uuid, state, reason } = domain.domain;
      const message = `domain ${name} (${uuid})`;
      if (state !== "Crashed" && reason !== "Crashed")
        return [write("Bound", "True", { reason: "DomainFound", message })];
      const crash = `${message} has crashed: its guest, or the QEMU process behind it`;
      return [write("Bound", "True", { reason: "DomainCrashed", message: crash })];
    }
    case "Missing":
      return [
        write("Bound", "False", { reason: "DomainNotFound", message: "the hypervisor has no such domain" }),
      ];
    case "Unreachable":
      return [write("Bound", "Unknown", domain)];
    default:
      return domain satisfies never;
  }
}

/** Whether the guest's agent is there. A restart under way makes and unmakes it: it is not told step by step. */
function guestReadyCondition({ observation, attempt }: ConditionSource, write: Write): ConditionNow[] {
  const { domain, virtualMachine } = observation;
  const before = virtualMachine.status.conditions?.find(({ type }) => type === "GuestReady");
  if (domain.kind === "Missing") return [];
  if (domain.kind === "Unreachable")
    return before === undefined ? [] : [write("GuestReady", "Unknown", domain)];
  const { agent, id } = domain.domain;
  if (agent === undefined && (before === undefined || id !== undefined)) return [];
  if (attempt?.marked === true) {
    const message = "the guest is being restarted";
    return [write("GuestReady", "Unknown", { reason: "Restarting", message })];
  }
  switch (agent) {
    case "Connected":
      return [
        write("GuestReady", "True", { reason: "AgentConnected", message: "the guest agent is connected" }),
      ];
    case "Disconnected":
      return [
        write("GuestReady", "False", {
          reason: "AgentDisconnected",
          message: "the domain has a channel for a guest agent, and no agent is connected",
        }),
      ];
    case undefined:
      return [write("GuestReady", "False", { reason: "DomainOff", message: "the domain is off" })];
    default:
      return agent satisfies never;
  }
}

/** Whether the next start would change the running machine. It never restarts anything by itself. */
function restartRequiredCondition(
  { observation, pendingChanges }: ConditionSource,
  write: Write,
): ConditionNow[] {
  const unusable = unusableDefinition(observation);
  if (unusable !== undefined) return [write("RestartRequired", "Unknown", unusable)];
  if (pendingChanges === undefined) return unusableBefore(observation);
  const { domain } = observation;
  if (pendingChanges.length > 0) {
    const message = `a restart would change: ${pendingChanges.join("; ")}`;
    return [write("RestartRequired", "True", { reason: "ConfigurationChanged", message })];
  }
  const isOff = domain.kind === "Present" && domain.domain.id === undefined;
  const message = isOff
    ? "the domain is off: its next start uses what is configured"
    : "the machine runs with what its next start would use";
  return [write("RestartRequired", "False", { reason: "UpToDate", message })];
}

/** A definition that cannot be used: what a restart would change is not known. */
function unusableDefinition({ definition, domain }: Observation): Answer | undefined {
  if (definition.kind === "Unavailable")
    return { reason: "DefinitionUnavailable", message: definition.message };
  const next = domain.kind === "Unreachable" ? undefined : domain.next;
  const invalid = next?.findings?.find(({ reason }) => reason === "DefinitionInvalid");
  return invalid && { reason: "DefinitionInvalid", message: invalid.message };
}

/** A definition is not looked at in every pass: what was found last still counts. */
function unusableBefore({ domain, virtualMachine }: Observation): ConditionNow[] {
  const isKnown = domain.kind === "Present" && (domain.domain.id === undefined || domain.next !== undefined);
  if (isKnown || domain.kind === "Missing") return [];
  const { conditions = [] } = virtualMachine.status;
  return conditions.filter(
    ({ type, reason }) => type === "RestartRequired" && reason === "DefinitionInvalid",
  );
}

function volumesDegradedCondition({ detachedVolumes }: ConditionSource, write: Write): ConditionNow[] {
  if (detachedVolumes === undefined || detachedVolumes.length === 0) return [];
  const disks = detachedVolumes.map(({ disk, message }) => `${disk} (${message})`).join("; ");
  const message = `the machine runs without ${disks}`;
  return [write("VolumesDegraded", "True", { reason: "DisksLeftOut", message })];
}
