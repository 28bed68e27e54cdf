import type { VirtualMachine, VirtualMachineStatus } from "../../crds/virtual-machine.ts";
import type { Decision } from "../../controller/decision.ts";
import type { Domain, Effect, Glance, Look, Outcome, Performance, Ports } from "../../controller/ports.ts";
import { Reconciler } from "../../controller/reconcile.ts";
import { ModelApi, type ModelClient } from "./api.ts";
import { ModelHypervisor, type Guest } from "./domain.ts";
import { Term } from "./lease.ts";
import { Timeline } from "./timeline.ts";

/** The process died at a planned point: nothing of it is left but what it did. */
export class Crash extends Error {}

/** How long the controller's calls to libvirt take; while one is under way, anything may happen. */
export interface CallDelays {
  lookMs: number;
  performMs: number;
}

/** What becomes of the process at its next effect; times in milliseconds. */
export type Stall =
  /** It stands still between its last check and the effect. */
  | { at: "BeforeEffect"; forMs: number }
  /** The effect is sent and happens late; meanwhile the process stands still, or is dead for good. */
  | { at: "BehindEffect"; forMs: number; lateMs: number };

/** libvirtd drops a client that has been silent for so long, so that it sends nothing any more. */
const keepaliveMs = 30_000;

/** What a process does that only the holder of the lease may do. */
export interface Act {
  what: string;
  /** Whether it holds the lease. */
  isHeld: boolean;
  /** Whether it starts a guest of an attempt that it has begun itself. */
  isOwnStart: boolean;
}

/** One process of the controller, with what it sees of the API server. */
interface Process {
  readonly reconciler: Reconciler;
  readonly client: ModelClient;
  readonly term: Term;
  /** Attempts that it has marked. */
  readonly began: Set<string>;
  isDead: boolean;
  isEnding: boolean;
  /** Whether a pass is under way. */
  isBusy: boolean;
  isCutOff: boolean;
  standsStillUntilMs: number;
  stall: Stall | undefined;
  dueAtMs: number | undefined;
  wakesAtMs: number | undefined;
  /** The attempt that it works on. */
  attempt: string;
}

