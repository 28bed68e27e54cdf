import { setImmediate as pollPhaseOver } from "node:timers/promises";
import type { Aftermath } from "../errors.ts";

/** libvirtd's defaults (min_workers, prio_workers), also those of its successors such as virtqemud. */
const WORKERS_AT_FIRST = 5;
const PRIORITY_WORKERS = 5;

/** Most calls are answered sooner; and those that are not have reached the daemon by then, and a worker. */
const SETTLED_AFTER_MS = 50;

/** A call that the daemon has. `hasPriority`: as Procedure says. */
export interface Job {
  readonly hasPriority: boolean;
}

/** Calls of one connection that wait for a worker. */
export interface Waiter {
  /** Tries to take one again. */
  retry(): void;
  /** Sends a question that needs an ordinary worker and cannot hang; resolves to what became of it. */
  ask(): Promise<Aftermath>;
}

/**
 * The workers of one daemon, for the calls of all connections that share this: each is sent when a worker is known to be
 * there for it.
 *
 * libvirtd begins with five ordinary workers for all its clients, and has five more that take nothing but calls with
 * priority. It takes on a further ordinary one, up to twenty, when a call comes and exactly as many are free as calls
 * wait (virThreadPoolSendJob, 9.0.0). Where more wait, as two do that come faster than a thread begins, it takes on none
 * until enough calls have ended. So seven ordinary calls at once that hang leave it without a worker for anybody, virsh
 * included, for as long as they hang.
 *
 * So no more calls than known workers are under way at once, and where that makes one wait, a question more: its answer
 * proves a further worker. It is sent when nothing else is on its way, and until it must have come nothing else is sent:
 * together with another call it could be the one that is left without. A call with priority may sit on an ordinary
 * worker, and on one of its own.
 */
export class Workers {
  /** So many ordinary ones the daemon has at least, if no other client's calls hang. */
  #known = WORKERS_AT_FIRST;
  readonly #taken = new Set<Job>();
  /** The last answer's proof, which counts as long as these calls with priority take the workers that they had. */
  #proof: { ordinary: number; beside: readonly Job[] } = { ordinary: 0, beside: [] };
  readonly #waiting = new Set<Waiter>();
  #askSoon: NodeJS.Timeout | undefined;
  #question: "OnItsWay" | "Unanswered" | undefined;

  /** Takes a worker for a call that is sent now, and leaves it when it is answered; false where there is none to take. */
  take(job: Job): boolean {
    if (this.#question === "OnItsWay") return false;
    const isFree = this.#hasFree() || (job.hasPriority && this.#priorityJobs < PRIORITY_WORKERS);
    if (isFree) this.#taken.add(job);
    return isFree;
  }

  /** Lets the waiter try again when that may help, after those that wait already. */
  wait(waiter: Waiter): void {
    this.#waiting.add(waiter);
    this.#prepareToAsk();
  }

  /** The waiter waits no more, or no longer than the others. */
  forget(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }

  /** What became of a call that was taken a worker for: one whose connection is lost may hang on. */
  leave(job: Job, fate: Aftermath): void {
    this.#taken.delete(job);
    if (fate === "Lost") {
      this.#known = Math.max(0, this.#known - 1);
      this.#proof = { ordinary: 0, beside: [] };
    }
    this.#wake();
  }

  /** Counts a call that was sent without asking. */
  async occupy(job: Job, aftermath: Promise<Aftermath>): Promise<void> {
    this.#taken.add(job);
    this.leave(job, await aftermath);
  }

  get #priorityJobs(): number {
    return [...this.#taken].filter(({ hasPriority }) => hasPriority).length;
  }

  #hasFree(): boolean {
    const { ordinary, beside } = this.#proof;
    return this.#taken.size < Math.max(this.#known, ordinary + this.#stillTaken(beside).length);
  }

  #stillTaken(jobs: readonly Job[]): Job[] {
    return jobs.filter((job) => this.#taken.has(job));
  }

  #prepareToAsk(): void {
    if (this.#question !== undefined || this.#askSoon !== undefined) return;
    const taken = [...this.#taken];
    this.#askSoon = setTimeout(() => {
      this.#askSoon = undefined;
      const [waiter] = this.#waiting;
      if (waiter === undefined) return;
      if (this.#stillTaken(taken).length < this.#taken.size) this.#prepareToAsk();
      else void this.#ask(waiter);
    }, SETTLED_AFTER_MS).unref();
  }

  async #ask(waiter: Waiter): Promise<void> {
    const before = [...this.#taken];
    this.#question = "OnItsWay";
    const hasCome = setTimeout(() => {
      this.#question = "Unanswered";
      this.#wake();
    }, SETTLED_AFTER_MS).unref();
    const fate = await waiter.ask();
    // A call that made way for the question may have been answered on another connection, which is read next.
    await pollPhaseOver();
    clearTimeout(hasCome);
    this.#question = undefined;
    if (fate === "Answered") {
      const still = this.#stillTaken(before);
      const beside = still.filter(({ hasPriority }) => hasPriority);
      const ordinary = still.length - beside.length + 1;
      this.#proof = { ordinary, beside };
      this.#known = Math.max(this.#known, ordinary);
    }
    this.#wake();
  }

  #wake(): void {
    for (const waiter of this.#waiting) waiter.retry();
  }
}
