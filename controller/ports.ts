import type { DomainState, VirtualMachine, VirtualMachineStatus } from "../crds/virtual-machine.ts";
import type { DeclaredVolume } from "../crds/machine.ts";
import type { Signal } from "../crds/restart-policy.ts";
import type { Finding, Repair } from "./finding.ts";
import type { RestartMethod, RestartRequest, RestartResult } from "../crds/restart.ts";
import type { Served } from "./request.ts";
import type { Decision } from "./decision.ts";
import type { Notice } from "./notice.ts";

/** `namespace/name` of a VirtualMachine. */
export type Key = string;

/** Everything that the controller needs of the world; src/ implements it, a simulator can. */
export interface Ports {
  virtualMachines: VirtualMachines;
  hypervisor: Hypervisor;
  lease: Lease;
  clock: Clock;
  journal: Journal;
  /** What tells this cluster from all others: they may have controllers for the same hypervisor. */
  cluster: string;
}

/** The resources, as last seen. */
export interface VirtualMachines {
  /** The newest version known here; undefined where there is none. */
  get(key: Key): VirtualMachine | undefined;
  /** The domain XML that a resource wants its domain to have. */
  definition(virtualMachine: VirtualMachine): Definition;
  /** Whether a resource of this key would be known here: a controller may be told of one namespace alone. */
  watches(key: Key): boolean;
  /** All resources that name a domain, by its name or by its UUID. */
  naming(domain: Pick<Domain, "name" | "uuid">): VirtualMachine[];
  /**
   * Begins to write a status and returns at once. The write is guarded by the version that it was computed
   * from; on a conflict the key is queued again, and the next pass computes the status anew.
   */
  writeStatus(virtualMachine: VirtualMachine, status: VirtualMachineStatus): void;
  /** Publishes an Event about the resource; never fails. */
  publish(virtualMachine: VirtualMachine, notice: Notice): void;
}

/** The domain XML that a resource wants its domain to have. */
export type Definition =
  /** It says nothing: the domain's persistent configuration counts. */
  | { kind: "None" }
  | { kind: "Given"; xml: string }
  /** Where it says that it is, there is none; a change there is told. */
  | { kind: "Unavailable"; message: string };

/** How a resource names its domain. */
export type DomainReference = { kind: "Name"; name: string } | { kind: "UUID"; uuid: string };

/** The domains of one hypervisor. No method throws for what libvirt or the connection does. */
export interface Hypervisor {
  /** What is known without asking; asks only where an event has said that something changed, and for a comparison. */
  glance(reference: DomainReference, comparison?: Comparison): Promise<Glance>;
  /** Asks afresh, marks included. */
  look(reference: DomainReference, question: Question): Promise<Look>;
  /** Performs one effect. A domain that is already where the effect would bring it is a refusal. */
  perform(domain: Domain, effect: DomainEffect): Promise<Outcome>;
  /** Mends something that a start needs, whether or not the domain is there yet. */
  repair(repair: Repair): Promise<Outcome>;
  /** Defines a domain that is not there, under the name or the UUID by which a resource names it. It stays off. */
  defineNew(reference: DomainReference, definition: string): Promise<Outcome>;
}

/** What a look is to find out beyond the domain's state. */
export interface Question {
  /** The attempt whose boot mark is looked for; where it is not known, the one that the next boot's mark names. */
  attempt?: string | undefined;
  /** Whether libvirt is asked what it is doing with the domain: where a restart is under way. */
  jobs?: boolean | undefined;
  /** What the guest agent is asked, where one is connected. */
  agent?: "Ping" | "BootID" | undefined;
  /** With it, the look tells what the next start would use. */
  comparison?: Comparison | undefined;
}

/** How the next start is looked at. */
export interface Comparison {
  /** What that start is to be made from. */
  blueprint: Blueprint;
  /** Whether everything is looked at that it needs: tens of calls. */
  preflight: boolean;
}

/** What a domain is to be started from, as its resource says. */
export interface Blueprint {
  /** Domain XML; without it, the domain's own persistent configuration. */
  definition?: string | undefined;
  volumes: readonly DeclaredVolume[];
}

/** What the next start of a domain would use. */
export interface NextStart {
  /** Whether the blueprint's definition has yet to be made the domain's persistent configuration. */
  isToBeDefined: boolean;
  /** Whether the domain keeps the configuration before a definition: no restart has succeeded with what came after it. */
  keepsPrevious: boolean;
  /** What the running boot differs in from it, in a few words each; undefined where no boot runs. */
  changes?: string[] | undefined;
  /** Targets of the disks that it would have and the running boot lacks, such as "vdb". */
  absentDisks: string[];
  /** What keeps it from succeeding; undefined where that was not asked. A definition that cannot be read always is one. */
  findings?: Finding[] | undefined;
}

/** A domain without its marks. */
export type Glance =
  | Unreachable
  | Missing
  | {
      kind: "Present";
      domain: Domain;
      /** What the next start would use; absent where no comparison was asked for. */
      next?: NextStart | undefined;
    };
