import { Backoff } from "./backoff.ts";
import { type Listing, ObjectCache, type ObjectEvent } from "./cache.ts";
import type { KubernetesClient } from "./client.ts";
import { type Clock, pause, systemClock } from "./clock.ts";
import { ApiError, MalformedResponseError } from "./errors.ts";
import type { Page } from "./page.ts";
import { compareResourceVersions, keyOf, type KubernetesObject, type ResourceType } from "./resource.ts";
import type { IndexFunction, ReadonlyStore } from "./store.ts";
import { watch, type WatchEvent } from "./watch.ts";

/** As client-go: few enough that a page is small, enough that a list of thousands is few requests. */
const DEFAULT_PAGE_SIZE = 500;

/** A watch that lives shorter than this counts as a failure: reconnecting at once would spin. */
const SHORT_LIVED_MS = 1_000;

/** After so many failures in a row that brought nothing, the place to resume from is given up. */
const FRUITLESS_WATCHES = 5;

/** What a reflector is made with. Only the first two have no default. */
export interface ReflectorOptions<T extends KubernetesObject> {
  client: KubernetesClient;
  type: ResourceType;
  /** Without it, all namespaces. */
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
  /**
   * Turns each object, as it comes off the wire, into what is kept of it. It must keep the name,
   * namespace, uid and resourceVersion. An object for which it throws is reported and left out.
   */
  trim?: (object: KubernetesObject) => T;
  /** Indexes for `store.byIndex`. */
  indexes?: Readonly<Record<string, IndexFunction<T>>>;
  /** Called for each change, in order, after the store shows it. What it throws is reported and changes nothing. */
  onEvent?: (event: ObjectEvent<T>) => void;
  /** Called after each complete list: the first, and those after too long an interruption. */
  onSync?: () => void;
  /** Called whenever the API server begins to tell changes as they happen: whatever was wrong before is over. */
  onWatch?: () => void;
  /** Called for each failure, with the time until the next attempt; 0 for one of the caller's own functions. */
  onError?: (error: unknown, retryInMs: number) => void;
  /** Objects in a page of a list; fewer once a page was too large. Default 500. */
  pageSize?: number;
  /** The longest pause between attempts. Default 10 s. */
  maxBackoffMs?: number;
  /** A watch that says nothing for so long is renewed. Default 90 s: bookmarks come about once a minute. */
  inactivityMs?: number;
  /** How long the API server keeps a watch, before a random addition of as much again. Default 300 s. */
  watchSeconds?: number;
  clock?: Clock;
  random?: () => number;
}

/**
 * Keeps a copy of a collection by listing it once and watching it from then on, and tells what changes.
 *
 * It never gives up: whatever fails is tried again after a pause that grows to `maxBackoffMs`, from where
 * the last event was seen. Nothing that lasts is lost by an interruption; changes in between that cancel
 * each other out may be, except that a deletion and re-creation is always told as both.
 */
