import { setImmediate as pollPhaseOver } from "node:timers/promises";
import type { Aftermath } from "../errors.ts";

/** libvirtd's defaults (min_workers, prio_workers), also those of its successors such as virtqemud. */
const WORKERS_AT_FIRST = 5;
const PRIORITY_WORKERS = 5;

/** Most calls are answered sooner, and those that are not have reached the daemon by then. */
const ASK_AFTER_MS = 10;
/** They have reached a worker by then where one is free, also on a busy host. */
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
 * proves a further worker. A call with priority may sit on an ordinary worker or on one of its own. It goes without a known
 * worker while it must have one of its own, but never together with the question: the daemon may take on a worker for
 * the one, and leave the other without.
 */
export class Workers {
  /** So many ordinary ones the daemon has at least, if no other client's calls hang. */
  #known = WORKERS_AT_FIRST;
  readonly #taken = new Set<Job>();
  /** The last answer's proof, which counts as long as these calls with priority take the workers that they had. */
  #proof: { ordinary: number; beside: readonly Job[] } = { ordinary: 0, beside: [] };
  readonly #waiting = new Set<Waiter>();
  #askSoon: NodeJS.Timeout | undefined;
  /** Calls that went without a known worker, and may not have come to one. */
  readonly #unsettled = new Set<Job>();
  #question: "OnItsWay" | "Unanswered" | undefined;

  /** Takes a worker for a call that is sent now, and leaves it when it is answered; false where there is none to take. */
  take(job: Job): boolean {
    const hasFree = this.#hasFree();
    if (!hasFree && !this.#mayGoWithout(job)) return false;
    this.#taken.add(job);
    if (!hasFree) this.#settle(job);
    return true;
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
    this.#unsettled.delete(job);
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

  #mayGoWithout({ hasPriority }: Job): boolean {
    const others = [...this.#taken].filter((job) => job.hasPriority);
    return hasPriority && others.length < PRIORITY_WORKERS && this.#question !== "OnItsWay";
  }

  #settle(job: Job): void {
    this.#unsettled.add(job);
    setTimeout(() => this.#unsettled.delete(job), SETTLED_AFTER_MS).unref();
  }

  #prepareToAsk(): void {
    if (this.#question !== undefined || this.#askSoon !== undefined) return;
    const taken = [...this.#taken];
    this.#askSoon = setTimeout(() => {
      this.#askSoon = undefined;
      const [waiter] = this.#waiting;
      if (waiter === undefined) return;
      if (this.#unsettled.size > 0) this.#prepareToAsk();
      else void this.#ask(waiter, taken);
    }, ASK_AFTER_MS).unref();
  }

  /** Only what was sent long before counts for the proof: the rest may come after the question. */
  async #ask(waiter: Waiter, before: readonly Job[]): Promise<void> {
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
      if (still.length + 1 >= this.#proven()) this.#proof = { ordinary, beside };
      this.#known = Math.max(this.#known, ordinary);
    }
    this.#wake();
  }

  #wake(): void {
    for (const waiter of this.#waiting) waiter.retry();
  }
}
