import type { VirtualMachine, VirtualMachineStatus } from "../../crds/virtual-machine.ts";
import type { Decision } from "../../controller/decision.ts";
import type { Performance, Ports } from "../../controller/ports.ts";
import { Reconciler } from "../../controller/reconcile.ts";
import { ModelApi } from "./api.ts";
import { ModelHypervisor, type Guest } from "./domain.ts";
import { Timeline } from "./timeline.ts";

/** The process died at a planned point: nothing of it is left but what it did. */
export class Crash extends Error {}

/** How long the controller's calls to libvirt take; while one is under way, anything may happen. */
export interface CallDelays {
  lookMs: number;
  performMs: number;
}

/** One resource, one domain, one controller process at a time, and virtual time. */
export class World {
  readonly timeline = new Timeline();
  readonly hypervisor = new ModelHypervisor(this.timeline, "vm");
  readonly api = new ModelApi(this.timeline);
  /** Rules of all decisions, in order. */
  readonly trace: string[] = [];
  /** The process dies at this point: there is one before and one after each effect. Counts down. */
  crashAtPoint: number | undefined;
  delays: CallDelays = { lookMs: 0, performMs: 0 };
  /** The resource as an old backup has it. */
  backup: VirtualMachine | undefined;
  /** Told of every decision, with the resource as the process that decides has it. */
  onDecision: (decision: Decision, seen: VirtualMachine | undefined) => void = () => {};
  /** Told of every effect with its outcome. */
  onPerformance: (performance: Performance) => void = () => {};
  /** Whether the process was told to end. */
  isEnding = false;
  #process: Reconciler;
  /** The pass that is under way; that of a process that is gone is another one. */
  #running: symbol | undefined;
  /** Passes that go on without the time passing. */
  #moving = 0;
  #onStill: () => void = () => {};
  /** What a pass threw that is no planned death. */
  #failure: { error: unknown } | undefined;
  #dueAtMs: number | undefined;
  #wakesAtMs: number | undefined;
  #nonces = 0;

  /** Made with the fields of a spec; the domain runs unless it is said to be off. */
  constructor(spec: Record<string, unknown> = {}, options: { off?: boolean; guest?: Guest } = {}) {
    if (options.guest !== undefined) this.hypervisor.guest = options.guest;
    this.#process = this.#newProcess();
    this.hypervisor.onEvent = () => this.enqueue();
    this.api.onChange = () => this.enqueue();
    this.api.create(spec);
    if (options.off !== true) this.hypervisor.start();
  }

  get status(): VirtualMachineStatus {
    return this.#resource.status;
  }