/** A domain with its marks. */
export type Look = Unreachable | Missing | ({ kind: "Present" } & Sight);

/** What a look has found. */
export interface Sight {
  domain: Domain;
  /** Whether the domain is still there once it is off. */
  persistent: boolean;
  marks: Marks;
  /** What libvirt is doing with the domain, of what a restart would break. */
  job?: Job | undefined;
  /** Why the domain's disks cannot be read; asked only of a domain that is paused on an I/O error. */
  storageProblem?: string | undefined;
  /** What the guest agent has answered; absent where it was not asked, or did not. A guest's words: no proof alone. */
  agent?: { bootId?: string | undefined } | undefined;
  /** What the next start would use; absent where no comparison was asked for. */
  next?: NextStart | undefined;
}

/** Something that libvirt does with a running domain. A migration is never broken off. */
export interface Job {
  kind: "Migration" | "Other";
  /** In a few words, such as "a backup". */
  what: string;
}

/** Whether the domain is there and its marks were read. */
export function hasMarks(domain: Glance | Look): domain is Look & { kind: "Present" } {
  return domain.kind === "Present" && "marks" in domain;
}

/** What the domain is cannot be told now; the hypervisor tells when it can, unless it is to be asked again after a time. */
export interface Unreachable {
  kind: "Unreachable";
  reason: UnreachableReason;
  message: string;
  /** For a domain that hangs while its hypervisor is fine: no event will tell. */
  retryInMs?: number | undefined;
}

/** Which part is out of reach. */
export const unreachableReasons = [
  /** The hypervisor, and so all of its domains. */
  "HypervisorUnreachable",
  /** The domain alone: the hypervisor answers, but not about it, as something that hangs holds it. */
  "DomainUnresponsive",
  /** The domain alone: what the hypervisor says about it is an error, or cannot be read. */
  "DomainUnreadable",
] as const;
/** One of them. */
export type UnreachableReason = (typeof unreachableReasons)[number];

/** The hypervisor answers, and has no such domain. */
export interface Missing {
  kind: "Missing";
  /** What the first start of a domain that the blueprint defines would use. */
  next?: NextStart | undefined;
}

/** A libvirt domain. */
export interface Domain {
  uuid: string;
  name: string;
  /** Absent while the domain is inactive. */
  id?: number | undefined;
  state: DomainState;
  /** Why it is in this state, in libvirt's words, such as "Destroyed" of a domain that is Shutoff. */
  reason: string;
  /** The last time that libvirt told this process that the domain stopped. */
  lastStop?: Instant | undefined;
  /**
   * The last time that libvirt told this process that the guest rebooted without the domain's stopping; of what it
   * tells within `rebootBurstMs`, the first.
   */
  lastReboot?: Instant | undefined;
  /** The last time that libvirt told this process that the domain was defined anew. */
  lastDefined?: Instant | undefined;
  /** Whether the guest agent is connected; absent where the domain is off or has no channel for an agent. */
  agent?: "Connected" | "Disconnected" | undefined;
  /** Counts the connections to the hypervisor: between two of them, events may have been missed. */
  connection: number;
}

/** What the domain's metadata says about restarts. */
export interface Marks {
  /** Whether the running boot carries the mark of the attempt that was asked for. */
  bootMark: boolean;
  /** The request mark of the running boot: it was there when that boot began. */
  live?: RequestMark | undefined;
  /** The request mark that the next boot will carry: the last request that any attempt was marked for. */
  next?: RequestMark | undefined;
}

/**
 * The last request that the domain tells of: where somebody defined it anew, and the next boot will carry no mark, the
 * running boot may still carry one.
 */
export function lastMark({ live, next }: Marks): RequestMark | undefined {
  return next ?? live;
}

/** XML namespace of the request mark in the domain's metadata: one a domain, replaced by each request. */
export const requestMarkUri = "https://warmboot.dev/request";

/** The domain's own record of a request that is being served or was served. */
export interface RequestMark {
  /** The attempt's random name. */
  attempt: string;
  /** The cluster of the resource that requested. */
  cluster: string;
  /** UID of the resource that requested. */
  resource: string;
  /** Its namespace and name: one that is created anew under them goes on with what the deleted one began. */
  owner: Key;
  request: RestartRequest;
  /** What had been served before: the status that says so may not have been written yet. */
  servedBefore: Served;
  /** Whether the domain was off when it was marked: nobody had to stop it. */
  wasOff?: boolean | undefined;
  /** Whether the boot is to be rebooted or reset in place, so that its mark stays on it. */
  inPlace?: boolean | undefined;
  /** Boot ID that the guest agent told before an in-place reboot; absent where there was no agent. */
  bootId?: string | undefined;
  /**
   * Whether the resource's definition became the domain's configuration and no boot was started with it before, and
   * whether that was put back.
   */
  definition?: "Applied" | "RolledBack" | undefined;
  /** Milliseconds since 1970. */
  startedAtMs: number;
  /** How the attempt ended; absent while it is under way, so that a domain that is off is owed its start. */
  result?: RestartResult | undefined;
  /** How the old boot ended; there together with the result. */
  method?: RestartMethod | undefined;
}

