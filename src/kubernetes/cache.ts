import { compareResourceVersions, keyOf, type KubernetesObject } from "./resource.ts";
import { type IndexFunction, type ReadonlyStore, Store } from "./store.ts";

/** What happened to an object, as its observer is told. */
export type ObjectEvent<T> =
  | { type: "Added"; object: T }
  | { type: "Modified"; object: T; previous: T }
  | { type: "Deleted"; object: T };

/** A list that is being taken over, page by page. */
export interface Listing {
  /** The keys that it has shown so far, whether or not the objects could be used. */
  readonly seen: Set<string>;
  /** How far the API server's data had come when it was listed. */
  readonly version: string;
  /** That is less than what is known, after a backup was restored: believe it all the same. */
  readonly rewound: boolean;
}

/**
 * Turns lists and watch events into a cache, and tells its observer what changed.
 *
 * Another UID under a known name is a deletion and an addition, however it was learnt: the two objects
 * have nothing in common but the name. What is already known is no event. When the observer is told of
 * a change, the cache shows exactly that change.
 */
export class ObjectCache<T extends KubernetesObject> {
  readonly #store: Store<T>;
  readonly #observe: (event: ObjectEvent<T>) => void;

  constructor(
    observe: (event: ObjectEvent<T>) => void,
    indexes: Readonly<Record<string, IndexFunction<T>>> = {},
  ) {
    this.#observe = observe;
    this.#store = new Store(indexes);
  }

  get store(): ReadonlyStore<T> {
    return this.#store;
  }

  /** Takes over an object that was added or changed, unless its state is known already. */
  put(object: T): void {
    this.#put(object, isNewer);
  }

  /**
   * Takes over the end of an object.
   * @param last its last state; without it, the one that is known
   */
  remove(key: string, uid: string | undefined, last?: T): void {
    const known = this.#store.get(key);
    // The end of an object that was replaced under its name is no news.
    if (known === undefined || known.metadata.uid !== uid) return;
    this.#store.delete(key);
    this.#observe({ type: "Deleted", object: last ?? known });
  }

  /**
   * Takes over one object of a list. What is known that is no newer than the list, and differs, comes from before a
   * restored backup whose versions have caught up since; what is newer is one's own write, which the list has not seen.
   */
  putListed(object: T, { version, rewound }: Listing): void {
    this.#put(object, (listed, known) =>
      rewound || !isLater(known, version) ? isOther(listed, known) : isNewer(listed, known),
    );
  }

  /** The list is complete: whatever it did not show is gone. */
  endList(listing: Listing): void {
    for (const key of this.#store.keys()) {
      const gone = listing.seen.has(key) ? undefined : this.#store.delete(key);
      if (gone !== undefined) this.#observe({ type: "Deleted", object: gone });
    }
  }

  /**
   * Takes over the answer to one's own write, if it is newer than what is known of the same object,
   * so that the next look does not see the state before it. That is no event: the writer knows.
   */
  accept(object: T): boolean {
    const known = this.#store.get(keyOf(object));
    if (known === undefined || !isSame(known, object) || !isNewer(object, known)) return false;
    this.#store.set(object);
    return true;
  }

  #put(object: T, isNews: (object: KubernetesObject, known: KubernetesObject) => boolean): void {
    const previous = this.#store.get(keyOf(object));
    if (previous !== undefined && isSame(previous, object)) {
      if (!isNews(object, previous)) return;
      this.#store.set(object);
      this.#observe({ type: "Modified", object, previous });
      return;
    }
    if (previous !== undefined) {
      this.#store.delete(keyOf(object));
      this.#observe({ type: "Deleted", object: previous });
    }
    this.#store.set(object);
    this.#observe({ type: "Added", object });
  }
}

function isSame(first: KubernetesObject, second: KubernetesObject): boolean {
  return first.metadata.uid === second.metadata.uid;
}

function isOther(object: KubernetesObject, known: KubernetesObject): boolean {
  return object.metadata.resourceVersion !== known.metadata.resourceVersion;
}

function isNewer(object: KubernetesObject, known: KubernetesObject): boolean {
  const { resourceVersion } = known.metadata;
  return resourceVersion === undefined || isLater(object, resourceVersion);
}

function isLater({ metadata: { resourceVersion } }: KubernetesObject, version: string): boolean {
  return resourceVersion === undefined || compareResourceVersions(resourceVersion, version) > 0;
}