  get #resource(): VirtualMachine {
    if (this.api.stored === undefined) throw new Error("the resource was deleted");
    return this.api.stored;
  }

  /** The controller process dies and a new one starts. */
  restartController(): void {
    this.#process = this.#newProcess();
    this.isEnding = false;
    this.#running = undefined;
    this.api.forgetWriter();
    this.enqueue();
  }

  /** The controller process is told to end. */
  endController(): void {
    this.isEnding = true;
    this.#process.end();
  }

  enqueue(): void {
    this.#dueAtMs = 0;
  }

  /** Runs until nothing is due and nothing is planned, or for a stretch of virtual time. */
  async settle(forMs = Number.POSITIVE_INFINITY): Promise<void> {
    const endMs = this.timeline.now().monotonicMs + forMs;
    for (let steps = 0; steps < 20_000; steps += 1) {
      if (this.#running === undefined && this.#isDue()) this.#reconcile();
      if (this.#moving > 0) await this.#stillness();
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#running === undefined && this.#isDue()) continue;
      if (this.#running === undefined) this.#planWakeUp();
      if (!this.timeline.step(endMs)) return;
    }
    throw new Error(`it does not come to rest: ${this.trace.slice(-20).join(", ")}`);
  }

  #planWakeUp(): void {
    if (this.#dueAtMs === undefined || this.#dueAtMs === this.#wakesAtMs) return;
    this.#wakesAtMs = this.#dueAtMs;
    this.timeline.at(this.#dueAtMs, () => {});
  }

  #isDue(): boolean {
    return this.#dueAtMs !== undefined && this.#dueAtMs <= this.timeline.now().monotonicMs;
  }

  #reconcile(): void {
    this.#dueAtMs = undefined;
    const running = Symbol("pass");
    this.#running = running;
    void this.#pass(this.#process, running);
  }

  /** Never rejects: what the controller throws is thrown by settle(). */
  async #pass(process: Reconciler, running: symbol): Promise<void> {
    this.#moving += 1;
    try {
      if (this.api.naming().length === 0) await process.adoptOrphan(this.hypervisor.domain);
      const again = await process.reconcile("default/vm");
      if (again !== undefined && process === this.#process) {
        this.#dueAtMs = Math.min(this.#dueAtMs ?? Number.POSITIVE_INFINITY, again.atMs);
      }
    } catch (error) {
      if (!(error instanceof Crash)) this.#failure = { error };
      else if (process === this.#process) {
        this.crashAtPoint = undefined;
        this.api.losesWrites = false;
        this.restartController();
      }
    }
    if (this.#running === running) this.#running = undefined;
    this.#stops();
  }

  /** A pass has ended, or waits for the time to pass. */
  #stops(): void {
    this.#moving -= 1;
    if (this.#moving === 0) this.#onStill();
  }

  /** Resolves when no pass goes on without the time passing. */
  #stillness(): Promise<void> {
    return new Promise((resolve) => {
      this.#onStill = resolve;
    });
  }

  #newProcess(): Reconciler {
    const { hypervisor, timeline, api } = this;
    let attempt = "";
    /** A process that is gone does nothing more. */
    const alive = () => {
      if (process !== this.#process) throw new Crash();
    };
    const ports: Ports = {
      virtualMachines: {
        get: (key) => api.get(key),
        naming: () => api.naming(),
        watches: () => api.watches(),
        publish: (virtualMachine, notice) => api.publish(virtualMachine, notice),
        writeStatus: (virtualMachine, status) => api.writeStatus(virtualMachine, status),
      },
      hypervisor: {
        glance: (reference) => hypervisor.glance(reference),
        look: async (reference, question) => {
          const seen = await hypervisor.look(reference, question);
          await this.#takes(this.delays.lookMs);
          alive();
          return seen;
        },
        perform: async (domain, effect) => {
          this.#crashWhenDue();
          await this.#takes(this.delays.performMs);
          alive();
          hypervisor.actor = attempt;
          const outcome = await hypervisor.perform(domain, effect);
          await this.#takes(this.delays.performMs);
          alive();
          this.#crashWhenDue();
          return outcome;
        },
      },
      clock: { now: () => timeline.now(), nonce: () => this.#nonce() },
      cluster: "cluster",
      journal: {
        decided: (key, decision) => {
          attempt = decision.attempt?.id ?? "";
          this.trace.push(decision.rule);
          this.onDecision(decision, api.get(key));
        },
        performed: (performance) => this.onPerformance(performance),
      },
    };
    const process = new Reconciler(ports);
    return process;
  }

  /** A call takes its time; nothing of the pass goes on meanwhile. */
  async #takes(ms: number): Promise<void> {
    if (ms <= 0) return;
    this.#stops();
    await new Promise<void>((resolve) => {
      this.timeline.after(ms, () => {
        this.#moving += 1;
        resolve();
      });
    });
  }

  #crashWhenDue(): void {
    if (this.crashAtPoint === undefined) return;
    if (this.crashAtPoint === 0) throw new Crash();
    this.crashAtPoint -= 1;
  }

  #nonce(): string {
    this.#nonces += 1;
    return this.#nonces.toString(16).padStart(32, "0");
  }
}
