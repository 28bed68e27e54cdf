import { parseTimestamp } from "../../crds/timestamp.ts";
import { annotations, type VirtualMachine } from "../../crds/virtual-machine.ts";
import type { Attempt } from "../../controller/attempt.ts";
import type { Decision } from "../../controller/decision.ts";
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
  readonly #isUndisturbed: () => boolean;
  readonly #fail: (invariant: string, how: string) => void;
  readonly #signals = new Map<string, Signals>();
  /** When the last restart that touched the domain ended, on the monotonic clock. */
  #lastEndMs = Number.NEGATIVE_INFINITY;

  constructor(
    world: World,
    hasHappened: (...names: string[]) => boolean,
    isUndisturbed: () => boolean,
    fail: (invariant: string, how: string) => void,
  ) {
    this.#world = world;
    this.#isUndisturbed = isUndisturbed;
    this.#hasHappened = hasHappened;
    this.#fail = fail;
  }

  /** A decision, with the resource as the process that decides has it. */
  decided({ verdict, attempt }: Decision, seen: VirtualMachine | undefined): void {
    if (verdict.kind === "End" && verdict.method !== undefined) this.#lastEndMs = this.#nowMs;
    // A look that takes long is older than what is decided from it.
    if (verdict.kind !== "Act" || attempt === undefined || seen === undefined) return;
    if (this.#hasHappened("libvirt becomes slow")) return;
    switch (verdict.effect.kind) {
      case "Mark":
        this.#begins(attempt, seen);
        return;
      case "Shutdown":
        this.#asks(attempt);
        return;
      case "Destroy":
        this.#cutsPower(attempt, seen);
        return;
      default:
    }
  }

  get #nowMs(): number {
    return this.#world.timeline.now().monotonicMs;
  }

  get #isPaused(): boolean {
    return this.#world.hypervisor.domain.state === "Paused";
  }

  #begins({ request, mode, touched }: Attempt, { metadata, spec, status }: VirtualMachine): void {
    const { restartPolicy, suspend } = spec;
    if (suspend) this.#fail("nothing is begun while restarts are suspended", "a domain was marked");
    const { rivals } = this.#world.api;
    if (rivals.some((rival) => rival.metadata.creationTimestamp < metadata.creationTimestamp))
      this.#fail("nothing is begun with a domain that an older resource names", "it was marked");
    const mayForce = mode === "Hard" || (mode === "Auto" && restartPolicy.whenPaused === "Force");
    if (this.#isPaused && !mayForce)
      this.#fail("nothing is begun with a guest that hears nothing", "a paused domain was marked");
    const names = [request.restartToken, request.restartGeneration].map(String);
    const means = (name: string) => names.includes(metadata.annotations[name] ?? "-");
    if (!touched && means(annotations.cancel))
      this.#fail("a request that is taken back in time is not begun", `${names.join(", ")} was`);
    const isTooSoon = this.#nowMs < this.#lastEndMs + restartPolicy.minIntervalSeconds * 1000;
    if (isTooSoon && !touched && !means(annotations.skipInterval) && !this.#mayNotKnowTheLast)
      this.#fail("restarts keep their least interval", "one was begun too soon");
    const { restartToken = "" } = request;
    if (/\p{C}/u.test(restartToken))
      this.#fail("what cannot be kept in the domain's XML is no request", JSON.stringify(restartToken));
    const [time, servedTime] = [restartToken, status.observedRestartToken ?? ""].map(parseTimestamp);
    // The process itself may know better than its copy of the resource.
    const isStale = this.#hasHappened("the API server becomes slow", "status writes are lost");
    if (!touched && !isStale && time !== undefined && servedTime !== undefined && time < servedTime)
      this.#fail("a time before the last one served restarts nothing", restartToken);
  }

  get #mayNotKnowTheLast(): boolean {
    return this.#hasHappened(
      "the controller is killed",
      "the controller dies at an effect",
      "the controller is told to end",
      "the wall clock is set",
      "an older backup of the API server is restored",
      "the resource is deleted",
    );
  }

  #asks({ id }: Attempt): void {
    if (this.#isPaused)
      this.#fail("a guest that hears nothing is not asked", "a paused one was asked to shut down");
    const signals = this.#signals.get(id);
    if (signals === undefined) this.#signals.set(id, { firstAtMs: this.#nowMs, count: 1 });
    else signals.count += 1;
  }

  #cutsPower({ id }: Attempt, { spec }: VirtualMachine): void {
    const { mode, soft, whenPaused } = spec.restartPolicy;
    if (mode === "Hard" || this.#hasHappened("a hard restart is requested")) return;
    if (mode === "Soft") this.#fail("mode Soft cuts no power", "it did");
    if (whenPaused === "Force" && this.#hasHappened("an operator pauses it")) return;
    if (this.#hasHappened("libvirt refuses an effect", "an effect's answer is lost")) return;
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
