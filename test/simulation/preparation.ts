import type { VirtualMachine } from "../../crds/virtual-machine.ts";
import type { Attempt } from "../../controller/attempt.ts";
import type { Decision, Verdict } from "../../controller/decision.ts";
import { repairKey, type Finding, type Repair } from "../../controller/finding.ts";
import type { Effect, Performance } from "../../controller/ports.ts";
import type { Boot } from "./domain.ts";
import { hasUnusableDefinition } from "./rest.ts";
import type { World } from "./world.ts";

/** What was seen so long ago still counts as seen, in milliseconds; a slow look is older than what is decided from it. */
const seenHoldsMs = 10_000;
const slowLookMs = 1000;

/** How much later than it changes a resource may be seen, in milliseconds. */
const mostLagMs = 8000;

/** How soon a repair may be tried again, in milliseconds. */
const repairAgainMs = 60_000;

/** How often a start has to be refused with nothing lacking before a new definition makes way. */
const refusalsBeforeRollBack = 3;

/** What the preparation of one attempt is measured by. */
interface Preparations {
  /** When it was first seen. */
  readonly sinceMs: number;
  /** Whether its boot was to end in place. */
  inPlace: boolean;
  /** Refusals of its start in a row at which nothing was lacking. */
  refusedStarts: number;
  /** Without which disks it was to be started, when that was refused and nothing has been looked into yet. */
  refusedWithout: readonly string[] | undefined;
  repairedAtMs: Map<string, number>;
  hasCutPower: boolean;
  hasRolledBack: boolean;
}

/** What took from a process what it had mended, or tried to. */
const forgets = [
  "the controller is killed",
  "the controller dies at an effect",
  "the controller is told to end",
  "the wall clock is set",
  "status writes are lost",
  "an older backup of the API server is restored",
  "the resource is deleted",
];

const refusedEffects = [
  "libvirt refuses an effect",
  "libvirt refuses an effect again and again",
  "its process stops answering",
];

/** What changes a configuration, or what is to become one, behind an attempt's back. */
const changesOfConfiguration = [
  "somebody changes the persistent configuration",
  "an operator undefines it",
  "an operator defines it anew",
];

/**
 * What the next start needs: nothing happens to a guest as long as it lacks something, what is mended was lacking, and
 * a boot has what its resource says.
 */
export class Preparation {
  readonly #world: World;
  readonly #hasHappened: (...names: string[]) => boolean;
  readonly #lostLeases: ReadonlySet<string>;
  readonly #fail: (invariant: string, how: string) => void;
  /** Since when each thing has been lacking, on the monotonic clock. */
  readonly #lackingSinceMs = new Map<Finding, number>();
  /** When each thing that was lacking came back. */
  readonly #mendedAtMs = new Map<string, number>();
  readonly #preparations = new Map<string, Preparations>();
  /** Since when the resource has wanted the definition that it wants now. */
  #definition: string | undefined;
  #definedSinceMs = Number.NEGATIVE_INFINITY;

  constructor(
    world: World,
    lostLeases: ReadonlySet<string>,
    hasHappened: (...names: string[]) => boolean,
    fail: (invariant: string, how: string) => void,
  ) {
    this.#world = world;
    this.#lostLeases = lostLeases;
    this.#hasHappened = hasHappened;
    this.#fail = fail;
  }

  /** From here on the invariants hold. */
  begin(): void {
    this.happened();
    this.#definedSinceMs = Number.NEGATIVE_INFINITY;
  }

