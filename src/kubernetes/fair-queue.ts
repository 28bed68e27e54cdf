import { Fifo } from "./fifo.ts";

/**
 * First in, first out within each flow, and the flows by turns, in constant time: a thousand items of one flow delay
 * an item of another by one. As the flows of Kubernetes' API priority and fairness, but each with a queue of its own: a
 * cluster has few namespaces.
 */
export class FairQueue<T> {
  readonly #flowOf: (item: T) => string;
  /** Only flows that have items. */
  readonly #flows = new Map<string, Fifo<T>>();
  /** The same flows, the next one first. */
  readonly #turns = new Fifo<Fifo<T>>();
  #length = 0;

  /** `flowOf` must always say the same of an item. */
  constructor(flowOf: (item: T) => string) {
    this.#flowOf = flowOf;
  }

  get length(): number {
    return this.#length;
  }

  push(item: T): void {
    const flow = this.#flowOf(item);
    const known = this.#flows.get(flow);
    const items = known ?? new Fifo<T>();
    items.push(item);
    this.#length += 1;
    if (known !== undefined) return;
    this.#flows.set(flow, items);
    this.#turns.push(items);
  }

  /** Takes the oldest item of the flow whose turn it is; undefined if there is none. */
  shift(): T | undefined {
    const items = this.#turns.shift();
    const item = items?.shift();
    if (items === undefined || item === undefined) return undefined;
    this.#length -= 1;
    if (items.length > 0) this.#turns.push(items);
    else this.#flows.delete(this.#flowOf(item));
    return item;
  }

  clear(): void {
    this.#flows.clear();
    this.#turns.clear();
    this.#length = 0;
  }
}
