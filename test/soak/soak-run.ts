import { virtualMachineResource } from "../../crds/virtual-machine.ts";
import { KubernetesClient } from "../../src/kubernetes/client.ts";
import { pause, systemClock } from "../../src/kubernetes/clock.ts";
import { Reflector } from "../../src/kubernetes/reflector.ts";
import { keyOf } from "../../src/kubernetes/resource.ts";
import { Random } from "../simulation/random.ts";
import { startApiServer } from "../support/apiserver.ts";
import type { Behaviour } from "../support/guest.ts";
import type { Driver } from "../support/libvirtd.ts";
import type { Report } from "../support/report.ts";
import { installWarmboot } from "../support/warmboot.ts";
import { faults, type Fault } from "./fault.ts";
import { Fleet } from "./fleet.ts";
import type { Machine, Resource, Served } from "./machine.ts";
import { Memory } from "./memory.ts";

/** What a soak is made with. */
export interface SoakOptions {
  minutes: number;
  /** How many machines of libvirt's test driver. */
  machines: number;
  /** The longest time from the end of a restart of one of them to its next request. */
  pauseSeconds: number;
  /** What each guest of QEMU's does when its power button is pressed. */
  guests: readonly Behaviour[];
  /** A fault so often, or as soon as the one before is over. */
  everySeconds: number;
  /** Fixes the requests of each machine and the order of the faults. */
  seed: number;
  /** Hears a line for each minute, and of what goes wrong as soon as that is seen. */
  report: Report;
}

/** What a soak has come to so far. */
export interface Tally {
  minutes: number;
  /** How many requests ended how, such as "test Succeeded Soft". */
  results: Map<string, number>;
  /** How many faults of each name. */
  faults: Map<string, number>;
  /** Requests that did not end as they should. */
  wrong: Served[];
  /** Requests that have not ended yet, with what their resources say. */
  inFlight: Served[];
  memory: Readonly<Record<Driver, Memory>>;
}

/** What is counted as it happens. */
type Counted = Omit<Tally, "minutes" | "inFlight">;

const sampleMs = 10_000;
const minuteMs = 60_000;
/** Once nothing is disturbed any more. A guest whose process stands still makes libvirt wait at each question. */
const convergesWithinMs = 900_000;

/** Machines under constant restarts while everything around them fails, on one API server and two libvirtd. */
export class Soak implements AsyncDisposable {
  readonly #options: SoakOptions;
  readonly #fleets: readonly Fleet[];
  readonly #tally: Counted;
  readonly #undo: AsyncDisposableStack;
  #beganAtMs = performance.now();

  private constructor(
    options: SoakOptions,
    fleets: readonly Fleet[],
    tally: Counted,
    undo: AsyncDisposableStack,
  ) {
    this.#options = options;
    this.#fleets = fleets;
    this.#tally = tally;
    this.#undo = undo;
  }

  /** Starts the parts, and all machines at rest. They end with this process at the latest. */
  static async start(options: SoakOptions): Promise<Soak> {
    await using undo = new AsyncDisposableStack();
    const api = undo.use(await startApiServer());
    const kubeconfig = await installWarmboot(api);
    const client = undo.use(await KubernetesClient.load({ path: api.kubeconfig, connections: 16 }));
    const tally: Counted = {
      results: new Map(),
      faults: new Map(),
      wrong: [],
      memory: { test: new Memory(), qemu: new Memory() },
    };
    const fleets: Fleet[] = [];
    const told = (served: Served) => soak.#note(served);
    for (const name of ["test", "qemu"] as const)
      fleets.push(undo.use(await Fleet.start(name, { api, kubeconfig, client, seed: options.seed, told })));
    const soak = new Soak(options, fleets, tally, undo.move());
    await soak.#populate(client);
    return soak;
  }