/** What the controller can do: one effect a pass. */
export type Effect =
  | DomainEffect
  /** Mends something that the next start needs. */
  | { kind: "Repair"; repair: Repair };

/** What the controller can do to a domain. */
export type DomainEffect =
  /**
   * Marks the boot that is about to end (where one runs), makes a reboot or a poweroff by the guest end in off
   * (in place: as the configuration says), and marks the next boot with the request, in this order. Done only if
   * every part succeeded.
   */
  | { kind: "Mark"; mark: RequestMark; running: boolean }
  /** Asks the guest to power off. */
  | { kind: "Shutdown"; signal: Signal }
  /** Asks the guest to reboot in place. */
  | { kind: "Reboot"; signal: Signal }
  /** Cuts the power. */
  | { kind: "Destroy" }
  /** Presses the reset button. */
  | { kind: "Reset" }
  /** Wakes up a guest that is suspended to memory. */
  | { kind: "Wake" }
  /** Lets a paused guest run on. */
  | { kind: "Resume" }
  /** Boots, discarding a managed save image; without these disks, which stay in the configuration. */
  | { kind: "Start"; without?: readonly string[] | undefined }
  /**
   * Makes the definition the domain's persistent configuration, with what libvirt assigned and the guest depends on
   * where it is silent, and keeps the one before if it replaces one; without a definition, makes a transient domain's
   * own XML one. The running boot does not change.
   */
  | { kind: "Define"; definition?: string | undefined; replaces: boolean }
  /** Puts the configuration back that the last Define has replaced, with this request mark. */
  | { kind: "RollBack"; mark: RequestMark }
  /** Gives the running boot a disk that its configuration has and it was started without, by its target. */
  | { kind: "AttachDisk"; disk: string }
  /** Lets the guest's reboot and poweroff end again as its configuration says. */
  | { kind: "Release"; attempt: string }
  /** Writes the result into the request mark of the next boot: nothing is owed any more. */
  | { kind: "Settle"; mark: RequestMark };

/** How an effect ended. */
export type Outcome =
  | { kind: "Done" }
  /** The hypervisor said no; nothing happened, or nothing that it knows of. */
  | { kind: "Refused"; message: string; cause?: RefusalCause | undefined }
  /** No answer came: it may have happened. */
  | { kind: "Unanswered"; message: string }
  /** The hypervisor was never asked. */
  | { kind: "NotSent"; message: string };

/** Why the hypervisor said no, where that makes a difference. */
export type RefusalCause =
  /** The controller is not permitted to: it will never say yes. */
  | "Denied"
  /** Something else holds the domain, such as a process that does not answer any more. */
  | "Busy"
  /** It went wrong in the middle: what was asked for may happen all the same. */
  | "Failed";

/** The right to act, which one process has at a time. A process that lost it to another begins anew to get it back. */
export interface Lease {
  /**
   * Whether this process may act: its last renewal that succeeded was begun no longer ago than it may take to renew,
   * on its own monotonic clock. Nobody else may act until then.
   */
  isHeld(): boolean;
  /**
   * Until when an effect that the previous holder sent may still happen, on the monotonic clock: its deadline to renew
   * and as long again as libvirt may take with a call. -Infinity where there was none.
   */
  readonly predecessorGoneAtMs: number;
  /**
   * Until when the next holder would wait for this process in the same way, counted from the last renewal that
   * succeeded: nobody else does anything to a domain before.
   */
  readonly goneAtMs: number;
}

/** The lease of a process that shares its work with nobody. */
export const alwaysHeld: Lease = {
  isHeld: () => true,
  predecessorGoneAtMs: Number.NEGATIVE_INFINITY,
  goneAtMs: Number.POSITIVE_INFINITY,
};

/** One moment on both clocks. */
export interface Instant {
  /** Milliseconds since 1970, for people; it can jump. */
  epochMs: number;
  /** Milliseconds of a clock that only goes forward; means nothing in another process. */
  monotonicMs: number;
}

/** The time, and names that nobody else has. */
export interface Clock {
  now(): Instant;
  /** A new random name for an attempt: 128 bits, in hexadecimal. */
  nonce(): string;
}

/** What is told of every pass, for logs and metrics; nothing depends on it. */
export interface Journal {
  decided(key: Key, decision: Decision): void;
  performed(performance: Performance): void;
}

/** An effect with its outcome. */
export interface Performance {
  key: Key;
  /** Absent where no restart is under way. */
  attempt: string | undefined;
  /** As it was seen before the effect; undefined where there was none yet. */
  domain: Domain | undefined;
  effect: Effect;
  outcome: Outcome;
  began: Instant;
  ended: Instant;
}
