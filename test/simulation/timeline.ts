import type { Instant } from "../../controller/ports.ts";

interface Plan {
  atMs: number;
  run: () => void;
}

/** Virtual time: nothing happens but what was planned, in the order of its time. */
export class Timeline {
  #monotonicMs = 1_000_000;
  #epochMs = Date.UTC(2026, 0, 1);
  #wasSet = false;
  /** In the order of their times; those of one time in the order in which they were planned. */
  readonly #plans: Plan[] = [];

  /** Whether somebody has set the wall clock. */
  get wasSet(): boolean {
    return this.#wasSet;
  }

  now(): Instant {
    return { epochMs: this.#epochMs, monotonicMs: this.#monotonicMs };
  }

  /** Plans something. */
  after(delayMs: number, run: () => void): void {
    this.at(this.#monotonicMs + delayMs, run);
  }

  /** Plans something for a moment on the monotonic clock. */
  at(atMs: number, run: () => void): void {
    let index = this.#plans.length;
    while (index > 0 && (this.#plans[index - 1]?.atMs ?? 0) > atMs) index -= 1;
    this.#plans.splice(index, 0, { atMs, run });
  }

  /** Somebody sets the wall clock, which tells whole milliseconds; the monotonic one does not care. */
  shiftWallClock(byMs: number): void {
    this.#wasSet = true;
    this.#epochMs += Math.round(byMs);
  }

  /**
   * Goes to the next planned moment and runs what was planned for it; where that is after `endMs`, or nothing
   * is planned, it only lets the time pass until then and answers false.
   */
  step(endMs: number): boolean {
    const plan = this.#plans[0];
    if (plan === undefined || plan.atMs > endMs) {
      if (Number.isFinite(endMs)) this.#passUntil(endMs);
      return false;
    }
    this.#plans.shift();
    this.#passUntil(plan.atMs);
    plan.run();
    return true;
  }

  #passUntil(monotonicMs: number): void {
    const passedMs = Math.max(0, monotonicMs - this.#monotonicMs);
    this.#monotonicMs += passedMs;
    this.#epochMs += passedMs;
  }
}
