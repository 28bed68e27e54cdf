import { annotations, parseVirtualMachine, type VirtualMachine } from "../../crds/virtual-machine.ts";
import { alwaysHeld, type Clock, type Hypervisor, type Key } from "../../controller/ports.ts";
import { Reconciler } from "../../controller/reconcile.ts";
import { WorkQueue } from "../../src/kubernetes/work-queue.ts";

/** What a fleet is made with. */
export interface FleetOptions {
  /** How many resources, each with a domain of its own name. */
  resources: number;
  /** Fields of each one's spec. */
  spec?: Record<string, unknown>;
  hypervisor: Hypervisor;
  clock: Clock;
  workers: number;
}

/**
 * Many resources and one controller: its loop and its work queue as the program has them, on timers of this process.
 * The API server takes every status at once.
 */
export class Fleet implements AsyncDisposable {
  readonly reconciler: Reconciler;
  readonly queue: WorkQueue;
  /** The most workers that were in use at once. */
  mostWorking = 0;
  readonly #resources = new Map<Key, VirtualMachine>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #still = Promise.withResolvers<void>();

  constructor({ resources, spec = {}, hypervisor, clock, workers }: FleetOptions) {
    this.queue = new WorkQueue({
      observer: {
        started: () => (this.mostWorking = Math.max(this.mostWorking, this.queue.working)),
        finished: () => {
          if (this.queue.working === 0 && this.queue.length === 0) this.#still.resolve();
        },
      },
      onError: (_key, error) => this.#still.reject(error),
    });
    this.reconciler = new Reconciler({
      virtualMachines: {
        get: (key) => this.#resources.get(key),
        watches: () => true,
        definition: () => ({ kind: "None" }),
        naming: ({ name }) => [this.#resources.get(keyOf(name))].filter((one) => one !== undefined),
        writeStatus: ({ metadata }, status) => {
          const key = keyOf(metadata.name);
          const before = this.#resources.get(key);
          if (before !== undefined) this.#resources.set(key, { ...before, status });
        },
        publish: () => {},
      },
      hypervisor,
      lease: alwaysHeld,
      clock,
      journal: { decided: () => {}, performed: () => {} },
      cluster: "cluster",
    });
    for (let index = 0; index < resources; index += 1) {
      const name = `vm-${index}`;
      this.#resources.set(keyOf(name), newResource(name, spec));
    }
    this.#running = this.queue.run(
      workers,
      async (key) => {
        const again = await this.reconciler.reconcile(key);
        if (again !== undefined) this.queue.addAfter(key, again.atMs - clock.now().monotonicMs);
      },
      this.#stop.signal,
    );
  }

  /** One of the resources, as it is now. */
  resource(index: number): VirtualMachine {
    const found = this.#resources.get(keyOf(`vm-${index}`));
    if (found === undefined) throw new RangeError(`the fleet has no resource ${index}`);
    return found;
  }

  /** Requests a restart of every resource at once. */
  requestAll(token: string): void {
    for (const [key, before] of this.#resources) {
      const metadata = { ...before.metadata, annotations: { [annotations.restart]: token } };
      this.#resources.set(key, { ...before, metadata });
    }
  }

  /** Has every resource looked at, or one; resolves when nothing is left to do but wait. */
  async settle(index?: number): Promise<void> {
    this.#still = Promise.withResolvers();
    if (index === undefined) for (const key of this.#resources.keys()) this.queue.add(key);
    else this.queue.add(keyOf(`vm-${index}`));
    await this.#still.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

function keyOf(name: string): Key {
  return `default/${name}`;
}

function newResource(name: string, spec: Record<string, unknown>): VirtualMachine {
  const metadata = {
    namespace: "default",
    name,
    uid: `uid-${name}`,
    resourceVersion: "1",
    generation: 1,
    creationTimestamp: "2026-01-01T00:00:00Z",
  };
  const parsed = parseVirtualMachine({ metadata, spec });
  if (parsed.kind === "Invalid") throw new Error(parsed.message);
  return parsed.virtualMachine;
}
