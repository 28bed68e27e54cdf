import { exponentialDelay } from "./backoff.ts";
import { type Clock, systemClock } from "./clock.ts";
import { Delays } from "./delays.ts";
import { FairQueue } from "./fair-queue.ts";

/** What a queue is made with; every field has a default. */
export interface WorkQueueOptions<K> {
  /** The first delay of `addRateLimited`; each further one is twice as long. Default 5 ms. */
  baseDelayMs?: number;
  /** The longest delay of `addRateLimited`. Default 60 s. */
  maxDelayMs?: number;
  /** How many workers the keys of normal priority may have at once; the others are kept for the high. Default: all. */
  mostNormal?: number;
  /** Whose key it is, such as its namespace: of one priority, all have their turns alike. Default: all are one's. */
  flowOf?: (key: K) => string;
  /** A handler threw; its key comes again, rate limited. Must not throw. */
  onError?: (key: K, error: unknown) => void;
  /** For metrics. */
  observer?: QueueObserver<K>;
  clock?: Clock;
}

/**
 * Which of two keys that are ready is handed out first. `High` is for what has begun already and would otherwise wait
 * behind thousands of keys that are about to begin. So that these begin at all, one has its turn after each three.
 */
export type Priority = "High" | "Normal";

const mostHighInARow = 3;

/** Why a key must be worked on. */
interface Dirty {
  sinceMs: number;
  priority: Priority;
}

/** What a queue tells about its work; none of it may throw. The names are those of controller-runtime's workqueue metrics. */
export interface QueueObserver<K> {
  /** The key was queued. */
  added?(key: K): void;
  /** A handler begins with the key, which was ready for so long. */
  started?(key: K, waitedMs: number): void;
  /** The handler has ended. */
  finished?(key: K, workedMs: number): void;
  /** The key comes again after a failure. */
  retried?(key: K, delayMs: number): void;
}

/**
 * A queue of keys to work on, as client-go's workqueue. A key is queued once however often it is added;
 * added while it is worked on, it is worked on once more afterwards, and never by two workers at once.
 * Keys of one priority and flow are handed out in the order in which they became ready, and the flows by turns; a key
 * whose delay is over has the high priority, as somebody was promised that time.
 */
export class WorkQueue<K = string> {
  readonly #options: WorkQueueOptions<K>;
  readonly #clock: Clock;
  readonly #delays: Delays<K>;
  /** May hold keys that have been worked on since, by their other priority; they are skipped. */
  readonly #ready: Readonly<Record<Priority, FairQueue<K>>>;
  /** Must be worked on: queued, or to be queued when its worker is done. */
  readonly #dirty = new Map<K, Dirty>();
  readonly #working = new Map<K, Priority>();
  readonly #failures = new Map<K, number>();
  readonly #drained = Promise.withResolvers<void>();
  #handler: ((key: K) => Promise<void>) | undefined;
  #concurrency = 0;
  /** How many keys of high priority were handed out since one of the normal could have been. */
  #highInARow = 0;
  #starting = false;
  #stopped = false;

  constructor(options: WorkQueueOptions<K> = {}) {
    this.#options = options;
    const { flowOf = () => "" } = options;
    this.#ready = { High: new FairQueue(flowOf), Normal: new FairQueue(flowOf) };
    this.#clock = options.clock ?? systemClock;
    this.#delays = new Delays(this.#clock, (key) => this.add(key, "High"));
  }