  /** Something has happened: the resource may want another definition. */
  happened(): void {
    const { api } = this.#world;
    const definition = JSON.stringify(api.stored && api.definitionOf(api.stored));
    if (definition === this.#definition) return;
    this.#definition = definition;
    this.#definedSinceMs = this.#nowMs;
  }

  /** Something has gone missing or has come back. */
  hostChanged(): void {
    const { lacks } = this.#world.hypervisor.host;
    for (const finding of this.#lackingSinceMs.keys()) {
      if (lacks.includes(finding)) continue;
      this.#lackingSinceMs.delete(finding);
      if (finding.repair !== undefined) this.#mendedAtMs.set(repairKey(finding.repair), this.#nowMs);
    }
    for (const finding of lacks)
      if (!this.#lackingSinceMs.has(finding)) this.#lackingSinceMs.set(finding, this.#nowMs);
  }

  /** A decision, with the resource as the process that decides has it. */
  decided({ verdict, attempt }: Decision, seen: VirtualMachine | undefined): void {
    if (attempt === undefined) {
      if (verdict.kind === "Act" && verdict.effect.kind !== "AttachDisk")
        this.#fail(
          "without a restart nothing is done to a domain but a disk plugged in",
          verdict.effect.kind,
        );
      return;
    }
    const preparations = this.#of(attempt.id);
    this.#looksIntoRefusal(attempt);
    preparations.inPlace ||= attempt.inPlace;
    if (verdict.kind === "End") this.#ended(attempt, verdict, seen, preparations);
    if (verdict.kind !== "Act") return;
    this.#acts(attempt, verdict.effect, seen);
  }

  /** An effect with its outcome. */
  performed({ attempt, effect, outcome, ended }: Performance): void {
    if (attempt === undefined) return;
    const preparations = this.#of(attempt);
    switch (effect.kind) {
      case "Start":
        preparations.refusedWithout = outcome.kind === "Refused" ? (effect.without ?? []) : undefined;
        return;
      case "Repair":
        if (outcome.kind !== "NotSent")
          preparations.repairedAtMs.set(repairKey(effect.repair), ended.monotonicMs);
        return;
      case "Destroy":
        preparations.hasCutPower ||= outcome.kind === "Done";
        return;
      default:
    }
  }

  /** A configuration is put back, by a process that may die of it. */
  rollsBack(attempt: string): void {
    this.#of(attempt).hasRolledBack = true;
  }

  /** What must be true once nothing happens any more and nothing lacks. */
  atRest(): void {
    const { stored } = this.#world.api;
    const { hypervisor } = this.#world;
    if (stored === undefined || stored.status.attempt !== undefined || !hypervisor.exists) return;
    const { status } = stored;
    if (status.findings !== undefined)
      this.#fail("findings are told while a restart waits for them", "at rest");
    const { running } = hypervisor;
    this.#toldChanges(stored, running);
    this.#toldDetached(stored, running);
  }

  get #nowMs(): number {
    return this.#world.timeline.now().monotonicMs;
  }

  /** What a look at the host must have shown: what lacks for longer than a look holds. */
  #lacksSeen(seen: VirtualMachine): Finding | undefined {
    const mayDetach = seen.spec.restartPolicy.onUnavailableVolume === "Detach";
    const holdsMs = seenHoldsMs + (this.#hasHappened("libvirt becomes slow") ? slowLookMs : 0);
    for (const [finding, sinceMs] of this.#lackingSinceMs) {
      if (mayDetach && finding.disk !== undefined) continue;
      if (this.#nowMs > sinceMs + holdsMs) return finding;
    }
    return undefined;
  }

  #acts(attempt: Attempt, effect: Effect, seen: VirtualMachine | undefined): void {
    switch (effect.kind) {
      case "Shutdown":
        // A guest that was asked may go off by that at any moment: asking again changes little.
        if (attempt.lastSignal === undefined && seen !== undefined) this.#mayEnd(effect, seen);
        return;
      case "Destroy":
        if (seen !== undefined) this.#mayEnd(effect, seen);
        return;
      case "Start":
        if (seen !== undefined) this.#leavesOut(effect.without ?? [], seen);
        return;
      case "Repair":
        this.#repairs(attempt, effect.repair);
        return;
      case "Define":
        if (seen !== undefined) this.#defines(attempt, seen);
        return;
      case "RollBack":
        this.#mayRollBack(attempt);
        return;
      default:
    }
  }

