import { systemClock, type Clock } from "./kubernetes/clock.ts";

/**
 * Runs something once for all that asks for it within a time, at the end of that time. What asks later is served by a
 * further run: no ask is lost, and however many come, two runs are never closer together.
 */
export class Coalescer {
  readonly #run: () => void;
  readonly #withinMs: number;
  readonly #clock: Clock;
  #cancel: (() => void) | undefined;

  /** `run` must not throw. */
  constructor(run: () => void, withinMs: number, clock: Clock = systemClock) {
    this.#run = run;
    this.#withinMs = withinMs;
    this.#clock = clock;
  }

  /** Asks for a run. */
  ask(): void {
    this.#cancel ??= this.#clock.after(this.#withinMs, () => {
      // What asks during the run may have seen what it has not.
      this.#cancel = undefined;
      this.#run();
    });
  }

  /** Forgets what was asked for. */
  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
