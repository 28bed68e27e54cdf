import { randomBytes } from "node:crypto";
import { Backoff } from "./backoff.ts";
import type { KubernetesClient } from "./client.ts";
import { type Clock, pause, systemClock } from "./clock.ts";
import { ApiError, hasReason } from "./errors.ts";
import {
  type EventContent,
  eventKey,
  type EventObject,
  eventObject,
  EVENTS,
  microTime,
  type Reporter,
} from "./event-object.ts";
import { WorkQueue } from "./work-queue.ts";

/** An event that cannot be sent for so long is dropped: who looks for it has looked elsewhere by then. */
const GIVE_UP_MS = 5 * 60_000;

/**
 * An API server that has just come up forbids everything until it has read its roles, which takes it about a second: an
 * event that is forbidden is sent again for so long.
 */
const FORBIDDEN_LASTS_MS = 30_000;
const FORBIDDEN_RETRY_MS = 1000;

/** How many sent events are remembered, to count their repetitions. */
const REMEMBERED = 4096;

/** What a recorder is made with. Only the client and who reports have no default. */
export interface EventRecorderOptions extends Reporter {
  client: KubernetesClient;
  /** How many events may wait to be sent; further ones are dropped. Default 5000. */
  capacity?: number;
  /** An event that is repeated within this time is counted in the first one's series. Default 10 minutes. */
  windowMs?: number;
  /** The count of a series is written at most this often. Default 10 s. */
  seriesIntervalMs?: number;
  /** How long one request may take. Default 10 s. */
  deadlineMs?: number;
  /** An event was dropped, and why; without an error, for lack of room or of time. Must not throw. */
  onDrop?: (event: EventContent, error: unknown) => void;
  clock?: Clock;
}

/** One event with its repetitions. */
interface Series {
  content: EventContent;
  object: EventObject;
  count: number;
  /** How much of `count` the API server knows; 0 before the event was created. */
  sentCount: number;
  lastTime: string;
  lastSeenMs: number;
  /** Since when something of it waits to be sent. */
  waitingSinceMs: number;
  /** When the API server first forbade what waits. */
  forbiddenAtMs?: number | undefined;
}

/**
 * Reports events. Recording never waits, throws or fails: what cannot be sent is dropped and counted.
 * Repetitions become the series of the first event instead of new objects.
 * @typeParam Reason the closed list of the caller's reasons
 */
