import { startApiServer, type ApiServer } from "./apiserver.ts";
import { startController, type ControllerProcess } from "./controller.ts";
import { kvmBoots } from "./kvm.ts";
import { startLibvirtd, type Libvirtd, type LibvirtdOptions } from "./libvirtd.ts";
import { defineGuest, startGuest, type NewGuest, type RunningGuest } from "./start-guest.ts";
import { installWarmboot, virtualMachine, waitForCondition } from "./warmboot.ts";

/** A cluster with Warmboot installed and a hypervisor, both real and empty, for a controller between them. */
export interface Site extends AsyncDisposable {
  readonly api: ApiServer;
  readonly libvirtd: Libvirtd;
  /** Whether its guests run on KVM. */
  readonly kvm: boolean;
  /** Starts a controller on the QEMU driver with further arguments, and resolves when it works. */
  startController(...args: string[]): Promise<ControllerProcess>;
  /** Defines a guest that stays off. */
  defineGuest(options: NewGuest): Promise<RunningGuest>;
  /** Defines a guest, starts it, and resolves when it has come up. */
  startGuest(options: NewGuest): Promise<RunningGuest>;
  /** The same, and its resource with this policy, of which the running controller has taken note. */
  startMachine(options: NewGuest, restartPolicy?: object): Promise<RunningGuest>;
}

/** Starts a site. It ends with this process at the latest. */
export async function startSite(options: LibvirtdOptions = {}): Promise<Site> {
  await using undo = new AsyncDisposableStack();
  const [api, libvirtd, kvm] = await Promise.all([
    startApiServer().then((server) => undo.use(server)),
    startLibvirtd(options).then((daemon) => undo.use(daemon)),
    kvmBoots(),
  ]);
  const kubeconfig = await installWarmboot(api);
  const owned = undo.move();
  return {
    api,
    libvirtd,
    kvm,
    async startController(...args) {
      const controller = startController(kubeconfig, "--connect", libvirtd.uri("qemu"), ...args);
      await controller.logged(({ msg }) => msg === "ready");
      return controller;
    },
    defineGuest: (guest) => defineGuest(libvirtd, { kvm, ...guest }),
    startGuest: (guest) => startGuest(libvirtd, { kvm, ...guest }),
    async startMachine(guest, restartPolicy = {}) {
      const running = await startGuest(libvirtd, { kvm, ...guest });
      await api.apply(virtualMachine(guest.name, { restartPolicy }));
      await waitForCondition(api, guest.name, "Ready");
      return running;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
