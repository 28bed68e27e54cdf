import type { Decision } from "../../controller/decision.ts";
import type { Effect } from "../../controller/ports.ts";
import type { Boot } from "./domain.ts";
import type { World } from "./world.ts";

/** A sentence that must be true, and how a history made it false. */
export interface Violation {
  invariant: string;
  how: string;
}

/** What one attempt did, as the outside world saw it. */
interface Deeds {
  ended: Set<Boot>;
  requests: Set<string>;
  /** The boot that ran when the attempt marked it; undefined where the domain was off. */
  marked: Boot | undefined;
  bootsAtMark: number;
}

/** Keeps account of what the controller does, and holds the invariants against it. */
export class Ledger {
  violation: Violation | undefined;
  onEffect: (text: string) => void = () => {};
  readonly #world: World;
  readonly #deeds = new Map<string, Deeds>();
  #writesAtRest = 0;
  #effectsAtRest = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** From here on the invariants hold. */
  begin(): void {
    this.#world.hypervisor.beforePerform = (effect) => this.#before(effect);
    this.#world.hypervisor.onEnd = (boot) => this.#ended(boot);
  }

  fail(invariant: string, how: string): void {
    this.violation ??= { invariant, how };
  }

  /** A decision; its results are checked against what really happened. */
  decided({ verdict, attempt }: Decision): void {
    if (attempt !== undefined) this.#of(attempt.id).requests.add(requestOf(attempt.request));
    if (verdict.kind !== "End" || attempt === undefined || verdict.result !== "Succeeded") return;
    if (verdict.evidence.length === 0)
      this.fail("success has evidence", "a success was recorded without any");
    const deeds = this.#deeds.get(attempt.id);
    if (attempt.toldResult !== undefined || deeds === undefined || deeds.bootsAtMark < 0) return;
    const { boots } = this.#world.hypervisor;
    if (deeds.marked !== undefined && deeds.marked.end === undefined) {
      this.fail("success means that the old boot ended", "the marked boot still runs");
    }
    if (boots.length <= deeds.bootsAtMark)
      this.fail("success means that a new boot began", "no boot began since");
  }

  /** All has come to rest: what is owed has been done. */
  atRest(): void {
    const { hypervisor, api, status } = this.#restState();
    const last = hypervisor.boots.at(-1);
    const stoppedByUs =
      last?.end !== undefined && last.endedBy !== undefined && this.#deeds.has(last.endedBy);
    if (stoppedByUs && hypervisor.exists && api.stored !== undefined && !isHeld(hypervisor.domain.reason)) {
      const told = status?.lastRestart?.result === "Failed" || status?.lastRestart?.result === "Unverified";
      // A resource that was created anew has no memory of a failure that was told to the deleted one.
      const toldBefore = hypervisor.nextMark?.result !== undefined;
      const waits = status?.attempt !== undefined;
      if (!told && !toldBefore && !waits)
        this.fail(
          "what our action stopped is started, or its failure is told",
          `it is off, and the status says ${status?.lastRestart?.result}`,
        );
    }
    if (status?.attempt === undefined && api.stored !== undefined && status !== undefined) {
      const wanted = api.stored.spec.restartGeneration ?? 0;
      if (status.observedRestartGeneration !== wanted) {
        this.fail(
          "every request ends in a recorded result",
          `generation ${wanted} is requested, ${status.observedRestartGeneration} observed`,
        );
      }
    }
    this.#onceEach();
    this.#writesAtRest = api.writes.length;
    this.#effectsAtRest = hypervisor.effects.length;
  }

  /** Another look finds nothing to do and nothing to write. */
  stays(): void {
    const { api, hypervisor } = this.#world;
    if (api.writes.length !== this.#writesAtRest)
      this.fail("the status converges and stays", "a look at rest wrote a status");
    if (hypervisor.effects.length !== this.#effectsAtRest)
      this.fail("what is at rest stays at rest", "a look at rest did something");
  }

  #restState() {
    const { hypervisor, api } = this.#world;
    return { hypervisor, api, status: api.stored?.status };
  }

  /** Two attempts must not have ended a boot each for one and the same request. */
  #onceEach(): void {
    const byRequest = new Map<string, number>();
    for (const { requests, ended } of this.#deeds.values()) {
      if (ended.size === 0) continue;
      const first = [...requests][0];
      if (first === undefined) continue;
      byRequest.set(first, (byRequest.get(first) ?? 0) + ended.size);
    }
    for (const [request, count] of byRequest) {
      if (count > 1)
        this.fail(
          "our signals and destroys end at most one boot for a request",
          `request ${request} ended ${count} boots`,
        );
    }
  }

  #before(effect: Effect): void {
    const { hypervisor } = this.#world;
    const { actor, running } = hypervisor;
    this.onEffect(
      `${actor}: ${effect.kind} of ${running === undefined ? "a domain that is off" : `boot ${hypervisor.boots.length}`}`,
    );
    switch (effect.kind) {
      case "Mark":
        this.#marks(effect.mark.attempt, running);
        return;
      case "Shutdown":
        if (running !== undefined) this.#mustCarryMarks(actor, running, "no signal without every mark");
        return;
      case "Destroy":
        if (running !== undefined) this.#mustCarryMarks(actor, running, "only a marked boot is destroyed");
        return;
      case "Start":
        if (this.#sawTheLatest && isHeld(hypervisor.domain.reason)) {
          this.fail("what is saved or migrated away is not started", hypervisor.domain.reason);
        }
        return;
      case "Settle":
      case "Release":
        return;
      default:
        effect satisfies never;
    }
  }

  #mustCarryMarks(attempt: string, running: Boot, invariant: string): void {
    if (!this.#sawTheLatest) return;
    if (!running.bootMarks.has(attempt)) this.fail(invariant, "the boot does not carry the mark");
    const { nextMark } = this.#world.hypervisor;
    if (nextMark?.attempt !== attempt) this.fail(invariant, "the configuration does not carry the mark");
  }

  /** Between a look and an effect lies one round trip, in which others may act: nothing can close that gap. */
  get #sawTheLatest(): boolean {
    const { lookMs, performMs } = this.#world.delays;
    return lookMs === 0 && performMs === 0;
  }

  #marks(attempt: string, running: Boot | undefined): void {
    const deeds = this.#of(attempt);
    deeds.marked = running;
    deeds.bootsAtMark = this.#world.hypervisor.boots.length;
  }

  #ended(boot: Boot): void {
    this.onEffect(`boot ${this.#world.hypervisor.boots.length} ends: ${boot.end} by ${boot.endedBy}`);
    if (boot.endedBy !== undefined) this.#deeds.get(boot.endedBy)?.ended.add(boot);
  }

  #of(attempt: string): Deeds {
    const known = this.#deeds.get(attempt);
    if (known !== undefined) return known;
    const deeds: Deeds = { ended: new Set(), requests: new Set(), marked: undefined, bootsAtMark: -1 };
    this.#deeds.set(attempt, deeds);
    return deeds;
  }
}

function requestOf({
  restartGeneration,
  restartToken,
}: {
  restartGeneration?: number | undefined;
  restartToken?: string | undefined;
}): string {
  return `generation ${restartGeneration ?? "-"}, token ${restartToken ?? "-"}`;
}

function isHeld(reason: string): boolean {
  return reason === "Saved" || reason === "Migrated";
}
