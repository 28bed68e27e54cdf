import { keyOf, type KubernetesObject } from "./resource.ts";

/** Says under which values of an index an object is found; none, one or many. */
export type IndexFunction<T> = (object: T) => readonly string[];

/** A cache as its readers see it. Objects in it are shared: never change one. */
export interface ReadonlyStore<T extends KubernetesObject> {
  readonly size: number;
  /** The object with the key "namespace/name", or "name" if it is cluster-scoped. */
  get(key: string): T | undefined;
  /** All objects, in no particular order. */
  list(): T[];
  keys(): IterableIterator<string>;
  /** The objects that the named index has under the value. Throws if there is no such index. */
  byIndex(index: string, value: string): T[];
}

/** Objects by key, and by the values of named indexes. */
export class Store<T extends KubernetesObject> implements ReadonlyStore<T> {
  readonly #objects = new Map<string, T>();
  readonly #indexes = new Map<string, { of: IndexFunction<T>; keys: Map<string, Set<string>> }>();

  constructor(indexes: Readonly<Record<string, IndexFunction<T>>> = {}) {
    for (const [name, of] of Object.entries(indexes)) this.#indexes.set(name, { of, keys: new Map() });
  }

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  list(): T[] {
    return [...this.#objects.values()];
  }

  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }

  byIndex(index: string, value: string): T[] {
    const keys = this.#index(index).keys.get(value) ?? [];
    const objects: T[] = [];
    for (const key of keys) {
      const object = this.#objects.get(key);
      if (object !== undefined) objects.push(object);
    }
    return objects;
  }

  /** Adds the object, or replaces the one with its key, which is returned. */
  set(object: T): T | undefined {
    const key = keyOf(object);
    // Computed first: an index function that throws must not leave half of the work done.
    const values = [...this.#indexes.values()].map(({ of, keys }) => ({ keys, values: of(object) }));
    const previous = this.delete(key);
    this.#objects.set(key, object);
    for (const each of values) for (const value of each.values) addTo(each.keys, value, key);
    return previous;
  }

  /** Removes the object with the key, and returns it if there was one. */
  delete(key: string): T | undefined {
    const object = this.#objects.get(key);
    if (object === undefined) return undefined;
    this.#objects.delete(key);
    for (const { of, keys } of this.#indexes.values()) {
      for (const value of of(object)) removeFrom(keys, value, key);
    }
    return object;
  }

  #index(name: string) {
    const index = this.#indexes.get(name);
    if (index === undefined) throw new TypeError(`there is no index ${JSON.stringify(name)}`);
    return index;
  }
}

function addTo(keys: Map<string, Set<string>>, value: string, key: string): void {
  const set = keys.get(value);
  if (set === undefined) keys.set(value, new Set([key]));
  else set.add(key);
}

function removeFrom(keys: Map<string, Set<string>>, value: string, key: string): void {
  const set = keys.get(value);
  set?.delete(key);
  // An index by something short-lived must not grow for ever.
  if (set?.size === 0) keys.delete(value);
}