  /** How many keys are ready for a worker. */
  get length(): number {
    const again = [...this.#working.keys()].filter((key) => this.#dirty.has(key));
    return this.#dirty.size - again.length;
  }

  /** How many keys wait for their time. */
  get delayed(): number {
    return this.#delays.size;
  }

  /** How many keys are being worked on. */
  get working(): number {
    return this.#working.size;
  }

  /** How often the key was added rate limited since it was last forgotten. */
  failures(key: K): number {
    return this.#failures.get(key) ?? 0;
  }

  /**
   * Queues the key now. A delay of it stays: it only says "no later than". A key that is queued already keeps the
   * higher one of its priorities.
   */
  add(key: K, priority: Priority = "Normal"): void {
    const known = this.#dirty.get(key);
    if (this.#stopped || known?.priority === priority || known?.priority === "High") return;
    this.#dirty.set(key, { sinceMs: known?.sinceMs ?? this.#clock.now(), priority });
    if (known === undefined) this.#options.observer?.added?.(key);
    if (this.#working.has(key)) return;
    this.#ready[priority].push(key);
    this.#startSoon();
  }

  /** Queues the key after `delayMs`. Of several delays of one key, the earliest counts, once. */
  addAfter(key: K, delayMs: number): void {
    if (delayMs <= 0) this.add(key, "High");
    else this.#delays.add(key, delayMs);
  }

  /** Queues the key after a delay that doubles each time, until {@link forget}. */
  addRateLimited(key: K): void {
    const failures = this.failures(key);
    this.#failures.set(key, failures + 1);
    const { baseDelayMs = 5, maxDelayMs = 60_000 } = this.#options;
    const delayMs = exponentialDelay(baseDelayMs, maxDelayMs, failures);
    this.#options.observer?.retried?.(key, delayMs);
    this.addAfter(key, delayMs);
  }

  /** The key did well: its next rate-limited delay is the first one again. */
  forget(key: K): void {
    this.#failures.delete(key);
  }

  /**
   * Works on keys, at most `concurrency` at once, until the signal aborts; then resolves once the handlers
   * that still run have ended. What is queued then is dropped. Once per queue.
   *
   * A handler says itself whether its key did well ({@link forget}) or comes again; one that throws has its
   * error reported and its key added rate limited.
   */
  async run(concurrency: number, handler: (key: K) => Promise<void>, signal: AbortSignal): Promise<void> {
    if (this.#handler !== undefined) throw new Error("this queue is running already");
    if (concurrency < 1) throw new RangeError("a queue needs at least one worker");
    this.#handler = handler;
    this.#concurrency = concurrency;
    this.#startSoon();
    if (!signal.aborted) {
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    }
    this.#stopped = true;
    this.#delays.stop();
    this.#ready.High.clear();
    this.#ready.Normal.clear();
    if (this.#working.size > 0) await this.#drained.promise;
  }

  /**
   * Handlers start from a fresh turn of the event loop: never inside of whoever adds a key, and however
   * short they are, a long queue of them lets sockets and timers have their turns.
   */
  #startSoon(): void {
    if (this.#starting || this.#handler === undefined || this.#dirty.size === 0) return;
    if (this.#working.size >= this.#concurrency) return;
    this.#starting = true;
    setImmediate(() => {
      this.#starting = false;
      this.#start();
    });
  }

  #start(): void {
    const handler = this.#handler;
    if (handler === undefined) return;
    while (!this.#stopped && this.#working.size < this.#concurrency) {
      const key = this.#next();
      if (key === undefined) return;
      void this.#work(key, handler);
    }
  }

  #next(): K | undefined {
    const key = this.#highInARow < mostHighInARow ? this.#nextHigh() : undefined;
    return key ?? this.#nextNormal() ?? this.#nextHigh();
  }

  #nextHigh(): K | undefined {
    const key = this.#nextOf(this.#ready.High);
    if (key !== undefined) this.#highInARow += 1;
    return key;
  }

  #nextNormal(): K | undefined {
    const { mostNormal } = this.#options;
    if (mostNormal !== undefined) {
      const normal = [...this.#working.values()].filter((priority) => priority === "Normal");
      if (normal.length >= mostNormal) return undefined;
    }
    this.#highInARow = 0;
    return this.#nextOf(this.#ready.Normal);
  }

  #nextOf(lane: FairQueue<K>): K | undefined {
    for (let key = lane.shift(); key !== undefined; key = lane.shift()) {
      if (this.#dirty.has(key) && !this.#working.has(key)) return key;
    }
    return undefined;
  }

  async #work(key: K, handler: (key: K) => Promise<void>): Promise<void> {
    const { observer, onError } = this.#options;
    const startedMs = this.#clock.now();
    const { sinceMs, priority } = this.#dirty.get(key) ?? { sinceMs: startedMs, priority: "Normal" };
    const waitedMs = startedMs - sinceMs;
    this.#working.set(key, priority);
    // From here on, adding the key means once more: the handler may have looked already.
    this.#dirty.delete(key);
    try {
      observer?.started?.(key, waitedMs);
      await handler(key);
    } catch (error) {
      this.addRateLimited(key);
      onError?.(key, error);
    } finally {
      this.#working.delete(key);
      this.#done(key);
      observer?.finished?.(key, this.#clock.now() - startedMs);
    }
  }

  #done(key: K): void {
    if (this.#stopped) {
      if (this.#working.size === 0) this.#drained.resolve();
      return;
    }
    const dirty = this.#dirty.get(key);
    if (dirty !== undefined) this.#ready[dirty.priority].push(key);
    this.#startSoon();
  }
}
