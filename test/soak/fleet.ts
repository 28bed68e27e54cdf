import { procedures } from "libvirt";
import type { KubernetesClient } from "../../src/kubernetes/client.ts";
import { Witness } from "../faults/place.ts";
import { Random } from "../simulation/random.ts";
import type { ApiServer } from "../support/apiserver.ts";
import { startController, type ControllerProcess } from "../support/controller.ts";
import type { Behaviour } from "../support/guest.ts";
import { kvmBoots } from "../support/kvm.ts";
import { startLibvirtd, type Driver, type Libvirtd } from "../support/libvirtd.ts";
import { startApiProxy, type ApiProxy } from "../support/proxies/api-proxy.ts";
import { startLibvirtProxy, type LibvirtProxy } from "../support/proxies/libvirt-proxy.ts";
import { startGuest } from "../support/start-guest.ts";
import { Machine, type MachineOptions, type Served } from "./machine.ts";

/** What a fleet is made with. */
export interface FleetOptions {
  api: ApiServer;
  /** The controller's own. */
  kubeconfig: string;
  /** The soak's client, past all proxies. */
  client: KubernetesClient;
  seed: number;
  told: (served: Served) => void;
}

/** A guest of QEMU's that wants longer than these is forced. */
const guestPolicy = { soft: { timeoutSeconds: 20, resendSeconds: 5 } };
const deafPolicy = { soft: { timeoutSeconds: 4 } };

/** The longest pause between two requests of a guest of QEMU's, which takes seconds to boot. */
const guestPauseMs = 10_000;

/** The machines of one libvirtd in a namespace, with the controller that serves them and the ways to both servers. */
export class Fleet implements AsyncDisposable {
  /** Of the namespace. */
  readonly name: Driver;
  readonly api: ApiServer;
  readonly libvirtd: Libvirtd;
  readonly libvirtProxy: LibvirtProxy;
  readonly apiProxy: ApiProxy;
  readonly machines: Machine[] = [];
  readonly #options: FleetOptions;
  readonly #witness: Witness;
  readonly #undo: AsyncDisposableStack;
  #controllers: ControllerProcess[] = [];

  private constructor(
    name: Driver,
    options: FleetOptions,
    parts: Pick<Fleet, "libvirtd" | "libvirtProxy" | "apiProxy">,
    undo: AsyncDisposableStack,
  ) {
    this.name = name;
    this.api = options.api;
    this.libvirtd = parts.libvirtd;
    this.libvirtProxy = parts.libvirtProxy;
    this.apiProxy = parts.apiProxy;
    this.#options = options;
    this.#undo = undo;
    this.#witness = new Witness(this.libvirtd.uri(name));
    undo.defer(() => this.#witness.session.close());
  }

  /** Starts the parts and a controller that has nothing to do yet. */
  static async start(name: Driver, options: FleetOptions): Promise<Fleet> {
    await using undo = new AsyncDisposableStack();
    await options.api.kubectl("create", "namespace", name);
    const libvirtd = undo.use(await startLibvirtd());
    const libvirtProxy = undo.use(await startLibvirtProxy(libvirtd.socket));
    const apiProxy = undo.use(await startApiProxy(options.api, options.kubeconfig));
    const fleet = new Fleet(name, options, { libvirtd, libvirtProxy, apiProxy }, undo.move());
    await fleet.#witness.connected();
    await fleet.startController();
    return fleet;
  }

  /** The controller that runs now. */
  get controller(): ControllerProcess {
    const controller = this.#controllers.at(-1);
    if (controller === undefined) throw new Error("no controller was started");
    return controller;
  }

  /** Starts a controller, after the first one in the place of one that has ended; resolves when it works. */
  async startController(): Promise<void> {
    const socket = this.libvirtProxy.socket;
    const driver = this.name === "qemu" ? "qemu+unix:///system" : "test+unix:///default";
    const where = ["--connect", `${driver}?socket=${socket}`, "--namespace", this.name];
    this.#controllers.push(startController(this.apiProxy.kubeconfig, ...where));
    await this.controller.logged(({ msg }) => msg === "ready");
  }

  /** Everything that the controllers have logged of a machine, as lines. */
  logOf(machine: Machine, sinceEpochMs: number): string[] {
    return this.#controllers.flatMap(({ pid, lines }) =>
      lines
        .filter(({ name, time }) => name === machine.name && Date.parse(time) >= sinceEpochMs)
        .map((line) => `${pid} ${JSON.stringify(line)}`),
    );
  }

  /** Adds running machines of the test driver, whose guests obey at once, with a longest pause between two requests. */
  async addMachines(count: number, pauseMs: number): Promise<void> {
    for (let index = 1; index <= count; index += 1) {
      const name = `machine-${index}`;
      const xml =
        `<domain type='test'><name>${name}</name><memory unit='MiB'>64</memory>` +
        "<os><type>hvm</type></os></domain>";
      const { dom } = await this.#witness.session.call(procedures.domainDefineXmlFlags, { xml, flags: 0 });
      await this.#witness.session.call(procedures.domainCreateWithFlags, { dom, flags: 0 });
      this.#add(name, { pauseMs, isDeaf: false });
    }
    await Promise.all(this.machines.map((machine) => machine.create({})));
  }

  /** Adds a running guest of QEMU's. */
  async addGuest(behaviour: Behaviour): Promise<void> {
    const name = `guest-${this.machines.length + 1}`;
    const guest = await startGuest(this.libvirtd, { name, behaviour, kvm: await kvmBoots() });
    const isDeaf = behaviour === "deaf";
    await this.#add(name, { pauseMs: guestPauseMs, isDeaf, guest }).create(isDeaf ? deafPolicy : guestPolicy);
  }

  #add(name: string, options: Pick<MachineOptions, "pauseMs" | "isDeaf" | "guest">): Machine {
    const { client, seed, told } = this.#options;
    const random = new Random(seed * 1_000_003 + this.machines.length);
    const of = { namespace: this.name, name, client, witness: this.#witness, random, told };
    const machine = new Machine({ ...of, ...options });
    this.machines.push(machine);
    return machine;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.controller.stop();
    await this.#undo.disposeAsync();
  }
}
