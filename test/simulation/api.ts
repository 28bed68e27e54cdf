import {
  annotations,
  parseVirtualMachine,
  type VirtualMachine,
  type VirtualMachineStatus,
} from "../../crds/virtual-machine.ts";
import { formatTimestamp } from "../../crds/timestamp.ts";
import type { Notice } from "../../controller/notice.ts";
import type { Definition, Key, VirtualMachines } from "../../controller/ports.ts";
import { isSameJson } from "../../src/kubernetes/json.ts";
import type { Timeline } from "./timeline.ts";

/** How the API server behaves towards the controller. */
export interface ApiDelays {
  /** From a change to a watch's telling of it. */
  watchMs: number;
  /** From the beginning of a status write to its reply. */
  writeMs: number;
}

/** A model of the API server with one resource in it. */
export class ModelApi {
  readonly notices: Notice[] = [];
  /** Every status that was stored. */
  readonly writes: VirtualMachineStatus[] = [];
  /** Other resources that name the same domain. */
  rivals: VirtualMachine[] = [];
  delays: ApiDelays = { watchMs: 0, writeMs: 0 };
  /** While true, status writes are lost. */
  losesWrites = false;
  /** What the ConfigMap holds that definitions refer to; undefined: there is none. */
  configMap: string | undefined;
  /** The highest restartGeneration that was ever there: one above it is a request that nobody made before. */
  highestGeneration = 0;
  readonly timeline: Timeline;
  readonly #clients = new Set<ModelClient>();
  #stored: VirtualMachine | undefined;
  #version = 1;
  #uids = 0;

  constructor(timeline: Timeline) {
    this.timeline = timeline;
  }

  /** The resource as the API server has it. */
  get stored(): VirtualMachine | undefined {
    return this.#stored;
  }

  /** The number of the newest change. */
  get version(): number {
    return this.#version;
  }

