import type { CallOptions } from "../connection/calls.ts";
import { DEFAULT_TIMEOUT_MS } from "../connection/calls.ts";
import type { Connection } from "../connection/connection.ts";
import { CallHeldError, CallTimeoutError } from "../errors.ts";
import type { Aftermath } from "../errors.ts";
import type { Procedure } from "../protocol/procedure.ts";
import { ConnectionOnDemand } from "./connection-on-demand.ts";

/**
 * What a call about a domain may wait for: `Nothing` but the domain's lock, `Domain`: a job on it, `Power`: a process
 * that starts or ends, for seconds, and where it has much memory for minutes.
 */
export type DomainWait = "Nothing" | "Domain" | "Power";

/** How many connections the calls about domains share: with four calls on each, eight can be unanswered. */
const mostConnections = 2;

/** So many places are left when processes start and end everywhere: nothing else may wait for those. */
const keptFromPower = 2;

/** A daemon that answers none of its calls for so long is sent no further one, in milliseconds. */
const HELD_AFTER_MS = 5_000;
const CHECK_MS = 1_000;

interface Line {
  readonly connection: ConnectionOnDemand;
  taken: number;
}

/** What the daemon has of a call, until it has answered it. */
interface Place {
  readonly isPower: boolean;
  readonly takenAtMs: number;
}

/** A place on one of the lines. */
interface Seat extends Place {
  readonly line: Line;
}

interface Waiter {
  readonly isPower: boolean;
  readonly give: (seat: Seat) => void;
  readonly hold: () => void;
}

/**
 * The calls about domains to one daemon. Each has a place until it is answered, also when nobody waits for it any more;
 * there are eight in all. So what hangs takes no other place than its own, and while none is free, nothing more is sent:
 * a daemon has a few workers for all its clients, and each unanswered call takes one.
 */
export class DomainConnections {
  readonly #lines: readonly Line[];
  readonly #perLine: number;
  readonly #onHeld: (held: CallHeldError | undefined) => void;
  readonly #places = new Set<Place>();
  readonly #waiting = new Set<Waiter>();
  #check: NodeJS.Timeout | undefined;
  #held: CallHeldError | undefined;

