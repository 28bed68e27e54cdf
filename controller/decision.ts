import type { RestartEvidence, RestartMethod, RestartResult } from "../crds/restart.ts";
import type { VirtualMachine, VirtualMachineStatus } from "../crds/virtual-machine.ts";
import type { RestartPolicy } from "../crds/restart-policy.ts";
import type { Attempt } from "./attempt.ts";
import type { Notice } from "./notice.ts";
import type { Finding } from "./finding.ts";
import type { Definition, Effect, Glance, Instant, Look, Sight, UnreachableReason } from "./ports.ts";
import type { Served, Trigger } from "./request.ts";

/** Everything that one decision is made from; nothing else is asked while deciding. */
export interface Observation {
  /** With the status as this process computed it last. */
  virtualMachine: VirtualMachine;
  /** The status as the API server is known to have it. */
  stored: VirtualMachineStatus;
  /** What tells this cluster from all others. */
  cluster: string;
  /** With marks where a restart is under way or requested. */
  domain: Glance | Look;
  /** The domain XML that the resource wants. */
  definition: Definition;
  /** From when on a disk that was plugged in may be again, by its target, on the monotonic clock. */
  plugInsFromMs: ReadonlyMap<string, number>;
  /** Other resources that name the same domain. */
  rivals: readonly VirtualMachine[];
  /** Whether the domain tells of a restart that a resource which is gone has left undone, and nobody works on. */
  isOrphaned: boolean;
  /** The attempt as this process knows it. */
  attempt: Attempt | undefined;
  /** Until when an effect that the previous holder of the lease sent may still happen, on the monotonic clock. */
  predecessorGoneAtMs: number;
  now: Instant;
  /** A random name for the attempt that this pass may begin. */
  nonce: string;
}

/** What is to be done and said about one resource. */
export type Verdict =
  /** Nothing is requested. */
  | { kind: "Rest" }
  /** What the resource says counts as served from now on; nothing is restarted. */
  | { kind: "Rebase"; served: Served; problem?: string | undefined; notice?: Notice | undefined }
  /** The domain cannot be worked on, requested or not. */
  | {
      kind: "Unavailable";
      reason: UnreachableReason | "DomainNotFound" | "ClaimedByAnother";
      message: string;
      untilMs?: number | undefined;
    }
  /**
   * The request waits for something that an event will tell, or until a moment on the monotonic clock; with findings,
   * for somebody who mends them.
   */
  | {
      kind: "Blocked";
      reason: string;
      message: string;
      untilMs?: number | undefined;
      findings?: Finding[] | undefined;
    }
  /** More has to be known first: the next look, at once, asks for it. */
  | { kind: "Look"; reason: string; message: string }
  /** The attempt waits for an event, or until a moment on the monotonic clock. */
  | { kind: "Wait"; reason: string; message: string; untilMs?: number | undefined }
  /** One effect; `announce` writes the status alongside it. */
  | {
      kind: "Act";
      effect: Effect;
      reason: string;
      message: string;
      announce: boolean;
      notice?: Notice | undefined;
    }
  /** The attempt is over. */
  | {
      kind: "End";
      result: RestartResult;
      reason: string;
      message: string;
      method?: RestartMethod | undefined;
      evidence: RestartEvidence[];
      stoppedAtMs?: number | undefined;
      downtimeMs?: number | undefined;
    };

/** A verdict with the rule that gave it. */
export interface Decision {
  rule: string;
  verdict: Verdict;
  /** What the triggers said. */
  trigger: Trigger;
  /** The attempt as the rules left it; undefined where none is under way. */
  attempt: Attempt | undefined;
}

/** What the rules about a resource look at. */
export interface Subject extends Omit<Observation, "nonce"> {
  trigger: Trigger;
}

/** What the rules about an attempt look at: the domain is there, and its marks have been read. */
export interface AttemptSubject
  extends
    Sight,
    Pick<
      Observation,
      "virtualMachine" | "stored" | "cluster" | "definition" | "predecessorGoneAtMs" | "now"
    > {
  policy: RestartPolicy;
  attempt: Attempt;
}

/**
 * What a rule that applies answers: a verdict, with the attempt where the rule changes it; or only an attempt, which
 * goes through the rules about attempts, from the first one on.
 */
export type Ruling = { verdict: Verdict; attempt?: Attempt } | { attempt: Attempt };

/** A small named rule: it answers where it applies, and the first answer counts. */
export type Rule<S, R> = (subject: S) => R | undefined;

/** A rule about a resource as a whole. */
export type ResourceRule = Rule<Subject, Ruling>;

/** A rule about a restart under way. */
export type AttemptRule = Rule<AttemptSubject, Ruling>;
