import type { Clock } from "./clock.ts";

/** A key that is due at a time of the clock. */
interface Due<K> {
  key: K;
  atMs: number;
  /** Of two that are due at the same time, the one that was added first comes first. */
  order: number;
}

/**
 * Keys that become due later: a binary heap and one timer, however many keys there are.
 * A key is in it once, at the earliest time that was asked for.
 */
export class Delays<K> {
  readonly #clock: Clock;
  readonly #onDue: (key: K) => void;
  readonly #due = new Map<K, Due<K>>();
  /** May hold entries that an earlier one has replaced; they are skipped. */
  #heap: Due<K>[] = [];
  #order = 0;
  #timer: { atMs: number; cancel: () => void } | undefined;
  #stopped = false;

  constructor(clock: Clock, onDue: (key: K) => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** How many keys wait. */
  get size(): number {
    return this.#due.size;
  }

  /** Makes the key due after `delayMs`, or leaves it due earlier if it is already. */
  add(key: K, delayMs: number): void {
    const atMs = this.#clock.now() + delayMs;
    const known = this.#due.get(key);
    if (this.#stopped || (known !== undefined && known.atMs <= atMs)) return;
    const due = { key, atMs, order: this.#order };
    this.#order += 1;
    this.#due.set(key, due);
    this.#push(due);
    // A key that comes forward again and again leaves its former places behind.
    if (this.#heap.length > 64 && this.#heap.length > 2 * this.#due.size) this.#rebuild();
    this.#arm();
  }

  /** Forgets every key and stops the timer, for good. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#due.clear();
    this.#heap = [];
  }

  #arm(): void {
    const first = this.#heap[0];
    if (first === undefined || (this.#timer !== undefined && this.#timer.atMs <= first.atMs)) return;
    this.#timer?.cancel();
    const cancel = this.#clock.after(Math.max(0, first.atMs - this.#clock.now()), () => {
      this.#timer = undefined;
      this.#release();
    });
    this.#timer = { atMs: first.atMs, cancel };
  }

  #release(): void {
    const nowMs = this.#clock.now();
    for (let first = this.#heap[0]; first !== undefined && first.atMs <= nowMs; first = this.#heap[0]) {
      this.#pop();
      if (this.#due.get(first.key) !== first) continue;
      this.#due.delete(first.key);
      this.#onDue(first.key);
    }
    this.#arm();
  }

  #rebuild(): void {
    this.#heap = [];
    for (const due of this.#due.values()) this.#push(due);
  }

  #push(due: Due<K>): void {
    const heap = this.#heap;
    let hole = heap.push(due) - 1;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(due, above)) break;
      heap[hole] = above;
      hole = parent;
    }
    heap[hole] = due;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let hole = 0;
    for (;;) {
      const child = this.#earlierChild(hole);
      const below = heap[child];
      if (below === undefined || !isBefore(below, last)) break;
      heap[hole] = below;
      hole = child;
    }
    heap[hole] = last;
  }

  #earlierChild(parent: number): number {
    const left = this.#heap[2 * parent + 1];
    const right = this.#heap[2 * parent + 2];
    const isRight = left !== undefined && right !== undefined && isBefore(right, left);
    return 2 * parent + (isRight ? 2 : 1);
  }
}

function isBefore<K>(first: Due<K>, second: Due<K>): boolean {
  return first.atMs < second.atMs || (first.atMs === second.atMs && first.order < second.order);
}