  /** `onHeld` is told why nothing more is sent, and undefined when that is over. */
  constructor(
    open: (signal: AbortSignal) => Promise<Connection>,
    maxInFlight: number,
    onHeld: (held: CallHeldError | undefined) => void,
  ) {
    this.#lines = Array.from({ length: mostConnections }, () => ({
      connection: new ConnectionOnDemand(open),
      taken: 0,
    }));
    this.#perLine = maxInFlight;
    this.#onHeld = onHeld;
  }

  /**
   * Makes a call when there is a place for it. Rejects as Connection.call does, and with a CallHeldError where every
   * place that it could have belongs to a call that has been unanswered for long.
   */
  async call<A, R>(
    waitsFor: DomainWait,
    procedure: Procedure<A, R>,
    args: NoInfer<A>,
    { timeoutMs = DEFAULT_TIMEOUT_MS, ...options }: CallOptions = {},
  ): Promise<R> {
    const beganAtMs = performance.now();
    const isPower = waitsFor === "Power";
    const seat = this.#take(isPower) ?? (await this.#turn(isPower, procedure.name, timeoutMs));
    let aftermath: Promise<Aftermath> | undefined;
    try {
      const restMs = timeoutMs - Math.round(performance.now() - beganAtMs);
      // A process that stood still may be given the place before it notices that the time is over.
      if (restMs <= 0) throw new CallTimeoutError(procedure.name, timeoutMs, undefined);
      return await seat.line.connection.call(procedure, args, { ...options, timeoutMs: restMs });
    } catch (error) {
      if (error instanceof CallTimeoutError) aftermath = error.aftermath;
      throw error;
    } finally {
      if (aftermath === undefined) this.#leave(seat);
      else void aftermath.then(() => this.#leave(seat));
    }
  }

  /** Counts a call that is unanswered on another connection. */
  occupy(aftermath: Promise<Aftermath>): void {
    const place = this.#put({ isPower: false, takenAtMs: performance.now() });
    void aftermath.then(() => this.#release(place));
  }

  /** Resolves when a further call would have a place, however long that takes. */
  async free(): Promise<void> {
    if (this.#taken(false) === undefined) return;
    const { promise, resolve } = Promise.withResolvers<Seat>();
    this.#waiting.add({ isPower: false, give: resolve, hold: () => {} });
    this.#leave(await promise);
  }

  /** Ends the connections. Never rejects. */
  async close(): Promise<void> {
    clearTimeout(this.#check);
    await Promise.all(this.#lines.map(({ connection }) => connection.close()));
  }

  get #most(): number {
    return this.#perLine * mostConnections;
  }

  /** The places that a call of its kind could have and does not, as others have them; undefined where one is free. */
  #taken(isPower: boolean): readonly Place[] | undefined {
    if (this.#places.size >= this.#most) return [...this.#places];
    if (!isPower) return undefined;
    const power = [...this.#places].filter((place) => place.isPower);
    return power.length >= Math.max(1, this.#most - keptFromPower) ? power : undefined;
  }

  #take(isPower: boolean): Seat | undefined {
    if (this.#taken(isPower) !== undefined) return undefined;
    const line = this.#lines.find(({ taken }) => taken < this.#perLine);
    if (line === undefined) return undefined;
    line.taken += 1;
    return this.#put({ line, isPower, takenAtMs: performance.now() });
  }

  #put<P extends Place>(place: P): P {
    this.#places.add(place);
    if (this.#places.size >= this.#most) this.#checkSoon();
    return place;
  }

  async #turn(isPower: boolean, procedure: string, timeoutMs: number): Promise<Seat> {
    const held = this.#whyHeld(isPower);
    if (held !== undefined) throw held;
    const { promise, resolve, reject } = Promise.withResolvers<Seat>();
    const waiter: Waiter = {
      isPower,
      give: resolve,
      hold: () => {
        const why = this.#whyHeld(isPower);
        if (why !== undefined) reject(why);
      },
    };
    this.#waiting.add(waiter);
    this.#checkSoon();
    const timer = setTimeout(() => reject(new CallTimeoutError(procedure, timeoutMs, undefined)), timeoutMs);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(waiter);
    }
  }

  #leave(seat: Seat): void {
    seat.line.taken -= 1;
    this.#release(seat);
  }

  #release(place: Place): void {
    this.#places.delete(place);
    if (this.#held !== undefined && this.#places.size < this.#most) {
      this.#held = undefined;
      this.#onHeld(undefined);
    }
    for (const waiter of this.#waiting) {
      const next = this.#take(waiter.isPower);
      if (next === undefined) continue;
      this.#waiting.delete(waiter);
      waiter.give(next);
    }
  }

  #whyHeld(isPower: boolean): CallHeldError | undefined {
    const taken = this.#taken(isPower);
    if (taken === undefined) return undefined;
    const newestAtMs = Math.max(...taken.map(({ takenAtMs }) => takenAtMs));
    return performance.now() - newestAtMs < HELD_AFTER_MS ? undefined : new CallHeldError(taken.length);
  }

  #checkSoon(): void {
    this.#check ??= setTimeout(() => this.#checkHeld(), CHECK_MS).unref();
  }

  #checkHeld(): void {
    this.#check = undefined;
    const held = this.#places.size < this.#most ? undefined : this.#whyHeld(false);
    if (held !== undefined && this.#held === undefined) {
      this.#held = held;
      this.#onHeld(held);
    }
    for (const { hold } of this.#waiting) hold();
    if (this.#waiting.size > 0 || this.#places.size >= this.#most) this.#checkSoon();
  }
}
