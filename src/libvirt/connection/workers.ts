import { setImmediate as pollPhaseOver } from "node:timers/promises";
import type { Aftermath } from "../errors.ts";

/** libvirtd's default (min_workers), also of its successors such as virtqemud. */
const WORKERS_AT_FIRST = 5;

/** Most calls are answered sooner. Whatever was sent before has reached the daemon by then. */
const ASK_AFTER_MS = 10;

/** Calls of one connection that wait for a worker. */
export interface Waiter {
  /** Tries to take one again. */
  retry(): void;
  /** Sends a question that needs a worker and cannot hang; resolves to what became of it, at once where nobody waits any more. */
  ask(): Promise<Aftermath>;
}

/**
 * The workers of one daemon, for all connections to it: a call is sent when a worker is known to be there for it.
 *
 * libvirtd begins with five workers for all its clients. It takes on a further one, up to twenty, when a call comes and
 * exactly as many workers are free as calls wait for one (virThreadPoolSendJob, 9.0.0). Where more calls wait, as two do
 * that come faster than a thread begins, it takes on none until enough calls have ended. So seven calls at once that
 * hang leave it without a worker for anybody, virsh included, for as long as they hang.
 *
 * So no more calls than the known workers are under way at once, and where none of them ends, one question more: its
 * answer proves a further worker. It hangs for nothing, so that it never leaves another call without one.
 */
export class Workers {
  /** So many the daemon has at least, besides those that other clients take. */
  #known = WORKERS_AT_FIRST;
  #taken = 0;
  readonly #waiting = new Set<Waiter>();
  #askSoon: NodeJS.Timeout | undefined;
  /** The question under way, and how many workers its answer proves. */
  #question: { proves: number } | undefined;

  /** Takes a worker for a call that is sent now, and leaves it when it is answered. Where there is none to take, the waiter is told to try again. */
  take(waiter: Waiter): boolean {
    if (this.#taken < this.#known) {
      this.#taken += 1;
      return true;
    }
    this.#waiting.add(waiter);
    if (this.#question === undefined)
      this.#askSoon ??= setTimeout(() => void this.#ask(), ASK_AFTER_MS).unref();
    return false;
  }

  /** What became of a call that had a worker: one whose connection is lost may hang on. */
  leave(fate: Aftermath): void {
    this.#taken -= 1;
    if (fate === "Lost") this.#known -= 1;
    if (this.#question !== undefined) this.#question.proves -= 1;
    clearTimeout(this.#askSoon);
    this.#askSoon = undefined;
    this.#wake();
  }

  /** Counts a call that was sent without a worker taken for it. */
  async occupy(aftermath: Promise<Aftermath>): Promise<void> {
    this.#taken += 1;
    this.#known += 1;
    this.leave(await aftermath);
  }

  async #ask(): Promise<void> {
    this.#askSoon = undefined;
    const [waiter] = this.#waiting;
    if (waiter === undefined) return;
    const question = { proves: this.#taken + 1 };
    this.#question = question;
    const fate = await waiter.ask();
    // A call that has made way for the question may have been answered on another connection, which is read next.
    await pollPhaseOver();
    this.#question = undefined;
    if (fate === "Answered") this.#known = Math.max(this.#known, question.proves);
    this.#wake();
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const waiter of waiting) waiter.retry();
  }
}
