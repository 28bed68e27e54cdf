import type { Logger } from "pino";
import { domainReference } from "../controller/domain-reference.ts";
import type { Notice, NoticeReason } from "../controller/notice.ts";
import type { Definition, Domain, Key, VirtualMachines } from "../controller/ports.ts";
import {
  parseVirtualMachine,
  virtualMachineResource,
  type VirtualMachine,
  type VirtualMachineStatus,
} from "../crds/virtual-machine.ts";
import { logApiFailure, problemOf } from "./api-failure.ts";
import { Definitions, type ChangedDefinitions, type DefinitionReference } from "./definitions.ts";
import type { KubernetesClient } from "./kubernetes/client.ts";
import { ApiError } from "./kubernetes/errors.ts";
import type { EventRecorder } from "./kubernetes/events.ts";
import type { WorkQueue } from "./kubernetes/work-queue.ts";
import { Reflector } from "./kubernetes/reflector.ts";
import { FairQueue } from "./kubernetes/fair-queue.ts";
import { keyOf, namespaceOf, parseKey, type KubernetesObject } from "./kubernetes/resource.ts";
import { isSameJson } from "./kubernetes/json.ts";
import { Problems } from "./problems.ts";
import { passed } from "./steps.ts";
import { writeStatus, type StatusOutcome } from "./kubernetes/status.ts";

/** What the resources are read with and written through. */
export interface VirtualMachinesOptions {
  client: KubernetesClient;
  /** Only this namespace; without it, all. */
  namespace?: string | undefined;
  /** Whether resources may say how their domains are defined; otherwise no ConfigMap is read. */
  allowDefinitions: boolean;
  queue: WorkQueue;
  events: EventRecorder<NoticeReason>;
  log: Logger;
  /** A resource has come or gone: others that name its domain may have become the one that counts, or not. */
  onClaim: (virtualMachine: VirtualMachine) => void;
}

/** Domain XML names files and devices of the host: who may write it has the hypervisor. */
const notAllowed: Definition = {
  kind: "Unavailable",
  message:
    "this controller takes no definitions: remove spec.definition, or have it started with --allow-definitions, which " +
    "lets whoever may write a VirtualMachine decide what runs on the hypervisor",
};

/** What the reading of the resources has its problems under: no key has this form. */
const reading = "reading";

/** A status, and the resource that it was computed from. */
interface StatusWrite {
  virtualMachine: VirtualMachine;
  status: VirtualMachineStatus;
}

/**
 * How many status writes are under way at once: fewer than the client has connections, so that Events and whatever else
 * is asked of the API server do not wait behind them. What waits for its turn here can still be replaced by what is
 * newer, and its deadline has not begun: when thousands of resources change at once, the last one's turn comes after
 * minutes.
 */
const mostWrites = 6;

/**
 * A watch tells within this time of what a status write was refused for. Where it does not, it follows a history that a
 * restored backup has undone, which a process that stood still meanwhile has not noticed.
 */
const conflictLastsMs = 2000;

/**
 * The controller's resources over the API server: a watched copy of them and of the ConfigMaps with their definitions,
 * one status write at a time for each, and a queue that a change, a conflict or a failed write puts the key on.
 */
export class ApiVirtualMachines implements VirtualMachines {
  readonly #options: VirtualMachinesOptions;
  readonly #reflector: Reflector<VirtualMachine>;
  readonly #definitions: Definitions;
  /** What is wrong with the reading, under its own name, and with the status of each key. */
  readonly #problems = new Problems();
  readonly #writing = new Map<Key, Promise<void>>();
  /** The version of a resource for which a status write was refused, and since when. */
  readonly #conflicts = new Map<Key, { version: string | undefined; sinceMs: number }>();
  /** What is to be written, one status a key; a newer one has the place of the one that waited. */
  readonly #waiting = new Map<Key, StatusWrite>();
  /** The keys of those that no earlier one of their key holds up, the namespaces by turns. */
  readonly #turns = new FairQueue<Key>(namespaceOf);