  async #populate(client: KubernetesClient): Promise<void> {
    const over = new AbortController();
    const watching = new Reflector<Resource>({
      client,
      type: virtualMachineResource,
      onEvent: ({ object }) => {
        for (const fleet of this.#fleets)
          fleet.machines.find(({ key }) => key === keyOf(object))?.saw(object);
      },
    }).run(over.signal);
    this.#undo.defer(async () => {
      over.abort();
      await watching;
    });
    const [test, qemu] = this.#fleets;
    const { machines, pauseSeconds, guests } = this.#options;
    await test?.addMachines(machines, pauseSeconds * 1000);
    for (const behaviour of guests) await qemu?.addGuest(behaviour);
  }

  /** Restarts and disturbs for the whole time, and resolves once everything has come to rest, or does not. */
  async run(): Promise<void> {
    this.#beganAtMs = performance.now();
    const over = AbortSignal.timeout(this.#options.minutes * minuteMs);
    const machines = this.#machines;
    const restarting = machines.map((machine) => machine.run(over));
    const disturbing = this.#disturb(over);
    const ended = new AbortController();
    const watching = this.#watchMemory(ended.signal);
    await Promise.race([disturbing, Promise.all(restarting).then(() => disturbing)]);
    this.#options.report(`${this.#time()} nothing is disturbed any more`);
    const converged = Promise.all(
      machines.map(async (machine, index) => {
        await restarting[index];
        await machine.conclude();
      }),
    );
    await Promise.race([converged, pause(systemClock, convergesWithinMs, ended.signal)]);
    ended.abort();
    await watching;
    for (const machine of machines) {
      const unended = machine.unended();
      if (unended !== undefined) this.#note(unended);
    }
  }

  /** What it has come to so far. */
  tally(): Tally {
    const inFlight = this.#machines
      .filter(({ waitsSinceMs }) => waitsSinceMs !== undefined)
      .flatMap((machine) => machine.unended() ?? []);
    return { ...this.#tally, inFlight, minutes: this.#elapsedMs() / minuteMs };
  }

  async #disturb(over: AbortSignal): Promise<void> {
    const random = new Random(this.#options.seed);
    let deck: Fault[] = [];
    for (let count = 1; ; count += 1) {
      const dueMs = count * this.#options.everySeconds * 1000;
      await pause(systemClock, Math.max(0, dueMs - this.#elapsedMs()), over);
      if (over.aborted) return;
      if (deck.length === 0) deck = random.shuffled(faults);
      const fault = deck.shift();
      const fleet = this.#fleets[fault?.on === "qemu" ? 1 : random.below(2)];
      if (fault === undefined || fleet === undefined) return;
      const name = fault.on === "either" ? `${fault.name} (${fleet.name})` : fault.name;
      this.#options.report(`${this.#time()} ${name}`);
      await fault.strike(fleet, random);
      this.#tally.faults.set(fault.name, (this.#tally.faults.get(fault.name) ?? 0) + 1);
    }
  }

  async #watchMemory(ended: AbortSignal): Promise<void> {
    for (let count = 1; !ended.aborted; count += 1) {
      await pause(systemClock, Math.max(0, count * sampleMs - this.#elapsedMs()), ended);
      for (const { name, controller } of this.#fleets)
        this.#tally.memory[name].sample(controller.pid, this.#elapsedMs());
      if ((count * sampleMs) % minuteMs === 0) this.#options.report(this.#line());
    }
  }

  #line(): string {
    const { results, faults, wrong, memory } = this.#tally;
    const waiting = this.#machines
      .flatMap(({ key, waitsSinceMs }) => (waitsSinceMs === undefined ? [] : [{ key, waitsSinceMs }]))
      .toSorted((one, other) => one.waitsSinceMs - other.waitsSinceMs);
    const [oldest] = waiting;
    const longest =
      oldest && ` (${oldest.key} for ${((performance.now() - oldest.waitsSinceMs) / 1000).toFixed(0)} s)`;
    const held = this.#fleets.map(({ name }) => {
      const { last } = memory[name];
      return last && `${name} ${(last.residentBytes / 2 ** 20).toFixed(0)} MiB, ${last.files} files`;
    });
    return (
      `${this.#time()} ${sum(results)} restarts, ${sum(faults)} faults, ${wrong.length} wrong, ` +
      `${waiting.length} in flight${longest ?? ""}; ${held.join("; ")}`
    );
  }

  #note(served: Served): void {
    const { machine, result, faults: wrong, heard } = served;
    const fleet = this.#fleets.find(({ machines }) => machines.includes(machine));
    const { results } = this.#tally;
    const name = `${fleet?.name} ${result}`;
    results.set(name, (results.get(name) ?? 0) + 1);
    if (wrong.length === 0 || fleet === undefined) return;
    this.#tally.wrong.push(served);
    const { report, seed } = this.#options;
    const why = wrong.map(([fault, words]) => `${fault}: ${words}`).join("; ");
    const log = fleet.logOf(machine, served.requestedAtEpochMs);
    report([`${this.#time()} ${machine.key}, seed ${seed}: ${why}`, ...heard, ...log].join("\n    "));
  }

  get #machines(): Machine[] {
    return this.#fleets.flatMap(({ machines }) => machines);
  }

  #elapsedMs(): number {
    return performance.now() - this.#beganAtMs;
  }

  #time(): string {
    const seconds = Math.floor(this.#elapsedMs() / 1000);
    return `${String(Math.floor(seconds / 60)).padStart(2, "0")}:${String(seconds % 60).padStart(2, "0")}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#undo.disposeAsync();
  }
}

function sum(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((total, count) => total + count, 0);
}
