import { parseTimestamp } from "../../crds/timestamp.ts";
import { annotations, type VirtualMachine } from "../../crds/virtual-machine.ts";
import type { Attempt } from "../../controller/attempt.ts";
import type { Decision } from "../../controller/decision.ts";
import { repairKey } from "../../controller/finding.ts";
import type { Effect, Performance } from "../../controller/ports.ts";
import type { World } from "./world.ts";

/** What the restraints of one attempt are measured by. */
interface Signals {
  firstAtMs: number;
  count: number;
}

/**
 * What the controller must leave alone, as the resource that it has seen says: when nothing is begun, when a guest is
 * not asked, and when its power is not cut. Every decision to act is held against it.
 */
export class Restraint {
  readonly #world: World;
  readonly #hasHappened: (...names: string[]) => boolean;
  readonly #lostLeases: ReadonlySet<string>;
  readonly #isUndisturbed: () => boolean;
  readonly #fail: (invariant: string, how: string) => void;
  readonly #signals = new Map<string, Signals>();
  /** What was refused last, by attempt and effect, and when. */
  readonly #refusedAtMs = new Map<string, number>();
  /** When the last restart that touched the domain ended, on the monotonic clock. */
  #lastEndMs = Number.NEGATIVE_INFINITY;

  constructor(
    world: World,
    lostLeases: ReadonlySet<string>,
    hasHappened: (...names: string[]) => boolean,
    isUndisturbed: () => boolean,
    fail: (invariant: string, how: string) => void,
  ) {
    this.#world = world;
    this.#lostLeases = lostLeases;
    this.#isUndisturbed = isUndisturbed;
    this.#hasHappened = hasHappened;
    this.#fail = fail;
  }

  /** A decision, with the resource as the process that decides has it. */
  decided({ verdict, attempt }: Decision, seen: VirtualMachine | undefined): void {
    if (verdict.kind === "End" && verdict.method !== undefined) this.#lastEndMs = this.#nowMs;
    // A guest that is paused is asked anew, and has its time anew.
    // Once it is forced, or its host lacks something, it is not asked any more.
    const isAskedAnew =
      verdict.kind === "Blocked" && verdict.findings === undefined && attempt?.mode !== "Hard";
    if (isAskedAnew && attempt?.marked === true) this.#signals.delete(attempt.id);
    if (verdict.kind !== "Act" || attempt === undefined) return;
    this.#rests(attempt, verdict.effect);
    if (this.#world.isEnding && !["Start", "RollBack", "Release", "Settle"].includes(verdict.effect.kind))
      this.#fail("a process that is to end begins nothing", verdict.effect.kind);
    // A look that takes long is older than what is decided from it.
    if (this.#hasHappened("libvirt becomes slow")) return;
    if (verdict.effect.kind === "Shutdown" || verdict.effect.kind === "Reboot") this.#asks(attempt);
    if (seen === undefined) return;
    switch (verdict.effect.kind) {
      case "Mark":
        this.#begins(attempt, seen);
        return;
      case "Destroy":
      case "Reset":
        this.#cutsPower(attempt, seen);
        return;
      default:
    }
  }

  /** An effect with its outcome. */
  performed({ attempt, effect, outcome, ended }: Performance): void {
    if (attempt === undefined) return;
    const name = nameOf(attempt, effect);
    if (outcome.kind === "Refused") this.#refusedAtMs.set(name, ended.monotonicMs);
    else this.#refusedAtMs.delete(name);
    // What is marked anew, mended, defined or woken up is asked for something else than before.
    const isDone =
      outcome.kind === "Done" && ["Mark", "Repair", "Define", "Wake", "Resume"].includes(effect.kind);
    if (isDone || effect.kind === "RollBack") this.#refusedAtMs.clear();
  }

  /** Something has gone missing or has come back: a start that was refused may be tried again. */
  hostChanged(): void {
    this.#refusedAtMs.clear();
  }

  #rests({ id }: Attempt, effect: Effect): void {
    const { kind } = effect;
    const refusedAtMs = this.#refusedAtMs.get(nameOf(id, effect)) ?? Number.NEGATIVE_INFINITY;
    if (this.#nowMs < refusedAtMs + 100 && !this.#mayNotKnowTheLast)
      this.#fail(
        "what was refused is not tried again at once",
        `${kind} after ${this.#nowMs - refusedAtMs} ms`,
      );
  }

  get #nowMs(): number {
    return this.#world.timeline.now().monotonicMs;
  }