  /** A new process begins to watch: what it reads first may be as old as a copy that another one has. */
  connect(older?: ModelClient): ModelClient {
    const client = new ModelClient(this, older);
    this.#clients.add(client);
    client.told(this.#stored, this.#version);
    return client;
  }

  disconnect(client: ModelClient): void {
    this.#clients.delete(client);
  }

  /** Creates the resource. */
  create(spec: Record<string, unknown>): void {
    this.#uids += 1;
    this.#change(newResource(spec, `uid-${this.#uids}`, this.timeline.now().epochMs));
  }

  delete(): void {
    this.#change(undefined);
  }

  /** Changes the spec, as an applied manifest does. */
  apply(spec: Record<string, unknown>): void {
    const before = this.#stored;
    if (before === undefined) return;
    const changed = newResource({ ...before.spec, ...spec }, before.metadata.uid, 0);
    const metadata = { ...before.metadata, generation: before.metadata.generation + 1 };
    this.#change({ ...before, metadata, spec: changed.spec });
  }

  /** Changes annotations, as `kubectl annotate` does; undefined removes one. */
  annotate(changes: { [name in keyof typeof annotations]?: string | undefined }): void {
    const before = this.#stored;
    if (before === undefined) return;
    const values = { ...before.metadata.annotations };
    for (const [name, value] of Object.entries(changes)) {
      const annotation = annotations[name as keyof typeof annotations];
      if (value === undefined) delete values[annotation];
      else values[annotation] = value;
    }
    this.#change({ ...before, metadata: { ...before.metadata, annotations: values } });
  }

  /** The ConfigMap is written, or deleted: whoever refers to it is told. */
  changeConfigMap(value: string | undefined): void {
    this.configMap = value;
    for (const client of this.#clients) client.onChange();
  }

  /** The domain XML that a resource wants, in the model a name. */
  definitionOf({ spec }: VirtualMachine): Definition {
    if (spec.definition === undefined) return { kind: "None" };
    const xml = spec.definition.xml ?? this.configMap;
    return xml === undefined
      ? { kind: "Unavailable", message: "there is no such ConfigMap" }
      : { kind: "Given", xml };
  }

  /** An older backup of the API server's data is restored. */
  restore(backup: VirtualMachine | undefined): void {
    this.#change(backup);
  }

  /** Takes a status, unless the resource has changed since the version that it was computed from. */
  store(
    { metadata }: VirtualMachine,
    status: VirtualMachineStatus,
    writer: ModelClient,
  ): VirtualMachine | "Conflict" | "Lost" {
    const stored = this.#stored;
    if (this.losesWrites || stored === undefined) return "Lost";
    if (stored.metadata.resourceVersion !== metadata.resourceVersion) return "Conflict";
    this.writes.push(status);
    this.#stored = this.#versioned({ ...stored, status });
    for (const client of this.#clients) if (client !== writer) client.told(this.#stored, this.#version);
    return this.#stored;
  }

  #change(virtualMachine: VirtualMachine | undefined): void {
    this.#stored = virtualMachine && this.#versioned(virtualMachine);
    this.highestGeneration = Math.max(this.highestGeneration, virtualMachine?.spec.restartGeneration ?? 0);
    this.#version += 1;
    for (const client of this.#clients) client.told(this.#stored, this.#version);
  }

  #versioned(virtualMachine: VirtualMachine): VirtualMachine {
    this.#version += 1;
    const metadata = { ...virtualMachine.metadata, resourceVersion: String(this.#version) };
    return { ...virtualMachine, metadata };
  }
}

/**
 * What one process sees of the API server: its watched copy lags behind, its status writes take time and are refused
 * when the resource has changed meanwhile.
 */
export class ModelClient implements VirtualMachines {
  /** Told when the resource has changed, or a write has to be tried again. */
  onChange: () => void = () => {};
  /** How much later than another the process hears of a change, in milliseconds. */
  lagMs = 0;
  readonly #api: ModelApi;
  #cached: VirtualMachine | undefined;
  #cachedVersion = 0;
  #isCutOff = false;
  #isGone = false;
  #writing = false;
  /** Status writes in a row that met a newer version. */
  #conflicts = 0;
  #next: { virtualMachine: VirtualMachine; status: VirtualMachineStatus } | undefined;
  /** The last status that was stored: as the controller computed it, and as the API server keeps it. */
  #last: { computed: VirtualMachineStatus; stored: VirtualMachineStatus } | undefined;

  constructor(api: ModelApi, older?: ModelClient) {
    this.#api = api;
    if (older === undefined) return;
    this.#cached = older.#cached;
    this.#cachedVersion = older.#cachedVersion;
  }

  get(key: Key): VirtualMachine | undefined {
    const { namespace, name } = this.#cached?.metadata ?? {};
    return key === `${namespace}/${name}` ? this.#cached : undefined;
  }

  definition(virtualMachine: VirtualMachine): Definition {
    return this.#api.definitionOf(virtualMachine);
  }

  watches(): boolean {
    return true;
  }

  naming(): VirtualMachine[] {
    return [...(this.#cached === undefined ? [] : [this.#cached]), ...this.#api.rivals];
  }

  publish(_virtualMachine: VirtualMachine, notice: Notice): void {
    this.#api.notices.push(notice);
  }

  writeStatus(virtualMachine: VirtualMachine, status: VirtualMachineStatus): void {
    if (this.#writing) {
      this.#next = { virtualMachine, status };
      return;
    }
    if (isSameJson(this.#computed(), status)) return;
    const { writeMs } = this.#api.delays;
    if (writeMs === 0) {
      this.#store(virtualMachine, status);
      return;
    }
    this.#writing = true;
    this.#api.timeline.after(writeMs, () => {
      this.#writing = false;
      const next = this.#next;
      this.#next = undefined;
      const isStored = this.#store(virtualMachine, status);
      if (next === undefined || this.#isGone) return;
      const isOurs = next.virtualMachine.metadata.resourceVersion === virtualMachine.metadata.resourceVersion;
      const base = isStored && isOurs ? this.#cached : next.virtualMachine;
      if (base !== undefined) this.writeStatus(base, next.status);
    });
  }

  /** The process is gone, and its connections with it: what is being written may still arrive. */
  close(): void {
    this.#isGone = true;
    this.onChange = () => {};
    this.#api.disconnect(this);
  }

  /** The process cannot reach the API server, or can again: then it reads everything anew. */
  cutOff(isCutOff: boolean): void {
    this.#isCutOff = isCutOff;
    if (!isCutOff) this.told(this.#api.stored, this.#api.version);
  }

  /** The API server tells of a change. A watch tells in order, and never what a reply to a write has overtaken. */
  told(virtualMachine: VirtualMachine | undefined, version: number): void {
    const hear = () => {
      if (this.#isGone || this.#isCutOff || version <= this.#cachedVersion) return;
      this.#cachedVersion = version;
      this.#cached = virtualMachine;
      this.onChange();
    };
    const delayMs = this.#api.delays.watchMs + this.lagMs;
    if (delayMs === 0) hear();
    else this.#api.timeline.after(delayMs, hear);
  }

  #store(virtualMachine: VirtualMachine, status: VirtualMachineStatus): boolean {
    if (this.#isCutOff) return false;
    const written = asJson(status, this.#last?.computed, this.#last?.stored);
    const stored = this.#api.store(virtualMachine, written, this);
    if (stored === "Conflict") this.#tryAgain();
    if (stored === "Conflict" || stored === "Lost") return false;
    this.#conflicts = 0;
    this.#last = { computed: status, stored: written };
    this.#cached = stored;
    this.#cachedVersion = this.#api.version;
    // An attempt that only the status has on record goes on when it is written.
    if (status.attempt?.recordedIn === "Status") this.onChange();
    return true;
  }

  /** As the work queue does: after 5, 10, 20 ms and so on. */
  #tryAgain(): void {
    this.#api.timeline.after(5 * 2 ** Math.min(this.#conflicts, 10), () => this.onChange());
    this.#conflicts += 1;
  }

  /**
   * The status of the watched copy, where it is the last one that was written, as it was computed: most of it is then
   * the very same objects as in the next one, which makes them quick to compare.
   */
  #computed(): VirtualMachineStatus | undefined {
    const known = this.#cached?.status;
    return known === this.#last?.stored ? this.#last?.computed : known;
  }
}

function newResource(spec: Record<string, unknown>, uid: string, createdAtMs: number): VirtualMachine {
  const creationTimestamp = formatTimestamp(createdAtMs);
  const metadata = {
    namespace: "default",
    name: "vm",
    uid,
    resourceVersion: "0",
    generation: 1,
    creationTimestamp,
  };
  const parsed = parseVirtualMachine({ metadata, spec });
  if (parsed.kind === "Invalid") throw new Error(parsed.message);
  return parsed.virtualMachine;
}

/**
 * A value as it comes back from the API server: without fields that are undefined, and of nobody's objects. What is
 * the same object as before has the same copy as before: most of a status is its history.
 */
function asJson<T>(value: T, before: unknown, copyBefore: unknown): T {
  if (value === before) return copyBefore as T;
  if (typeof value !== "object" || value === null) return value;
  const [known, copies] = [before ?? {}, copyBefore ?? {}] as [
    Record<string, unknown>,
    Record<string, unknown>,
  ];
  const isArray = Array.isArray(value);
  const copy = (isArray ? [] : {}) as Record<string, unknown>;
  for (const [name, field] of Object.entries(value)) {
    if (field !== undefined || isArray) copy[name] = asJson(field, known[name], copies[name]);
  }
  return Object.freeze(copy) as T;
}