export class EventRecorder<Reason extends string = string> {
  readonly #options: EventRecorderOptions;
  readonly #clock: Clock;
  readonly #queue: WorkQueue;
  readonly #backoff = new Backoff({ baseMs: 200, maxMs: 10_000 });
  /** In the order in which they were last seen. */
  readonly #series = new Map<string, Series>();
  readonly #unsent = new Set<string>();
  readonly #stop = new AbortController();
  #allSent = Promise.withResolvers<void>();
  #flushing = 0;
  #dropped = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#queue = new WorkQueue({ clock: this.#clock });
    // One worker: events arrive in order, and a burst of them does not crowd out status writes.
    void this.#queue.run(1, (key) => this.#send(key), this.#stop.signal);
  }

  /** How many events were dropped since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  /** How many events wait to be sent, or have a count that does. */
  get waiting(): number {
    return this.#unsent.size;
  }

  /** Reports a transition. The content is kept until it is sent: do not change it. */
  record(content: EventContent<Reason>): void {
    const key = eventKey(content);
    const nowMs = this.#clock.now();
    const known = this.#series.get(key);
    if (known !== undefined && nowMs - known.lastSeenMs <= (this.#options.windowMs ?? 600_000)) {
      this.#repeat(key, known, nowMs);
      return;
    }
    if (this.#stop.signal.aborted || this.#unsent.size >= (this.#options.capacity ?? 5000)) {
      this.#drop(content, undefined);
      return;
    }
    const time = microTime(Date.now());
    const { reportingController, reportingInstance } = this.#options;
    const reporter = { reportingController, reportingInstance };
    // The name is settled before the first attempt, so that repeating one cannot make two events.
    const object = eventObject(content, reporter, time, randomBytes(8).toString("hex"));
    this.#remember(key, {
      content,
      object,
      count: 1,
      sentCount: 0,
      lastTime: time,
      lastSeenMs: nowMs,
      waitingSinceMs: nowMs,
    });
    this.#unsent.add(key);
    this.#queue.add(key);
  }

  /** Sends what waits, counts included. Resolves to whether all of it was sent within `deadlineMs`. */
  async flush(deadlineMs: number): Promise<boolean> {
    const late = Promise.withResolvers<void>();
    const cancel = this.#clock.after(deadlineMs, late.resolve);
    this.#flushing += 1;
    try {
      this.#allSent = Promise.withResolvers<void>();
      for (const key of this.#unsent) this.#queue.add(key);
      if (this.#unsent.size > 0) await Promise.race([this.#allSent.promise, late.promise]);
    } finally {
      this.#flushing -= 1;
      cancel();
    }
    return this.#unsent.size === 0;
  }

  /** Flushes, then drops what is left and whatever is still recorded. */
  async close(deadlineMs: number): Promise<void> {
    await this.flush(deadlineMs);
    this.#stop.abort();
    for (const key of this.#unsent) this.#drop(this.#series.get(key)?.content, undefined);
    this.#unsent.clear();
    this.#series.clear();
  }

  #repeat(key: string, series: Series, nowMs: number): void {
    if (series.count === series.sentCount) series.waitingSinceMs = nowMs;
    series.count += 1;
    series.lastTime = microTime(Date.now());
    series.lastSeenMs = nowMs;
    this.#remember(key, series);
    this.#unsent.add(key);
    this.#queue.addAfter(key, this.#seriesDelayMs);
  }

  #remember(key: string, series: Series): void {
    this.#series.delete(key);
    this.#series.set(key, series);
    if (this.#series.size <= REMEMBERED + this.#unsent.size) return;
    for (const [oldest] of this.#series) {
      if (this.#unsent.has(oldest)) continue;
      this.#series.delete(oldest);
      return;
    }
  }

  /** Holds the only worker until the event is settled: while the API server is away, one attempt at a time is enough. */
  async #send(key: string): Promise<void> {
    for (;;) {
      const series = this.#series.get(key);
      if (series === undefined || series.sentCount === series.count) return;
      const { count } = series;
      try {
        await this.#write(series);
        this.#backoff.reset();
        series.sentCount = count;
        series.forbiddenAtMs = undefined;
        this.#sent(key, series);
        return;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (this.#isForbiddenLately(series, error)) {
          // Another one may be allowed meanwhile.
          this.#queue.addAfter(key, FORBIDDEN_RETRY_MS);
          return;
        }
        if (this.#isHopeless(series, error)) {
          this.#series.delete(key);
          this.#drop(series.content, error);
          this.#settle(key);
          return;
        }
        const askedMs = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
        await pause(this.#clock, Math.max(this.#backoff.next(), askedMs), this.#stop.signal);
      }
    }
  }

  #sent(key: string, series: Series): void {
    // What was repeated while this was being sent has been queued by its own repetition.
    if (series.sentCount < series.count) series.waitingSinceMs = this.#clock.now();
    else this.#settle(key);
  }

  async #write({ object, count, sentCount, lastTime }: Series): Promise<void> {
    const { client, deadlineMs = 10_000 } = this.#options;
    const options = { deadlineMs, signal: this.#stop.signal };
    const series = count > 1 ? { series: { count, lastObservedTime: lastTime } } : {};
    if (sentCount > 0) {
      try {
        await client.mergePatch(EVENTS, object.metadata, series, options);
        return;
      } catch (error) {
        // The API server forgets events after an hour by default: then it is created once more.
        if (!hasReason(error, "NotFound")) throw error;
      }
    }
    try {
      await client.create<EventObject>(EVENTS, { ...object, ...series }, options);
    } catch (error) {
      // Ours, by an attempt whose answer was lost; only we use this name.
      if (!hasReason(error, "AlreadyExists")) throw error;
    }
  }

  #isForbiddenLately(series: Series, error: unknown): boolean {
    if (!hasReason(error, "Forbidden")) return false;
    const nowMs = this.#clock.now();
    series.forbiddenAtMs ??= nowMs;
    return nowMs - series.forbiddenAtMs < FORBIDDEN_LASTS_MS;
  }

  /** Refused for good, or too late to be of use. */
  #isHopeless(series: Series, error: unknown): boolean {
    if (this.#clock.now() - series.waitingSinceMs > GIVE_UP_MS) return true;
    return error instanceof ApiError && error.code >= 400 && error.code < 500 && error.code !== 429;
  }

  get #seriesDelayMs(): number {
    return this.#flushing > 0 ? 0 : (this.#options.seriesIntervalMs ?? 10_000);
  }

  #settle(key: string): void {
    this.#unsent.delete(key);
    if (this.#unsent.size === 0) this.#allSent.resolve();
  }

  #drop(content: EventContent | undefined, error: unknown): void {
    this.#dropped += 1;
    if (content !== undefined) this.#options.onDrop?.(content, error);
  }
}