  get #isPaused(): boolean {
    return this.#world.hypervisor.domain.state === "Paused";
  }

  get #isDeaf(): boolean {
    return ["Paused", "PMSuspended", "Crashed"].includes(this.#world.hypervisor.domain.state);
  }

  #begins({ request, mode, touched }: Attempt, { metadata, spec, status }: VirtualMachine): void {
    // What was begun goes on, also where its marks have to be written once more.
    if (touched) return;
    const { restartPolicy, suspend } = spec;
    if (suspend) this.#fail("nothing is begun while restarts are suspended", "a domain was marked");
    const { hypervisor, api } = this.#world;
    const { reason } = hypervisor.domain;
    if (reason === "Migrated" || (reason === "Saved" && restartPolicy.whenSaved === "Block"))
      this.#fail("nothing is begun with a domain that lives on elsewhere", "it was marked");
    if (hypervisor.running !== undefined && !hypervisor.persistent)
      this.#fail("nothing is begun with a domain that is gone once it is off", "it was marked");
    const { rivals } = api;
    if (rivals.some((rival) => rival.metadata.creationTimestamp < metadata.creationTimestamp))
      this.#fail("nothing is begun with a domain that an older resource names", "it was marked");
    const mayResume = restartPolicy.whenPaused === "Force" || reason === "IOError";
    const mayForce = mode === "Hard" || (mode === "Auto" && mayResume);
    const mayBreakOff = mode === "Hard" && restartPolicy.whenBusy === "Force";
    const { job } = hypervisor;
    if (job?.kind === "Migration" || (job !== undefined && !mayBreakOff))
      this.#fail(
        "nothing is begun while libvirt is busy with the domain",
        `it was marked during ${job.what}`,
      );
    if (this.#isPaused && !mayForce)
      this.#fail("nothing is begun with a guest that hears nothing", "a paused domain was marked");
    const { annotations: values } = metadata;
    const names = new Set([request.restartToken, request.restartGeneration].map(String));
    // A generation that was lowered since is another one than that which the attempt began with.
    const isLowered = spec.restartGeneration !== request.restartGeneration;
    const canceled = values[annotations.cancel] ?? "";
    if (canceled === request.restartToken || (!isLowered && names.has(canceled)))
      this.#fail("a request that is taken back in time is not begun", `${canceled} was`);
    const mayHurry = names.has(values[annotations.skipInterval] ?? "");
    const isTooSoon = this.#nowMs < this.#lastEndMs + restartPolicy.minIntervalSeconds * 1000;
    if (isTooSoon && !mayHurry && !this.#mayNotKnowTheLast)
      this.#fail("restarts keep their least interval", "one was begun too soon");
    const { restartToken = "" } = request;
    if (/\p{C}/u.test(restartToken))
      this.#fail("what cannot be kept in the domain's XML is no request", JSON.stringify(restartToken));
    const [time, servedTime] = [restartToken, status.observedRestartToken ?? ""].map(parseTimestamp);
    // The process itself may know better than its copy of the resource.
    const isStale = this.#hasHappened("the API server becomes slow", "status writes are lost");
    if (!isStale && time !== undefined && servedTime !== undefined && time < servedTime)
      this.#fail("a time before the last one served restarts nothing", restartToken);
  }

  get #mayNotKnowTheLast(): boolean {
    return this.#hasHappened(
      ...this.#lostLeases,
      "the controller is killed",
      "the controller dies at an effect",
      "the controller is told to end",
      "the wall clock is set",
      "an older backup of the API server is restored",
      "the resource is deleted",
    );
  }

  #asks({ id }: Attempt): void {
    if (this.#isDeaf) this.#fail("a guest that hears nothing is not asked", "it was");
    const signals = this.#signals.get(id);
    if (signals === undefined) this.#signals.set(id, { firstAtMs: this.#nowMs, count: 1 });
    else signals.count += 1;
  }

  #cutsPower({ id }: Attempt, { spec }: VirtualMachine): void {
    const { mode, soft, whenPaused } = spec.restartPolicy;
    if (mode === "Hard" || this.#hasHappened("a hard restart is requested")) return;
    if (mode === "Soft") this.#fail("mode Soft cuts no power", "it did");
    const wasPaused = this.#hasHappened("an operator pauses it", "an operator pauses it for a while");
    if (whenPaused === "Force" && wasPaused) return;
    const mayBeRefused = [
      "libvirt refuses an effect",
      "libvirt refuses an effect again and again",
      "an effect cannot be sent",
    ];
    const cannotHear = ["the guest panics", "the guest goes to sleep", "its process stops answering"];
    if (this.#hasHappened(...mayBeRefused, ...cannotHear, "an effect's answer is lost")) return;
    // An agent alone may never be there to be asked.
    if (!soft.signals.includes("ACPI")) return;
    const signals = this.#signals.get(id);
    const invariant = "a guest has its whole time to shut down before its power is cut";
    if (signals === undefined) {
      this.#fail(invariant, "it was never asked");
      return;
    }
    const hadMs = this.#nowMs - signals.firstAtMs;
    if (hadMs < soft.timeoutSeconds * 1000) this.#fail(invariant, `it had ${hadMs} ms`);
    // Whatever disturbs the wait may cost it a signal.
    const wanted = this.#isUndisturbed() ? Math.ceil(soft.timeoutSeconds / soft.resendSeconds) : 1;
    if (signals.count < wanted)
      this.#fail(
        "a guest that does not answer is asked again",
        `${signals.count} times instead of ${wanted}`,
      );
  }
}

/** An effect of an attempt: what the agent was not asked may be asked of the power button at once, for example. */
function nameOf(attempt: string, effect: Effect): string {
  return `${attempt} ${effect.kind} ${objectOf(effect)}`;
}

function objectOf(effect: Effect): string {
  switch (effect.kind) {
    case "Mark":
      return effect.mark.inPlace === true ? "in place" : "";
    case "Repair":
      return repairKey(effect.repair);
    case "Start":
      return effect.without?.join(" ") ?? "";
    case "Shutdown":
    case "Reboot":
      return effect.signal;
    default:
      return "";
  }
}
