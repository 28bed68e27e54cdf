import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { Session, procedures, type ListedDomain } from "libvirt";
import type { RestartRecord } from "../../crds/restart.ts";
import type { VirtualMachine } from "../../crds/virtual-machine.ts";
import { parseVirtualMachine } from "../../crds/virtual-machine.ts";
import { KubernetesClient } from "../../src/kubernetes/client.ts";
import { hasReason } from "../../src/kubernetes/errors.ts";
import { Reflector } from "../../src/kubernetes/reflector.ts";
import { keyOf, type KubernetesObject, type ResourceType } from "../../src/kubernetes/resource.ts";
import type { ApiServer } from "../support/apiserver.ts";
import { insist } from "../support/insist.ts";
import { startLibvirtd, type Driver, type Libvirtd } from "../support/libvirtd.ts";
import type { Heard } from "./account.ts";

/** The kind of the resources. */
export const virtualMachines: ResourceType = {
  group: "warmboot.dev",
  version: "v1alpha1",
  kind: "VirtualMachine",
  plural: "virtualmachines",
};

/** The resources as the runner itself sees them, for all cases at once. */
export class Resources implements AsyncDisposable {
  readonly #client: KubernetesClient;
  readonly #reflector: Reflector<KubernetesObject>;
  readonly #ending = new AbortController();
  readonly #running: Promise<void>;
  readonly #results = new Map<string, RestartRecord[]>();
  #change = Promise.withResolvers<void>();

