import { startApiServer, type ApiServer } from "./apiserver.ts";
import { startedController, type ControllerProcess } from "./controller.ts";
import { startLibvirtd, type Driver, type Libvirtd } from "./libvirtd.ts";
import { installWarmboot } from "./warmboot.ts";

/** All that the controller needs, and nobody else uses. */
export interface Installation extends AsyncDisposable {
  /** Has the definitions and the controller's rights. */
  readonly api: ApiServer;
  readonly libvirtd: Libvirtd;
  /** The controller's own. */
  readonly kubeconfig: string;
  /** Starts a controller of a driver's domains with further arguments, and resolves when it works. */
  controller(driver: Driver, ...args: string[]): Promise<ControllerProcess>;
  /** Ends both servers and removes their files; a controller ends by itself. */
  close(): Promise<void>;
}

/** Starts an API server and a libvirtd, and installs what an administrator does. */
export async function startInstallation(): Promise<Installation> {
  await using undo = new AsyncDisposableStack();
  const [api, libvirtd] = await Promise.all([
    startApiServer().then((started) => undo.use(started)),
    startLibvirtd().then((started) => undo.use(started)),
  ]);
  const kubeconfig = await installWarmboot(api);
  const owned = undo.move();
  const close = () => owned.disposeAsync();
  return {
    api,
    libvirtd,
    kubeconfig,
    controller: (driver, ...args) => startedController(kubeconfig, libvirtd.uri(driver), ...args),
    close,
    [Symbol.asyncDispose]: close,
  };
}