  #mayEnd({ kind }: Effect, seen: VirtualMachine): void {
    const lack = this.#lacksSeen(seen);
    if (lack !== undefined)
      this.#fail("nothing ends a boot as long as the next start lacks something", `${kind}: ${lack.message}`);
  }

  #leavesOut(without: readonly string[], { spec }: VirtualMachine): void {
    if (without.length > 0 && spec.restartPolicy.onUnavailableVolume !== "Detach")
      this.#fail("disks are only left out where the policy says so", without.join(", "));
  }

  #repairs({ id }: Attempt, repair: Repair): void {
    const key = repairKey(repair);
    const { lacks } = this.#world.hypervisor.host;
    const isLacking = lacks.some((lack) => lack.repair !== undefined && repairKey(lack.repair) === key);
    const mendedAtMs = this.#mendedAtMs.get(key) ?? Number.NEGATIVE_INFINITY;
    const mayBeOld = this.#hasHappened("libvirt becomes slow", ...this.#lostLeases);
    if (!isLacking && !(mayBeOld && this.#nowMs < mendedAtMs + seenHoldsMs))
      this.#fail("only what lacks is mended", key);
    const triedAtMs = this.#of(id).repairedAtMs.get(key) ?? Number.NEGATIVE_INFINITY;
    if (this.#nowMs < triedAtMs + repairAgainMs && !this.#hasHappened(...forgets, ...this.#lostLeases))
      this.#fail("nothing is mended more than once a minute", `${key} after ${this.#nowMs - triedAtMs} ms`);
  }

  #defines({ mode, resetRefused }: Attempt, { spec }: VirtualMachine): void {
    const { hypervisor } = this.#world;
    // What is transient, or gone, has to be defined for its marks.
    if (!hypervisor.persistent || !hypervisor.exists || resetRefused === true) return;
    if (hypervisor.running === undefined) return;
    const { soft, hard } = spec.restartPolicy;
    // What does not run, as a guest that is paused, cannot be reset.
    const canBeReset = ["Running", "Blocked"].includes(hypervisor.domain.state) && hard.via === "Reset";
    const isInPlace = mode === "Hard" ? canBeReset : soft.via === "Reboot";
    if (isInPlace) this.#fail("a restart in place defines nothing", `mode ${mode}`);
  }

  #mayRollBack({ id }: Attempt): void {
    const { refusedStarts } = this.#of(id);
    const invariant = "a configuration is only rolled back for a start that was refused with nothing lacking";
    if (refusedStarts < refusalsBeforeRollBack && !this.#hasHappened("libvirt becomes slow"))
      this.#fail(invariant, `it was refused ${refusedStarts} times`);
  }

  /** The first decision after a refused start sees what it lacked. */
  #looksIntoRefusal({ id }: Attempt): void {
    const preparations = this.#preparations.get(id);
    const without = preparations?.refusedWithout;
    if (preparations === undefined || without === undefined) return;
    preparations.refusedWithout = undefined;
    const { lacks } = this.#world.hypervisor.host;
    if (lacks.every(({ disk }) => disk !== undefined && without.includes(disk)))
      preparations.refusedStarts += 1;
  }

  #ended(
    attempt: Attempt,
    { result, reason }: Verdict & { kind: "End" },
    seen: VirtualMachine | undefined,
    { sinceMs, inPlace, hasCutPower, hasRolledBack, repairedAtMs }: Preparations,
  ): void {
    const { hypervisor, api } = this.#world;
    const { id, isInherited, recordIn } = attempt;
    // A guest that obeys too late has its attempt begun anew.
    repairedAtMs.clear();
    if (reason === "DefinitionRolledBack" && !hasRolledBack)
      this.#fail("the result tells of a definition that was rolled back", "it was not");
    const boot = hypervisor.running;
    if (result !== "Succeeded" || boot?.startedBy !== id || seen === undefined) return;
    const definition = api.definitionOf(seen);
    const isOther = definition.kind === "Given" && definition.xml !== boot.startedWith.configuration;
    const isChanged =
      this.#definedSinceMs > sinceMs - mostLagMs || this.#hasHappened(...changesOfConfiguration);
    // One that was to reboot in place, and that somebody or its guest stopped, starts with what it has.
    const mayBeInPlace = (inPlace && !hasCutPower) || (isInherited && recordIn === "Status");
    if (isOther && !isChanged && !mayBeInPlace)
      this.#fail(
        "a boot that was started has the definition of its resource, or the result says otherwise",
        `it runs with ${boot.startedWith.configuration}`,
      );
  }

  #toldChanges(stored: VirtualMachine, running: Boot | undefined): void {
    const { hypervisor, api } = this.#world;
    const { status } = stored;
    const invariant = "the status tells what the next start would change";
    const required = status.conditions?.find(({ type }) => type === "RestartRequired")?.status;
    const isUnusable = hasUnusableDefinition(api);
    if (isUnusable && running !== undefined && required !== "Unknown")
      this.#fail(invariant, `RestartRequired ${required} with a definition that cannot be used`);
    if (running === undefined || isUnusable) {
      const told = status.pendingChanges ?? [];
      if (told.length > 0) this.#fail(invariant, `${told.join(", ")} instead of nothing`);
      return;
    }
    const definition = api.definitionOf(stored);
    const blueprint = { definition: definition.kind === "Given" ? definition.xml : undefined, volumes: [] };
    const { changes = [] } = hypervisor.host.nextStart({ blueprint, preflight: false }, running.startedWith);
    const told = status.pendingChanges;
    if (told?.join(", ") !== changes.join(", "))
      this.#fail(invariant, `${told?.join(", ")} instead of ${changes.join(", ")}`);
    if (required !== (changes.length > 0 ? "True" : "False"))
      this.#fail(invariant, `RestartRequired ${required} with ${changes.length} changes`);
  }

  #toldDetached({ spec, status }: VirtualMachine, running: Boot | undefined): void {
    // Without marks, what a process has left out is forgotten with it.
    const isUnmarked =
      spec.restartPolicy.marks === "None" || this.#hasHappened("its process stops answering");
    if (isUnmarked && this.#hasHappened(...forgets, ...this.#lostLeases)) return;
    const told = status.detachedVolumes?.map(({ disk }) => disk).join(", ") ?? "";
    const without = running?.startedWith.without.join(", ") ?? "";
    if (told !== "" && told === without) this.#mayStayOut(spec, without);
    if (told !== without)
      this.#fail("the status tells without which disks the boot runs", `${told} instead of ${without}`);
  }

  /** Nobody but this resource has the domain, and libvirt has nothing against plugging the disk in. */
  #mayStayOut({ suspend }: VirtualMachine["spec"], without: string): void {
    const { hypervisor, api } = this.#world;
    if (
      suspend ||
      hasUnusableDefinition(api) ||
      api.rivals.length > 0 ||
      hypervisor.domain.state !== "Running"
    )
      return;
    if (hypervisor.host.unpluggable.size > 0 || this.#hasHappened(...refusedEffects)) return;
    this.#fail("a disk that can be had again is plugged in", `the boot runs without ${without}`);
  }

  #of(attempt: string): Preparations {
    const known = this.#preparations.get(attempt);
    if (known !== undefined) return known;
    const preparations: Preparations = {
      sinceMs: this.#nowMs,
      inPlace: false,
      refusedStarts: 0,
      refusedWithout: undefined,
      repairedAtMs: new Map(),
      hasCutPower: false,
      hasRolledBack: false,
    };
    this.#preparations.set(attempt, preparations);
    return preparations;
  }
}
