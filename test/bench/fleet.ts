import { procedures, Session, type Domain, type SessionEvent } from "libvirt";
import { virtualMachineResource, type VirtualMachineStatus } from "../../crds/virtual-machine.ts";
import { KubernetesClient } from "../../src/kubernetes/client.ts";
import { Reflector } from "../../src/kubernetes/reflector.ts";
import { keyOf, type KubernetesObject } from "../../src/kubernetes/resource.ts";
import { startInstallation, type Installation } from "../support/installation.ts";

interface Resource extends KubernetesObject {
  spec: { restartGeneration?: number };
  status?: VirtualMachineStatus;
}

/** A domain, which obeys at once, and its resource of the same name. */
export interface Machine {
  readonly namespace: string;
  readonly name: string;
  readonly dom: Domain;
  /** The last restart that was requested. */
  generation: number;
}

/** How long a request took to end its guest's boot, in milliseconds. */
export interface Reaction {
  /** From the request on. */
  sinceRequestMs: number;
  /** From when the API server told of it: what a busy API server takes is none of the controller's. */
  sinceToldMs: number;
}

/** Machines on libvirt's test driver with their resources on a real API server, and what happens to them. */
export class Fleet implements AsyncDisposable {
  readonly installation: Installation;
  /** The test driver's URI. */
  readonly uri: string;
  readonly #client: KubernetesClient;
  /** Somebody else's: what a client has to send waits for its connections. */
  readonly #other: KubernetesClient;
  readonly #anchor: Session;
  readonly #undo: AsyncDisposableStack;
  /** When the API server told of the newest request of a machine, and libvirt that its guest had stopped. */
  readonly #toldAtMs = new Map<string, { generation: number | undefined; atMs: number }>();
  readonly #stoppedAtMs = new Map<string, number>();
  readonly #observed = new Map<string, number | undefined>();
  readonly #waiters = new Set<{ holds: () => boolean; resolve: () => void }>();
  #isConnected = false;

  /** Starts the servers; there are no machines yet. */
  static async start(): Promise<Fleet> {
    await using undo = new AsyncDisposableStack();
    const installation = undo.use(await startInstallation());
    const options = { path: installation.api.kubeconfig, connections: 16 };
    const client = undo.use(await KubernetesClient.load(options));
    const other = undo.use(await KubernetesClient.load(options));
    const fleet = new Fleet(installation, { client, other }, undo.move());
    await fleet.until(() => fleet.#isConnected);
    return fleet;
  }

  private constructor(
    installation: Installation,
    { client, other }: { client: KubernetesClient; other: KubernetesClient },
    undo: AsyncDisposableStack,
  ) {
    this.installation = installation;
    this.uri = installation.libvirtd.uri("test");
    this.#client = client;
    this.#other = other;
    this.#undo = undo;
    // The test driver forgets its domains when nobody is connected: this session keeps them.
    this.#anchor = undo.use(new Session(this.uri, { listener: (event) => this.#note(event) }));
    this.#anchor.start();
    const over = new AbortController();
    const watching = new Reflector<Resource>({
      client,
      type: virtualMachineResource,
      onEvent: ({ object }) => {
        this.#noteTold(object);
        this.#observed.set(keyOf(object), object.status?.observedRestartGeneration);
        this.#happened();
      },
    }).run(over.signal);
    undo.defer(async () => {
      over.abort();
      await watching;
    });
  }

  /** Makes running machines with resources in a namespace, which must be there. */
  async add(namespace: string, names: readonly string[]): Promise<Machine[]> {
    const machines: Machine[] = [];
    for (const name of names) {
      const xml = `<domain type='test'><name>${name}</name><memory>1024</memory><os><type>hvm</type></os></domain>`;
      const { dom } = await this.#anchor.call(procedures.domainDefineXmlFlags, { xml, flags: 0 });
      await this.#anchor.call(procedures.domainCreateWithFlags, { dom, flags: 0 });
      const resource = { metadata: { name, namespace }, spec: {} } as unknown as KubernetesObject;
      await this.#client.create(virtualMachineResource, resource);
      machines.push({ namespace, name, dom, generation: 0 });
    }
    return machines;
  }

  /** Resolves once the controller has taken note of these machines. */
  async taken(machines: readonly Machine[]): Promise<void> {
    await this.until(() => machines.every((one) => this.#observed.get(nameOf(one)) !== undefined));
  }

  /** Requests restarts of all these machines at once, as somebody else would. */
  async requestAll(machines: readonly Machine[]): Promise<void> {
    await Promise.all(machines.map((machine) => this.request(machine, this.#other)));
  }

  /** Requests a restart. */
  async request(machine: Machine, client = this.#client): Promise<void> {
    machine.generation += 1;
    const { name, namespace, generation } = machine;
    const patch = { spec: { restartGeneration: generation } };
    await client.mergePatch(virtualMachineResource, { name, namespace }, patch, {
      deadlineMs: 600_000,
    });
  }

  /** Resolves once the last requests of these machines have their results. */
  async served(machines: readonly Machine[]): Promise<void> {
    await this.until(() => machines.every((one) => this.isServed(one)));
  }

  /** Whether the last request of a machine has its result. */
  isServed(machine: Machine): boolean {
    return this.#observed.get(nameOf(machine)) === machine.generation;
  }

  /** Restarts a machine. */
  async reaction(machine: Machine): Promise<Reaction> {
    this.#stoppedAtMs.delete(machine.name);
    const requestedAtMs = performance.now();
    await this.request(machine);
    await this.until(() => this.#stoppedAtMs.has(machine.name) && this.isServed(machine));
    const stoppedAtMs = this.#stoppedAtMs.get(machine.name) ?? Number.NaN;
    const toldAtMs = this.#toldAtMs.get(nameOf(machine))?.atMs ?? Number.NaN;
    return { sinceRequestMs: stoppedAtMs - requestedAtMs, sinceToldMs: stoppedAtMs - toldAtMs };
  }

  /** Resolves once something holds; asked whenever something has happened to a machine. */
  async until(holds: () => boolean): Promise<void> {
    if (!holds()) await new Promise<void>((resolve) => this.#waiters.add({ holds, resolve }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#undo.disposeAsync();
  }

  #noteTold(object: Resource): void {
    const { restartGeneration: generation } = object.spec;
    const key = keyOf(object);
    if (this.#toldAtMs.get(key)?.generation !== generation)
      this.#toldAtMs.set(key, { generation, atMs: performance.now() });
  }

  #note(event: SessionEvent): void {
    if (event.type === "Connected") this.#isConnected = true;
    if (event.type === "Lifecycle" && event.event === "Stopped")
      this.#stoppedAtMs.set(event.domain.name, event.receivedAtMs);
    this.#happened();
  }

  #happened(): void {
    for (const waiter of this.#waiters) {
      if (!waiter.holds()) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }
}

function nameOf({ namespace, name }: Machine): string {
  return keyOf({ metadata: { namespace, name } });
}