  constructor(options: VirtualMachinesOptions) {
    this.#options = options;
    const { client, namespace, queue, log } = options;
    this.#reflector = new Reflector<VirtualMachine>({
      client,
      type: virtualMachineResource,
      namespace,
      trim: parse,
      indexes: { domain: domainNames, configMap: configMapNames },
      onEvent: (event) => {
        passed(`watch/${event.type}`);
        if (event.type === "Modified" && isEcho(event.object, event.previous)) return;
        queue.add(keyOf(event.object));
        if (event.type !== "Modified") options.onClaim(event.object);
      },
      onWatch: () => {
        if (!this.#problems.end(reading)) return;
        log.info("VirtualMachines are read again");
        // What waits for a minute after many tries in vain can be written now.
        for (const key of this.#problems.things()) queue.add(key);
      },
      onError: (error, retryInMs) => this.#logReadError(error, retryInMs),
    });
    this.#definitions = new Definitions({
      client,
      namespace,
      log,
      onChange: (changed) => {
        for (const virtualMachine of this.#definedBy(changed)) queue.add(keyOf(virtualMachine));
      },
    });
  }

  /** Reads and watches until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const definitions = this.#options.allowDefinitions ? this.#definitions.run(signal) : undefined;
    await Promise.all([this.#reflector.run(signal), definitions]);
  }

  /** Resolves once all resources have been read; their definitions may still be missing. */
  async synced(signal: AbortSignal): Promise<void> {
    await this.#reflector.synced(signal);
  }

  /**
   * Resolves once the definitions in ConfigMaps have been read, or once that has failed for the first time: who waits
   * for it works also where it is never possible.
   */
  async definitionsTried(): Promise<void> {
    if (this.#options.allowDefinitions) await this.#definitions.tried();
  }

  get(key: Key): VirtualMachine | undefined {
    return this.#reflector.store.get(key);
  }

  definition(virtualMachine: VirtualMachine): Definition {
    const { definition } = virtualMachine.spec;
    if (definition !== undefined && !this.#options.allowDefinitions) return notAllowed;
    if (definition?.xml !== undefined) return { kind: "Given", xml: definition.xml };
    const reference = definitionReference(virtualMachine);
    return reference === undefined ? { kind: "None" } : this.#definitions.find(reference);
  }

  watches(key: Key): boolean {
    const { namespace } = this.#options;
    return namespace === undefined || parseKey(key).namespace === namespace;
  }

  naming({ name, uuid }: Pick<Domain, "name" | "uuid">): VirtualMachine[] {
    const { store } = this.#reflector;
    return [...store.byIndex("domain", name), ...store.byIndex("domain", uuid)];
  }

  /** Keys of all resources. */
  keys(): Iterable<Key> {
    return this.#reflector.store.keys();
  }

  writeStatus(virtualMachine: VirtualMachine, status: VirtualMachineStatus): void {
    passed("status/computed");
    const key = keyOf(virtualMachine);
    if (!this.#waiting.has(key) && !this.#writing.has(key)) this.#turns.push(key);
    this.#waiting.set(key, { virtualMachine, status });
    this.#writeNext();
  }

  publish({ metadata }: VirtualMachine, notice: Notice): void {
    passed(`notice/${notice.reason}`);
    this.#options.events.record({ regarding: { type: virtualMachineResource, metadata }, ...notice });
  }

  /** Resolves once no status write is under way or waits. */
  async drained(): Promise<void> {
    // One that waits begins when another has ended.
    while (this.#writing.size > 0) await Promise.allSettled(this.#writing.values());
  }

  #definedBy(changed: ChangedDefinitions): VirtualMachine[] {
    const { store } = this.#reflector;
    if (changed !== "All") return store.byIndex("configMap", changed.configMap);
    return store.list().filter((virtualMachine) => definitionReference(virtualMachine) !== undefined);
  }

  #writeNext(): void {
    while (this.#writing.size < mostWrites) {
      const key = this.#turns.shift();
      if (key === undefined) return;
      const next = this.#waiting.get(key);
      if (next === undefined) continue;
      this.#waiting.delete(key);
      if (!this.#isCurrent(key, next.status)) this.#writing.set(key, this.#write(key, next));
    }
  }

  async #write(key: Key, { virtualMachine, status }: StatusWrite): Promise<void> {
    const written = await this.#writeOnce(key, virtualMachine, status);
    this.#writing.delete(key);
    const next = this.#waiting.get(key);
    if (written === "Queued") this.#waiting.delete(key);
    else if (next !== undefined && written !== undefined) {
      // A status that was computed before this write came back is still guarded by what this write left.
      const isOurs = next.virtualMachine.metadata.resourceVersion === virtualMachine.metadata.resourceVersion;
      if (isOurs) next.virtualMachine = written;
    }
    if (this.#waiting.has(key)) this.#turns.push(key);
    this.#writeNext();
  }

  /** Undefined where there is nothing to write to any more, or the API server will never take it. */
  async #writeOnce(
    key: Key,
    virtualMachine: VirtualMachine,
    status: VirtualMachineStatus,
  ): Promise<VirtualMachine | "Queued" | undefined> {
    const { client, queue, log } = this.#options;
    try {
      const outcome = await writeStatus<KubernetesObject & { status?: unknown }>(
        client,
        virtualMachineResource,
        virtualMachine,
        status,
        { fieldManager: "warmboot" },
      );
      this.#noteConflict(key, outcome.kind === "Conflict" ? virtualMachine : undefined);
      return this.#taken(key, outcome);
    } catch (error) {
      const retryInMs = error instanceof ApiError ? error.retryAfterMs : undefined;
      const what = "the status could not be written, and will be again";
      const level = this.#problems.meet(key, problemOf(error)) ? "warn" : "debug";
      logApiFailure(log[level].bind(log), { what, error, retryInMs, about: parseKey(key) });
      if (retryInMs === undefined) queue.addRateLimited(key);
      else queue.addAfter(key, retryInMs);
      return "Queued";
    }
  }

  #logReadError(error: unknown, retryInMs: number): void {
    const { log } = this.#options;
    if (error instanceof UnreadableError) {
      log.error(error.message);
      return;
    }
    const level = this.#problems.meet(reading, problemOf(error)) ? "error" : "debug";
    logApiFailure(log[level].bind(log), { what: "VirtualMachines could not be read", error, retryInMs });
  }

  #taken(key: Key, outcome: StatusOutcome<KubernetesObject>): VirtualMachine | "Queued" | undefined {
    const { queue, log } = this.#options;
    passed(`status/${outcome.kind}`);
    switch (outcome.kind) {
      case "Written": {
        queue.forget(key);
        if (this.#problems.end(key)) log.info(parseKey(key), "the status is written again");
        const written = parse(outcome.object);
        this.#reflector.accept(written);
        // An attempt that only the status has on record goes on when it is written.
        if (written.status.attempt?.recordedIn === "Status") queue.add(key);
        return written;
      }
      case "Conflict":
        queue.addRateLimited(key);
        return "Queued";
      case "Gone":
        this.#problems.end(key);
        return undefined;
      case "Rejected":
        log.error(
          parseKey(key),
          `the API server refused a status, is its CRD older than this controller? ${outcome.message}`,
        );
        return undefined;
      default:
        return outcome satisfies never;
    }
  }

  #noteConflict(key: Key, refused: VirtualMachine | undefined): void {
    const version = refused?.metadata.resourceVersion;
    const before = this.#conflicts.get(key);
    if (refused === undefined) this.#conflicts.delete(key);
    else if (before === undefined || before.version !== version)
      this.#conflicts.set(key, { version, sinceMs: performance.now() });
    else if (performance.now() - before.sinceMs >= conflictLastsMs) {
      this.#conflicts.delete(key);
      this.#reflector.relist();
    }
  }

  #isCurrent(key: Key, status: VirtualMachineStatus): boolean {
    const current = this.get(key)?.status;
    return current === undefined || isSameJson(current, status);
  }
}

