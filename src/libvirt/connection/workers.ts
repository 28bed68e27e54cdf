import { setImmediate as pollPhaseOver } from "node:timers/promises";
import type { Aftermath } from "../errors.ts";

/** libvirtd's defaults (min_workers, prio_workers), also those of its successors such as virtqemud. */
const WORKERS_AT_FIRST = 5;
const PRIORITY_WORKERS = 5;

/** Most calls are answered sooner, and those that are not have reached the daemon by then. */
const ASK_AFTER_MS = 10;
/** A call has reached a worker by then where one is free, also on a busy host. */
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
 * wait (virThreadPoolSendJob, 9.0.0). So one call more than there are workers always gets one, and of two that come
 * faster than a thread begins the second may not; nor does any call from then on, of whatever client, until enough calls
 * have ended. Seven ordinary calls at once that hang leave nobody a worker, virsh included, for as long as they hang.
 *
 * So no more calls than known workers are under way at once, and one more at a time: a question, whose answer proves a
 * further worker, or a call with priority, which may come to an ordinary worker or to one of its own.
 */
export class Workers {
  /** So many ordinary ones the daemon has at least, if no other client's calls hang. */
  #known = WORKERS_AT_FIRST;
  readonly #taken = new Set<Job>();
  /** By the last answer: so many ordinary ones, and one for each of these calls with priority that is still under way. */
  #proof: { ordinary: number; beside: readonly Job[] } = { ordinary: 0, beside: [] };
  readonly #waiting = new Set<Waiter>();
  /** The one call without a known worker that may not have come to any yet. */
  #oneMore: object | undefined;
  #askSoon: NodeJS.Timeout | undefined;
  /** What was under way long before a question that may be the next one more. */
  #due: readonly Job[] | undefined;
  #isAsking = false;

  /** Takes a worker for a call that is sent now, and leaves it when it is answered; false where there is none to take. */
  take(job: Job): boolean {
    if (!this.#hasFree()) {
      if (!this.#mayBeOneMore(job)) return false;
      this.#sendOneMore(job);
    }
    this.#taken.add(job);
    return true;
  }

  /** Lets the waiter try again when that may help, after those that wait already. */
  wait(waiter: Waiter): void {
    this.#waiting.add(waiter);
    if (this.#isAsking || this.#due !== undefined || this.#askSoon !== undefined) return;
    const taken = [...this.#taken];
    this.#askSoon = setTimeout(() => {
      this.#askSoon = undefined;
      this.#due = taken;
      this.#askIfDue();
    }, ASK_AFTER_MS).unref();
  }

  /** The waiter does not wait, or its turn is over: waiting again puts it behind the others. */
  forget(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }

  /** A call that took a worker is over, or its connection, and then it may hang on. */
  leave(job: Job, fate: Aftermath): void {
    this.#taken.delete(job);
    if (fate === "Lost") {
      this.#known = Math.max(0, this.#known - 1);
      this.#proof = { ordinary: 0, beside: [] };
    }
    if (this.#oneMore === job) this.#oneMore = undefined;
    this.#wake();
  }

  /** Counts a call that was sent without taking a worker. */
  async occupy(job: Job, aftermath: Promise<Aftermath>): Promise<void> {
    this.#taken.add(job);
    this.leave(job, await aftermath);
  }

  #hasFree(): boolean {
    return this.#taken.size < Math.max(this.#known, this.#proven());
  }

  #proven(): number {
    const { ordinary, beside } = this.#proof;
    return ordinary + this.#stillTaken(beside).length;
  }

  #stillTaken(jobs: readonly Job[]): Job[] {
    return jobs.filter((job) => this.#taken.has(job));
  }

  #mayBeOneMore({ hasPriority }: Job): boolean {
    if (!hasPriority || this.#oneMore !== undefined || this.#due !== undefined) return false;
    const withPriority = [...this.#taken].filter((job) => job.hasPriority);
    return withPriority.length < PRIORITY_WORKERS;
  }

  #sendOneMore(one: object): void {
    this.#oneMore = one;
    setTimeout(() => {
      if (this.#oneMore !== one) return;
      this.#oneMore = undefined;
      this.#wake();
    }, SETTLED_AFTER_MS).unref();
  }

  #askIfDue(): void {
    if (this.#due === undefined || this.#oneMore !== undefined) return;
    const before = this.#due;
    this.#due = undefined;
    const [waiter] = this.#waiting;
    if (waiter !== undefined) void this.#ask(waiter, before);
  }

  /** Of what is under way then, only what was so long before counts for the proof: the rest may come after the question. */
  async #ask(waiter: Waiter, before: readonly Job[]): Promise<void> {
    this.#isAsking = true;
    const question = {};
    this.#sendOneMore(question);
    const fate = await waiter.ask();
    // A call that made way for the question may have been answered on another connection, which is read next.
    await pollPhaseOver();
    this.#isAsking = false;
    if (this.#oneMore === question) this.#oneMore = undefined;
    if (fate === "Answered") this.#learnFrom(this.#stillTaken(before));
    this.#wake();
  }

  #learnFrom(underWay: readonly Job[]): void {
    const beside = underWay.filter(({ hasPriority }) => hasPriority);
    const ordinary = underWay.length - beside.length + 1;
    if (ordinary + beside.length >= this.#proven()) this.#proof = { ordinary, beside };
    this.#known = Math.max(this.#known, ordinary);
  }

  #wake(): void {
    for (const waiter of this.#waiting) waiter.retry();
    this.#askIfDue();
  }
}