  private constructor(client: KubernetesClient) {
    this.#client = client;
    this.#reflector = new Reflector({
      client,
      type: virtualMachines,
      onEvent: ({ object }) => {
        this.#noteResult(keyOf(object));
        this.#change.resolve();
        this.#change = Promise.withResolvers();
      },
    });
    this.#running = this.#reflector.run(this.#ending.signal);
  }

  /** Begins to watch, as the administrator. */
  static async of(api: ApiServer): Promise<Resources> {
    const resources = new Resources(await KubernetesClient.load({ path: api.kubeconfig }));
    await resources.#reflector.synced();
    return resources;
  }

  /** Resolves to the resource once it fits; to undefined where the signal aborts before. */
  async until(
    key: string,
    fits: (resource: VirtualMachine) => boolean,
    signal: AbortSignal,
  ): Promise<VirtualMachine | undefined> {
    const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    while (!signal.aborted) {
      const change = this.#change.promise;
      const resource = this.get(key);
      if (resource !== undefined && fits(resource)) return resource;
      await Promise.race([change, aborted]);
    }
    return undefined;
  }

  /** Whether the resource comes to fit before the signal aborts. A watch could still show what a restore has undone: it is read. */
  async comesTo(
    key: string,
    fits: (resource: VirtualMachine) => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<boolean> {
    while (!signal.aborted) {
      if (await fits(await this.read(key))) return true;
      await delay(100);
    }
    return false;
  }

  /** The resource as the API server was last seen to have it. */
  get(key: string): VirtualMachine | undefined {
    const object = this.#reflector.store.get(key);
    const parsed = object && parseVirtualMachine(object);
    return parsed?.kind === "Valid" ? parsed.virtualMachine : undefined;
  }

  /** What its status has told of its last restart, each time that this changed. */
  results(key: string): readonly RestartRecord[] {
    return this.#results.get(key) ?? [];
  }

  #noteResult(key: string): void {
    const result = this.get(key)?.status.lastRestart;
    if (result === undefined) return;
    const results = this.#results.get(key) ?? [];
    this.#results.set(key, results);
    if (!isDeepStrictEqual(result, results.at(-1))) results.push(result);
  }

  /** As the API server has it now, whatever the watch has told yet. */
  async read(key: string): Promise<VirtualMachine> {
    const [namespace = "", name = ""] = key.split("/");
    const object = await insist(() => this.#client.get(virtualMachines, { namespace, name }));
    const parsed = parseVirtualMachine(object);
    if (parsed.kind === "Invalid") throw new Error(`${key}: ${parsed.message}`);
    return parsed.virtualMachine;
  }

  async create(namespace: string, name: string, spec: object): Promise<string> {
    const object = { metadata: { namespace, name }, spec };
    const create = () => this.#client.create<KubernetesObject & { spec: object }>(virtualMachines, object);
    await insist(() => unless("AlreadyExists", create));
    return keyOf(object);
  }

  async changeSpec(namespace: string, name: string, spec: object): Promise<void> {
    await insist(() => this.#client.mergePatch(virtualMachines, { namespace, name }, { spec }));
  }

  async delete(namespace: string, name: string): Promise<void> {
    await insist(() => unless("NotFound", () => this.#client.delete(virtualMachines, { namespace, name })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#running;
    await this.#client.close();
  }
}

/** libvirt waits half a minute several times before it gives up a process that stands still. */
const destroyTimeoutMs = 180_000;

/** Where the cases of one worker happen, one after the other: a libvirtd and a namespace of its own. */
export class Place implements AsyncDisposable {
  readonly namespace: string;
  readonly libvirtd: Libvirtd;
  readonly resources: Resources;
  readonly #witnesses: Readonly<Record<Driver, Witness>>;

  private constructor(namespace: string, libvirtd: Libvirtd, resources: Resources) {
    this.namespace = namespace;
    this.libvirtd = libvirtd;
    this.resources = resources;
    this.#witnesses = { test: new Witness(libvirtd.uri("test")), qemu: new Witness(libvirtd.uri("qemu")) };
  }

  static async start(api: ApiServer, resources: Resources, namespace: string): Promise<Place> {
    await api.kubectl("create", "namespace", namespace);
    const place = new Place(namespace, await startLibvirtd({ small: { run: "2m", etc: "2m" } }), resources);
    await Promise.all(Object.values(place.#witnesses).map((witness) => witness.connected()));
    await place.clear("test");
    return place;
  }

  witness(driver: Driver): Witness {
    return this.#witnesses[driver];
  }

  /** Nothing of a case is left for the next one, nor of what came with libvirt's test driver. */
  async clear(driver: Driver): Promise<void> {
    const { session } = this.witness(driver);
    for (const dom of await insist(() => session.listDomains())) {
      if (dom.id !== undefined)
        await session.call(procedures.domainDestroyFlags, { dom, flags: 0 }, { timeoutMs: destroyTimeoutMs });
      // One that was transient is gone by now.
      await session.call(procedures.domainUndefineFlags, { dom, flags: 0 }).catch(() => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Object.values(this.#witnesses).map((witness) => witness.session.close()));
    await this.libvirtd.close();
  }
}

/** A start that nobody told of. */
const startedUnheard = "Started Unheard";

/**
 * A session of the runner's own that hears of domains what libvirt tells everybody. libvirt's test driver forgets its
 * domains once nobody is connected: this keeps them.
 */
export class Witness {
  readonly session: Session;
  readonly #heard = new Map<string, Heard[]>();
  readonly #connected = Promise.withResolvers<void>();
  #change = Promise.withResolvers<void>();

  constructor(uri: string) {
    this.session = new Session(uri, {
      // It is to hear as much as can be heard.
      reconnect: { initialDelayMs: 10, maxDelayMs: 50 },
      listener: (event) => {
        if (event.type === "Connected" || event.type === "Listed")
          for (const domain of event.domains ?? []) if (hasBegun(domain)) this.#noteRunning(domain.name);
        if (event.type === "Connected") this.#connected.resolve();
        if (event.type === "AgentLifecycle")
          this.#note(event.domain.name, `Agent ${event.state}`, event.receivedAtMs);
        if (event.type === "Lifecycle")
          this.#note(event.domain.name, `${event.event} ${event.detail}`, event.receivedAtMs);
        if (event.type === "Reboot") this.#note(event.domain.name, "Reboot", event.receivedAtMs);
      },
    });
    this.session.start();
  }

  async connected(): Promise<void> {
    await this.#connected.promise;
  }

  /** Resolves when it hears something of a domain, or has heard it. */
  async until(name: string, what: string): Promise<void> {
    while (!this.heard(name).some((heard) => heard.what === what)) await this.#change.promise;
  }

  /** What it has heard of a domain. */
  heard(name: string): Heard[] {
    const heard = this.#heard.get(name) ?? [];
    this.#heard.set(name, heard);
    return heard;
  }

  /** It runs, and was last heard to have stopped. */
  #noteRunning(name: string): void {
    const last = this.heard(name).findLast(({ what }) => /^(Started|Stopped)/.test(what));
    if (last?.what.startsWith("Stopped") === true) this.#note(name, startedUnheard, performance.now());
  }

  #note(name: string, what: string, atMs: number): void {
    const heard = this.heard(name);
    // Its event may only have been late.
    if (what.startsWith("Started") && heard.at(-1)?.what === startedUnheard) heard.pop();
    heard.push({ what, atMs });
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  /** The domain as libvirt has it now. */
  async find(name: string): Promise<ListedDomain | undefined> {
    const domains = await insist(() => this.session.listDomains());
    return domains.find((domain) => domain.name === name);
  }
}

/** Whether it runs a guest: a libvirtd that was killed in the middle of a start ends what it had begun, when it is back. */
function hasBegun({ id, state, reason }: ListedDomain): boolean {
  return id !== undefined && !(state === "Paused" && reason === "StartingUp");
}

/** An API server that is killed by a case, and back soon, refuses to do again what it has done before. */
async function unless(reason: "AlreadyExists" | "NotFound", request: () => Promise<unknown>): Promise<void> {
  try {
    await request();
  } catch (error) {
    if (!hasReason(error, reason)) throw error;
  }
}
