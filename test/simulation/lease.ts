import type { Lease } from "../../controller/ports.ts";
import type { Timeline } from "./timeline.ts";

/** Kubernetes' usual numbers: how long a lease lasts, how soon it must be renewed, and how often that is tried. */
const durationMs = 15_000;
const renewDeadlineMs = 10_000;
const retryMs = 2000;

/** The longest that libvirt may take with a call that was sent, and the network with it. */
const longestCallMs = 60_000;

/**
 * The time for which one process holds the lease. It is renewed every two seconds, which is computed and not played:
 * nothing of it is to be seen until the holder falls silent.
 */
export class Term implements Lease {
  readonly predecessorGoneAtMs: number;
  readonly #timeline: Timeline;
  #renewedSinceMs: number;
  #silentSinceMs: number | undefined;
  #isOver = false;

  constructor(timeline: Timeline, predecessor?: Term) {
    this.#timeline = timeline;
    this.#renewedSinceMs = timeline.now().monotonicMs;
    this.predecessorGoneAtMs = predecessor === undefined ? Number.NEGATIVE_INFINITY : predecessor.goneAtMs;
  }

  get goneAtMs(): number {
    return this.#lastRenewalMs + renewDeadlineMs + longestCallMs;
  }

  isHeld(): boolean {
    return this.#timeline.now().monotonicMs < this.#lastRenewalMs + renewDeadlineMs;
  }

  /** Whether the holder renews nothing, so that another may take the lease. */
  get isSilent(): boolean {
    return this.#silentSinceMs !== undefined;
  }

  /** When another that waits for it takes the lease, unless the holder speaks again before. */
  get endsAtMs(): number {
    return this.#lastRenewalMs + durationMs;
  }

  /** The holder renews nothing any more. */
  fallSilent(): void {
    this.#silentSinceMs ??= this.#timeline.now().monotonicMs;
  }

  /** The holder tries again: too late where another has the lease. */
  speak(): void {
    if (this.#isOver || this.#silentSinceMs === undefined) return;
    this.#renewedSinceMs = this.#timeline.now().monotonicMs;
    this.#silentSinceMs = undefined;
  }

  /** Another has taken the lease. */
  end(): void {
    this.#isOver = true;
  }

  get #lastRenewalMs(): number {
    const untilMs = this.#silentSinceMs ?? this.#timeline.now().monotonicMs;
    return untilMs - ((untilMs - this.#renewedSinceMs) % retryMs);
  }
}