export class Reflector<T extends KubernetesObject> {
  readonly #options: ReflectorOptions<T>;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #backoff: Backoff;
  readonly #cache: ObjectCache<T>;
  readonly #synced = Promise.withResolvers<void>();
  /** How far the cache has come; what happened later is still to be told. */
  #version: string | undefined;
  /** The newest own write that the cache has taken over. */
  #accepted: string | undefined;
  #next: "List" | "Verify" | "Watch" = "List";
  #hasSynced = false;
  #watching = false;
  #running = false;
  #fruitless = 0;
  #pageSize: number;
  /** Ends the watch that is open now. */
  #renewal = new AbortController();

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#pageSize = options.pageSize ?? DEFAULT_PAGE_SIZE;
    this.#backoff = new Backoff({ baseMs: 200, maxMs: options.maxBackoffMs ?? 10_000, random: this.#random });
    this.#cache = new ObjectCache((event) => this.#call(() => options.onEvent?.(event)), options.indexes);
  }

  /** The copy. Complete once {@link hasSynced}; during an interruption it shows the last known state. */
  get store(): ReadonlyStore<T> {
    return this.#cache.store;
  }

  /** Whether a complete list has been taken over. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** Whether the API server is telling changes as they happen at this moment. */
  get watching(): boolean {
    return this.#watching;
  }

  /** Resolves once {@link hasSynced}. Rejects with the signal's reason. */
  async synced(signal?: AbortSignal): Promise<void> {
    if (signal === undefined || this.#hasSynced) return this.#synced.promise;
    signal.throwIfAborted();
    const aborted = Promise.withResolvers<never>();
    const abort = () => aborted.reject(signal.reason);
    signal.addEventListener("abort", abort);
    try {
      await Promise.race([this.#synced.promise, aborted.promise]);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /**
   * Takes over the answer to one's own write before the watch tells of it, if it is newer and the object
   * is still the same one: the next look at the store then sees the write. No event tells of it.
   */
  accept(object: T): boolean {
    const isTaken = this.#cache.accept(object);
    if (isTaken) this.#accepted = object.metadata.resourceVersion;
    return isTaken;
  }

  /** Lists anew at once: what the API server has is not what it has told. Does nothing where it is not watched. */
  relist(): void {
    this.#renewal.abort();
  }

  /** Lists and watches until the signal aborts; then resolves. Once per reflector. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#running) throw new Error("this reflector is running already");
    this.#running = true;
    while (!signal.aborted) {
      try {
        await this.#step(signal);
      } catch (error) {
        if (signal.aborted) break;
        const pauseMs = this.#afterFailure(error);
        this.#call(() => this.#options.onError?.(error, pauseMs));
        await pause(this.#clock, pauseMs, signal);
      }
    }
  }

  async #step(signal: AbortSignal): Promise<void> {
    switch (this.#next) {
      case "List":
        await this.#list(signal);
        break;
      case "Verify":
        await this.#verify(signal);
        break;
      case "Watch":
        await this.#watch(signal);
        break;
      default:
        this.#next satisfies never;
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { client, type, namespace, labelSelector, fieldSelector } = this.#options;
    const selection = { namespace, labelSelector, fieldSelector };
    // An own write while the list is read may be missing in it; one from before may not.
    const newest = this.#newest();
    let listing: Listing | undefined;
    let page: Page<KubernetesObject> | undefined;
    do {
      const query = { ...selection, limit: this.#pageSize, continue: page?.continue };
      page = await client.list(type, query, { signal });
      const version = page.resourceVersion;
      const current = (listing ??= { seen: new Set(), version, rewound: isBehind(version, newest) });
      for (const object of page.items) {
        current.seen.add(keyOf(object));
        const kept = this.#trimmed(object);
        if (kept !== undefined) this.#cache.putListed(kept, current);
      }
    } while (page.continue !== undefined);
    this.#cache.endList(listing);
    if (listing.rewound) this.#accepted = undefined;
    this.#version = page.resourceVersion;
    this.#next = "Watch";
    this.#hasSynced = true;
    this.#synced.resolve();
    this.#call(() => this.#options.onSync?.());
  }

  /**
   * After a lost connection, asks how far the API server is. One that is behind us has had a backup
   * restored, and would silently tell nothing until its versions have caught up with ours. One that does
   * not answer is listed anew as soon as it does.
   */
  async #verify(signal: AbortSignal): Promise<void> {
    const { client, type, namespace, labelSelector, fieldSelector } = this.#options;
    const one = { namespace, labelSelector, fieldSelector, limit: 1 };
    const newest = this.#newest();
    const { resourceVersion } = await client.list(type, one, { signal });
    this.#next = isBehind(resourceVersion, newest) ? "List" : "Watch";
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { client, type, namespace, labelSelector, fieldSelector, inactivityMs, watchSeconds } =
      this.#options;
    const openedAtMs = this.#clock.now();
    const renewal = new AbortController();
    this.#renewal = renewal;
    const events = watch(client, type, {
      namespace,
      labelSelector,
      fieldSelector,
      resourceVersion: this.#version ?? "",
      timeoutSeconds: Math.ceil((watchSeconds ?? 300) * (1 + this.#random())),
      inactivityMs: inactivityMs ?? 90_000,
      onOpen: () => {
        this.#watching = true;
        this.#call(() => this.#options.onWatch?.());
      },
      clock: this.#clock,
      signal: AbortSignal.any([signal, renewal.signal]),
    });
    try {
      for await (const event of events) this.#told(event);
    } catch (error) {
      if (signal.aborted || !renewal.signal.aborted) throw error;
      this.#next = "List";
    } finally {
      if (this.#watching && this.#clock.now() - openedAtMs >= SHORT_LIVED_MS) this.#backoff.reset();
      this.#watching = false;
    }
    if (this.#clock.now() - openedAtMs < SHORT_LIVED_MS) {
      await pause(this.#clock, this.#backoff.next(), signal);
    }
  }

  #told(event: WatchEvent): void {
    this.#backoff.reset();
    this.#fruitless = 0;
    if (event.type === "BOOKMARK") {
      this.#version = event.resourceVersion;
      return;
    }
    const { type, object } = event;
    const kept = this.#trimmed(object);
    if (type === "DELETED") this.#cache.remove(keyOf(object), object.metadata.uid, kept);
    else if (kept !== undefined) this.#cache.put(kept);
    this.#version = object.metadata.resourceVersion;
  }

  #trimmed(object: KubernetesObject): T | undefined {
    const { trim } = this.#options;
    // Without a trim function, the caller has said that T is what the API server sends.
    return trim === undefined ? (object as T) : this.#call(() => trim(object));
  }

  /** Decides how to go on after a failure, and how long to wait before it. */
  #afterFailure(error: unknown): number {
    const pauseMs = this.#backoff.next();
    if (this.#next === "Watch") {
      this.#fruitless += 1;
      const lost = error instanceof ApiError && error.expired;
      this.#next = lost || this.#fruitless >= FRUITLESS_WATCHES ? "List" : "Verify";
      if (this.#next === "List") this.#fruitless = 0;
    } else if (this.#next === "Verify") {
      // It was away, for as long as a restore takes: the versions of a backup may be past ours by now.
      this.#next = "List";
    } else if (error instanceof MalformedResponseError && error.problem === "TooLarge") {
      this.#pageSize = Math.max(1, Math.floor(this.#pageSize / 4));
    }
    return Math.max(pauseMs, (error instanceof ApiError ? error.retryAfterMs : undefined) ?? 0);
  }

  /** How far the API server is known to have come: as it has told, or as it has answered to an own write. */
  #newest(): string | undefined {
    return isBehind(this.#version, this.#accepted) ? this.#accepted : this.#version;
  }

  /** Runs a function of the caller: what it throws must not end the reflector. */
  #call<R>(run: () => R): R | undefined {
    try {
      return run();
    } catch (error) {
      try {
        this.#options.onError?.(error, 0);
      } catch {
        // There is nobody left to tell.
      }
      return undefined;
    }
  }
}

function isBehind(version: string | undefined, newest: string | undefined): boolean {
  return version !== undefined && newest !== undefined && compareResourceVersions(version, newest) < 0;
}
