import { isDeepStrictEqual } from "node:util";
import {
  annotations,
  parseVirtualMachine,
  type VirtualMachine,
  type VirtualMachineStatus,
} from "../../crds/virtualmachine.ts";
import { formatTimestamp } from "../../crds/timestamp.ts";
import type { Notice } from "../../controller/notice.ts";
import type { Clock, Journal, Key, Ports, VirtualMachines } from "../../controller/ports.ts";
import { Reconciler } from "../../controller/reconcile.ts";
import { ModelHypervisor } from "./domain.ts";
import { Timeline } from "./timeline.ts";

const key: Key = "default/vm";

/** The process died at a planned point: nothing of it is left but what it did. */
export class Crash extends Error {}

/** One resource, one domain, one controller process at a time, and virtual time. */
export class World implements VirtualMachines {
  readonly timeline = new Timeline();
  readonly hypervisor = new ModelHypervisor(this.timeline, "vm");
  readonly notices: Notice[] = [];
  /** Other resources that name the same domain. */
  rivals: VirtualMachine[] = [];
  /** Every status that reached the API server. */
  readonly writes: VirtualMachineStatus[] = [];
  /** Rules of all decisions, in order. */
  readonly trace: string[] = [];
  /** While true, status writes are lost with the process that made them. */
  losesWrites = false;
  /** The process dies instead of making this effect or the one after it; counts down. */
  crashAfterEffects: number | undefined;
  #resource: VirtualMachine | undefined;
  #process: Reconciler;
  #dueAtMs: number | undefined;
  #nonces = 0;
  #version = 1;
  #uids = 1;

  /** Made with the fields of a spec; the domain runs unless it is said to be off. */
  constructor(spec: Record<string, unknown> = {}, options: { off?: boolean } = {}) {
    this.#resource = resource(spec);
    this.#process = this.#newProcess();
    this.hypervisor.onEvent = () => this.enqueue();
    if (options.off !== true) this.hypervisor.start();
    this.enqueue();
  }

  get status(): VirtualMachineStatus {
    if (this.#resource === undefined) throw new Error("the resource was deleted");
    return this.#resource.status;
  }

  get(_key: Key): VirtualMachine | undefined {
    return this.#resource;
  }

  writeStatus(virtualMachine: VirtualMachine, status: VirtualMachineStatus): void {
    const written = JSON.parse(JSON.stringify(status)) as VirtualMachineStatus;
    if (this.losesWrites || this.#resource?.metadata.uid !== virtualMachine.metadata.uid) return;
    if (isDeepStrictEqual(this.#resource.status, written)) return;
    this.writes.push(written);
    this.#resource = { ...this.#resource, status: written };
  }

  naming(): VirtualMachine[] {
    return [...(this.#resource === undefined ? [] : [this.#resource]), ...this.rivals];
  }

  publish(_virtualMachine: VirtualMachine, notice: Notice): void {
    this.notices.push(notice);
  }

  /** Changes the spec, as an applied manifest does. */
  apply(spec: Record<string, unknown>): void {
    const { metadata, spec: before, status } = this.#live();
    const generation = metadata.generation + 1;
    const changed = resource({ ...before, ...spec });
    this.#resource = { ...changed, metadata: { ...changed.metadata, ...metadata, generation }, status };
    this.enqueue();
  }

  /** Changes annotations, as `kubectl annotate` does; undefined removes one. */
  annotate(changes: { [name in keyof typeof annotations]?: string | undefined }): void {
    const virtualMachine = this.#live();
    const values = { ...virtualMachine.metadata.annotations };
    for (const [name, value] of Object.entries(changes)) {
      setOrRemove(values, annotations[name as keyof typeof annotations], value);
    }
    this.#resource = { ...virtualMachine, metadata: { ...virtualMachine.metadata, annotations: values } };
    this.enqueue();
  }

  /** Creates the resource anew, after it was deleted. */
  create(spec: Record<string, unknown>): void {
    this.#uids += 1;
    const created = resource(spec);
    this.#resource = { ...created, metadata: { ...created.metadata, uid: `uid-${this.#uids}` } };
    this.enqueue();
  }

  delete(): void {
    this.#resource = undefined;
    this.enqueue();
  }

  /** The controller process dies and a new one starts. */
  restartController(): void {
    this.#process = this.#newProcess();
    this.enqueue();
  }

  /** The controller process is told to end. */
  endController(): void {
    this.#process.end();
  }

  enqueue(): void {
    this.#dueAtMs = 0;
  }

  /** Runs until nothing is due and nothing is planned, or for a stretch of virtual time. */
  async settle(forMs = Number.POSITIVE_INFINITY): Promise<void> {
    const endMs = this.timeline.now().monotonicMs + forMs;
    for (let steps = 0; steps < 10_000; steps += 1) {
      if (this.#dueAtMs !== undefined && this.#dueAtMs <= this.timeline.now().monotonicMs) {
        await this.#reconcile();
        continue;
      }
      if (this.#dueAtMs !== undefined) this.timeline.at(this.#dueAtMs, () => {});
      if (!this.timeline.step(endMs)) return;
    }
    throw new Error(`it does not come to rest: ${this.trace.slice(-20).join(", ")}`);
  }

  async #reconcile(): Promise<void> {
    this.#dueAtMs = undefined;
    try {
      const again = await this.#process.reconcile(key);
      if (again !== undefined) this.#dueAtMs ??= again.atMs;
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      this.crashAfterEffects = undefined;
      this.losesWrites = false;
      this.restartController();
    }
  }

  #newProcess(): Reconciler {
    const clock: Clock = { now: () => this.timeline.now(), nonce: () => this.#nonce() };
    const journal: Journal = { decided: (_key, { rule }) => void this.trace.push(rule), performed: () => {} };
    const { hypervisor } = this;
    const ports: Ports = {
      virtualMachines: this,
      hypervisor: {
        glance: (reference) => hypervisor.glance(reference),
        look: (reference, attempt) => hypervisor.look(reference, attempt),
        perform: async (domain, effect) => {
          this.#crashWhenDue();
          const outcome = await hypervisor.perform(domain, effect);
          this.#crashWhenDue();
          return outcome;
        },
      },
      clock,
      journal,
    };
    return new Reconciler(ports);
  }

  #crashWhenDue(): void {
    if (this.crashAfterEffects === undefined) return;
    if (this.crashAfterEffects === 0) throw new Crash();
    this.crashAfterEffects -= 1;
  }

  #nonce(): string {
    this.#nonces += 1;
    return this.#nonces.toString(16).padStart(32, "0");
  }

  #live(): VirtualMachine {
    if (this.#resource === undefined) throw new Error("the resource was deleted");
    this.#version += 1;
    return {
      ...this.#resource,
      metadata: { ...this.#resource.metadata, resourceVersion: `${this.#version}` },
    };
  }
}

function resource(spec: Record<string, unknown>): VirtualMachine {
  const metadata = {
    namespace: "default",
    name: "vm",
    uid: "uid-1",
    resourceVersion: "1",
    generation: 1,
    creationTimestamp: formatTimestamp(0),
  };
  const parsed = parseVirtualMachine({ metadata, spec });
  if (parsed.kind === "Invalid") throw new Error(parsed.message);
  return parsed.virtualMachine;
}

function setOrRemove(values: Record<string, string>, name: string, value: string | undefined): void {
  if (value === undefined) delete values[name];
  else values[name] = value;
}