/**
 * One resource, one domain, the processes of the controller, and virtual time. One process works; another one comes
 * when it dies, at once, or once a stall or a cut has brought the lease into play, when it has expired.
 */
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
  /** How much later than the first one the next process hears of changes, in milliseconds. */
  standbyLagMs = 0;
  /** Told of every decision, with the resource as the process that decides has it. */
  onDecision: (decision: Decision, seen: VirtualMachine | undefined) => void = () => {};
  /** Told of every effect with its outcome. */
  onPerformance: (performance: Performance) => void = () => {};
  onAct: (act: Act) => void = () => {};
  /** Told when another process has taken the lease. */
  onTakeover: () => void = () => {};
  /** Whether the process that decides was told to end. */
  isEnding = false;
  #processes: Process[];
  /** The process that has the lease as the API server knows it. */
  #holder: Process;
  /** Whether a process that dies is only followed when its lease has expired. */
  #isElected = false;
  /** Passes that go on without the time passing. */
  #moving = 0;
  #onStill: () => void = () => {};
  /** What a pass threw that is no planned death. */
  #failure: { error: unknown } | undefined;
  #nonces = 0;

  /** Made with the fields of a spec; the domain runs unless it is said to be off. */
  constructor(spec: Record<string, unknown> = {}, options: { off?: boolean; guest?: Guest } = {}) {
    if (options.guest !== undefined) this.hypervisor.guest = options.guest;
    this.#holder = this.#newProcess(this.api.connect(), new Term(this.timeline));
    this.#processes = [this.#holder];
    this.hypervisor.onEvent = () => this.enqueue();
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
    const dead = this.#holder;
    this.#die(dead);
    if (this.#isElected) this.#expire(dead, 0);
    else this.#follow(dead, new Term(this.timeline));
  }

  /** The controller process dies, and another one has to wait until its lease expires. */
  kill(): void {
    this.#isElected = true;
    this.restartController();
  }

  /** The controller process is told to end. */
  endController(): void {
    this.#holder.isEnding = true;
    this.#holder.reconciler.end();
  }

  /** The controller process stands still, in the middle of whatever it does; another one takes its lease. */
  standStill(forMs: number): void {
    this.#isElected = true;
    this.#freeze(this.#holder, forMs);
  }

  /** What becomes of the controller process at its next effect. */
  plan(stall: Stall): void {
    this.#isElected = true;
    this.#holder.stall = stall;
  }

  /** The controller process cannot reach the API server: another one takes its lease. */
  cutOff(forMs: number): void {
    this.#isElected = true;
    const process = this.#holder;
    process.isCutOff = true;
    process.client.cutOff(true);
    this.#fallSilent(process);
    this.timeline.after(forMs, () => {
      process.isCutOff = false;
      process.client.cutOff(false);
      this.#speak(process);
    });
  }

  /** What is planned for the processes happens no more. */
  heal(): void {
    this.crashAtPoint = undefined;
    for (const process of this.#processes) process.stall = undefined;
  }

  /** Time passes, and what the program looks for from time to time is then looked for. */
  async rest(forMs: number): Promise<void> {
    await this.settle(forMs);
    this.compareAgain();
    await this.settle();
  }

  /** The program looks, as it does from time to time, for machines that were compared with their next start long ago. */
  compareAgain(): void {
    for (const process of this.#processes) {
      if (isAny(process.reconciler.outdated())) process.dueAtMs = 0;
    }
  }

  /** libvirt tells that a pool or a network was started, or the like. */
  hostTells(): void {
    for (const process of this.#processes) {
      if (isAny(process.reconciler.hostChanged())) process.dueAtMs = 0;
    }
  }

  enqueue(): void {
    for (const process of this.#processes) process.dueAtMs = 0;
  }

  /** Runs until nothing is due and nothing is planned, or for a stretch of virtual time. */
  async settle(forMs = Number.POSITIVE_INFINITY): Promise<void> {
    const endMs = this.timeline.now().monotonicMs + forMs;
    for (let steps = 0; steps < 20_000; steps += 1) {
      for (const process of this.#processes) if (this.#isDue(process)) void this.#pass(process);
      if (this.#moving > 0) await this.#stillness();
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#processes.some((process) => this.#isDue(process))) continue;
      for (const process of this.#processes) this.#planWakeUp(process);
      if (!this.timeline.step(endMs)) return;
    }
    throw new Error(`it does not come to rest: ${this.trace.slice(-20).join(", ")}`);
  }

  get #nowMs(): number {
    return this.timeline.now().monotonicMs;
  }

  #planWakeUp(process: Process): void {
    const { dueAtMs } = process;
    if (process.isBusy || dueAtMs === undefined || dueAtMs === process.wakesAtMs) return;
    process.wakesAtMs = dueAtMs;
    this.timeline.at(dueAtMs, () => {});
  }

  #isDue({ isBusy, dueAtMs, standsStillUntilMs }: Process): boolean {
    return !isBusy && dueAtMs !== undefined && Math.max(dueAtMs, standsStillUntilMs) <= this.#nowMs;
  }

  /** Never rejects: what the controller throws is thrown by settle(). */
  async #pass(process: Process): Promise<void> {
    process.dueAtMs = undefined;
    process.isBusy = true;
    this.#moving += 1;
    try {
      if (process.client.naming().length === 0) {
        await process.reconciler.adoptOrphan(this.hypervisor.domain);
        // A mark that the previous holder of the lease sent may be written late, and no event tells of it.
        if (this.#nowMs < process.term.predecessorGoneAtMs)
          process.dueAtMs = process.term.predecessorGoneAtMs;
      }
      const again = await process.reconciler.reconcile("default/vm");
      if (again !== undefined)
        process.dueAtMs = Math.min(process.dueAtMs ?? Number.POSITIVE_INFINITY, again.atMs);
    } catch (error) {
      if (!(error instanceof Crash)) this.#failure = { error };
      else if (!process.isDead) {
        this.crashAtPoint = undefined;
        this.api.losesWrites = false;
        this.restartController();
      }
    }
    process.isBusy = false;
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

  #die(process: Process): void {
    process.isDead = true;
    process.client.close();
    process.term.fallSilent();
    this.#processes = this.#processes.filter((one) => one !== process);
  }

  #freeze(process: Process, forMs: number): void {
    process.standsStillUntilMs = this.#nowMs + forMs;
    this.#fallSilent(process);
    this.timeline.at(process.standsStillUntilMs, () => this.#speak(process));
  }

  #fallSilent(process: Process): void {
    process.term.fallSilent();
    this.#expire(process, this.#nonces % 2000);
  }

  #speak(process: Process): void {
    if (process.isDead || process.isCutOff || process.standsStillUntilMs > this.#nowMs) return;
    process.term.speak();
    process.dueAtMs = 0;
  }

  /** Another process, which asks now and then, finds that the lease has expired. */
  #expire(process: Process, foundAfterMs: number): void {
    this.timeline.at(process.term.endsAtMs + foundAfterMs, () => {
      // It may have spoken meanwhile, and fallen silent again.
      if (process !== this.#holder || !process.term.isSilent || this.#nowMs < process.term.endsAtMs) return;
      process.term.end();
      this.#follow(process, new Term(this.timeline, process.term));
      this.onTakeover();
    });
  }

  #follow(process: Process, term: Term): void {
    const client = this.api.connect(process.client);
    if (this.#isElected) client.lagMs = this.standbyLagMs;
    this.#holder = this.#newProcess(client, term);
    this.#processes = [...this.#processes, this.#holder];
    this.#holder.dueAtMs = 0;
  }

  #newProcess(client: ModelClient, term: Term): Process {
    const { domain: before } = this.hypervisor;
    const { hypervisor, timeline } = this;
    const acts = (what: string, effect?: Effect["kind"]) => {
      const isOwnStart = effect === "Start" && process.began.has(process.attempt);
      this.onAct({ what, isHeld: term.isHeld(), isOwnStart });
    };
    const ports: Ports = {
      virtualMachines: {
        get: (key) => client.get(key),
        naming: () => client.naming(),
        watches: () => client.watches(),
        definition: (virtualMachine) => client.definition(virtualMachine),
        publish: (virtualMachine, notice) => {
          acts("publishes an Event");
          client.publish(virtualMachine, notice);
        },
        writeStatus: (virtualMachine, status) => {
          acts("writes a status");
          client.writeStatus(virtualMachine, status);
        },
      },
      hypervisor: {
        glance: async (reference, comparison) =>
          toldSince(before, await hypervisor.glance(reference, comparison)),
        look: async (reference, question) => {
          const seen = await hypervisor.look(reference, question);
          await this.#takes(process, this.delays.lookMs);
          return toldSince(before, seen);
        },
        perform: (domain, effect) => {
          acts(effect.kind, effect.kind);
          if (effect.kind === "Mark") process.began.add(effect.mark.attempt);
          return this.#perform(process, domain, effect);
        },
        repair: (repair) => {
          acts("Repair", "Repair");
          return this.#perform(process, hypervisor.domain, { kind: "Repair", repair });
        },
        defineNew: (_reference, definition) => {
          acts("Define", "Define");
          return this.#perform(process, hypervisor.domain, { kind: "Define", definition, replaces: false });
        },
      },
      lease: term,
      clock: { now: () => timeline.now(), nonce: () => this.#nonce() },
      cluster: "cluster",
      journal: {
        decided: (key, decision) => {
          process.attempt = decision.attempt?.id ?? "";
          this.isEnding = process.isEnding;
          this.trace.push(decision.rule);
          this.onDecision(decision, client.get(key));
        },
        performed: (performance) => this.onPerformance(performance),
      },
    };
    const process: Process = {
      reconciler: new Reconciler(ports),
      client,
      term,
      began: new Set(),
      isDead: false,
      isEnding: false,
      isBusy: false,
      isCutOff: false,
      standsStillUntilMs: Number.NEGATIVE_INFINITY,
      stall: undefined,
      dueAtMs: undefined,
      wakesAtMs: undefined,
      attempt: "",
    };
    client.onChange = () => {
      process.dueAtMs = 0;
    };
    return process;
  }

  async #perform(process: Process, domain: Domain, effect: Effect): Promise<Outcome> {
    this.#crashWhenDue(process);
    const { stall, attempt } = process;
    process.stall = undefined;
    const askedAtMs = this.#nowMs;
    if (stall?.at === "BeforeEffect") this.#freeze(process, stall.forMs);
    await this.#takes(process, this.delays.performMs);
    if (this.#nowMs > askedAtMs + keepaliveMs) return dropped("NotSent");
    const sentAtMs = this.#nowMs;
    if (stall?.at === "BehindEffect") {
      this.#freeze(process, stall.forMs);
      await this.#passes(stall.lateMs);
    }
    this.hypervisor.actor = attempt;
    const outcome = await this.hypervisor.perform(domain, effect);
    await this.#takes(process, this.delays.performMs);
    this.#crashWhenDue(process);
    return this.#nowMs > sentAtMs + keepaliveMs ? dropped("Unanswered") : outcome;
  }

  /** A call takes its time, and longer where the process stands still; one that is gone does nothing more. */
  async #takes(process: Process, ms: number): Promise<void> {
    await this.#passes(ms);
    while (process.standsStillUntilMs > this.#nowMs)
      await this.#passes(process.standsStillUntilMs - this.#nowMs);
    if (process.isDead) throw new Crash();
  }

  /** Resolves when so much time has passed; nothing of the pass goes on meanwhile. */
  async #passes(ms: number): Promise<void> {
    if (ms <= 0) return;
    this.#stops();
    await new Promise<void>((resolve) => {
      this.timeline.after(ms, () => {
        this.#moving += 1;
        resolve();
      });
    });
  }

  #crashWhenDue(process: Process): void {
    if (this.crashAtPoint === undefined || process !== this.#holder) return;
    if (this.crashAtPoint === 0) throw new Crash();
    this.crashAtPoint -= 1;
  }

  #nonce(): string {
    this.#nonces += 1;
    return this.#nonces.toString(16).padStart(32, "0");
  }
}

function isAny(keys: Iterable<unknown>): boolean {
  return keys[Symbol.iterator]().next().done !== true;
}

function dropped(kind: "NotSent" | "Unanswered"): Outcome {
  return { kind, message: "libvirtd has closed the connection of a client that was silent" };
}

/** What libvirt told before a process was there, it has not heard. */
function toldSince<T extends Glance | Look>(before: Domain, seen: T): T {
  if (seen.kind !== "Present") return seen;
  const { domain } = seen;
  const lastStop = domain.lastStop === before.lastStop ? undefined : domain.lastStop;
  const lastReboot = domain.lastReboot === before.lastReboot ? undefined : domain.lastReboot;
  const lastDefined = domain.lastDefined === before.lastDefined ? undefined : domain.lastDefined;
  return { ...seen, domain: { ...domain, lastStop, lastReboot, lastDefined } };
}
