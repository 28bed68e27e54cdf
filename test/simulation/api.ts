import {
  annotations,
  parseVirtualMachine,
  type VirtualMachine,
  type VirtualMachineStatus,
} from "../../crds/virtual-machine.ts";
import { formatTimestamp } from "../../crds/timestamp.ts";
import type { Notice } from "../../controller/notice.ts";
import type { Key, VirtualMachines } from "../../controller/ports.ts";
import { isSameJson } from "../../src/kubernetes/json.ts";
import type { Timeline } from "./timeline.ts";

/** How the API server behaves towards the controller. */
export interface ApiDelays {
  /** From a change to the watch's telling of it. */
  watchMs: number;
  /** From the beginning of a status write to its reply. */
  writeMs: number;
}

/**
 * A model of the API server with one resource in it: the watched copy lags behind, status writes take time and
 * are refused when the resource has changed meanwhile.
 */
export class ModelApi implements VirtualMachines {
  readonly notices: Notice[] = [];
  /** Every status that was stored. */
  readonly writes: VirtualMachineStatus[] = [];
  /** Other resources that name the same domain. */
  rivals: VirtualMachine[] = [];
  delays: ApiDelays = { watchMs: 0, writeMs: 0 };
  /** While true, status writes are lost. */
  losesWrites = false;
  /** Told when the resource has changed, or a write has to be tried again. */
  onChange: () => void = () => {};
  /** The highest restartGeneration that was ever there: one above it is a request that nobody made before. */
  highestGeneration = 0;
  #stored: VirtualMachine | undefined;
  #cached: VirtualMachine | undefined;
  #writing = false;
  #next: { virtualMachine: VirtualMachine; status: VirtualMachineStatus } | undefined;
  /** The last status that was stored: as the controller computed it, and as the API server keeps it. */
  #last: { computed: VirtualMachineStatus; stored: VirtualMachineStatus } | undefined;
  #version = 1;
  #cachedVersion = 0;
  #uids = 0;
  readonly #timeline: Timeline;

  constructor(timeline: Timeline) {
    this.#timeline = timeline;
  }

  /** The resource as the API server has it. */
  get stored(): VirtualMachine | undefined {
    return this.#stored;
  }

  get(_key: Key): VirtualMachine | undefined {
    return this.#cached;
  }

  watches(): boolean {
    return true;
  }

  naming(): VirtualMachine[] {
    return [...(this.#cached === undefined ? [] : [this.#cached]), ...this.rivals];
  }

  publish(_virtualMachine: VirtualMachine, notice: Notice): void {
    this.notices.push(notice);
  }

  writeStatus(virtualMachine: VirtualMachine, status: VirtualMachineStatus): void {
    if (this.#writing) {
      this.#next = { virtualMachine, status };
      return;
    }
    if (isSameJson(this.#computed(), status)) return;
    if (this.delays.writeMs === 0) {
      this.#store(virtualMachine, status);
      return;
    }
    this.#writing = true;
    this.#timeline.after(this.delays.writeMs, () => {
      this.#writing = false;
      const next = this.#next;
      this.#next = undefined;
      const isStored = this.#store(virtualMachine, status);
      if (next === undefined) return;
      const isOurs = next.virtualMachine.metadata.resourceVersion === virtualMachine.metadata.resourceVersion;
      const base = isStored && isOurs ? this.#stored : next.virtualMachine;
      if (base !== undefined) this.writeStatus(base, next.status);
    });
  }

  /** The controller's connections are gone with it: what is being written may still arrive. */
  forgetWriter(): void {
    this.#next = undefined;
  }

  /** Creates the resource. */
  create(spec: Record<string, unknown>): void {
    this.#uids += 1;
    this.#change(newResource(spec, `uid-${this.#uids}`, this.#timeline.now().epochMs));
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

  /** An older backup of the API server's data is restored. */
  restore(backup: VirtualMachine | undefined): void {
    this.#change(backup);
  }

  #change(virtualMachine: VirtualMachine | undefined): void {
    this.#stored = virtualMachine && this.#versioned(virtualMachine);
    this.highestGeneration = Math.max(this.highestGeneration, virtualMachine?.spec.restartGeneration ?? 0);
    const told = this.#stored;
    this.#version += 1;
    const version = this.#version;
    const tell = () => {
      // A watch tells in order, and never what a reply to a write has overtaken.
      if (version < this.#cachedVersion) return;
      this.#cachedVersion = version;
      this.#cached = told;
      this.onChange();
    };
    if (this.delays.watchMs === 0) tell();
    else this.#timeline.after(this.delays.watchMs, tell);
  }

  #store({ metadata }: VirtualMachine, status: VirtualMachineStatus): boolean {
    const stored = this.#stored;
    if (this.losesWrites || stored === undefined) return false;
    if (stored.metadata.resourceVersion !== metadata.resourceVersion) {
      this.#timeline.after(5, () => this.onChange());
      return false;
    }
    const written = asJson(status, this.#last?.computed, this.#last?.stored);
    this.#last = { computed: status, stored: written };
    this.writes.push(written);
    this.#stored = this.#versioned({ ...stored, status: written });
    this.#cached = this.#stored;
    this.#cachedVersion = this.#version;
    // An attempt that only the status has on record goes on when it is written.
    if (status.attempt?.recordedIn === "Status") this.onChange();
    return true;
  }

  /**
   * The status of the watched copy, where it is the last one that was written, as it was computed: most of it is then
   * the very same objects as in the next one, which makes them quick to compare.
   */
  #computed(): VirtualMachineStatus | undefined {
    const known = this.#cached?.status;
    return known === this.#last?.stored ? this.#last?.computed : known;
  }

  #versioned(virtualMachine: VirtualMachine): VirtualMachine {
    this.#version += 1;
    const metadata = { ...virtualMachine.metadata, resourceVersion: String(this.#version) };
    return { ...virtualMachine, metadata };
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