function parse(object: KubernetesObject): VirtualMachine {
  const parsed = parseVirtualMachine(object);
  if (parsed.kind === "Valid") return parsed.virtualMachine;
  throw new UnreadableError(
    `VirtualMachine ${keyOf(object)} cannot be read and is left alone: ${parsed.message}`,
  );
}

/** A resource that the schema of this version does not allow; the CRD that is installed does. */
class UnreadableError extends Error {}

/** What a resource's domain is found by. */
function domainNames(virtualMachine: VirtualMachine): string[] {
  const reference = domainReference(virtualMachine);
  return [reference.kind === "UUID" ? reference.uuid : reference.name];
}

/** Where a resource says that its definition is; undefined where it has none or has it itself. */
function definitionReference({ metadata, spec }: VirtualMachine): DefinitionReference | undefined {
  const reference = spec.definition?.configMapKeyRef;
  if (reference === undefined) return undefined;
  const { namespace } = metadata;
  return { configMap: keyOf({ metadata: { namespace, name: reference.name } }), key: reference.key };
}

/** What a resource is found by when its definition changes. */
function configMapNames(virtualMachine: VirtualMachine): string[] {
  const reference = definitionReference(virtualMachine);
  return reference === undefined ? [] : [reference.configMap];
}

/** The echo of one's own write, which is known since its reply. A status that somebody else wrote is put right. */
function isEcho(now: VirtualMachine, before: VirtualMachine): boolean {
  return (
    now.metadata.generation === before.metadata.generation &&
    now.metadata.deletionTimestamp === before.metadata.deletionTimestamp &&
    isSameJson(now.metadata.annotations, before.metadata.annotations) &&
    isSameJson(now.status, before.status)
  );
}
