import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { VirtualMachine } from "../../crds/virtual-machine.ts";
import type { ApiServer } from "./apiserver.ts";

const path = "/apis/warmboot.dev/v1alpha1/virtualmachines?watch=true";

/** Every state that the API server has had of all VirtualMachines, as kubectl hears of them. */
export class StatusHistory implements AsyncDisposable {
  readonly #states = new Map<string, VirtualMachine[]>();
  readonly #end: () => Promise<void>;
  #change = Promise.withResolvers<void>();

  constructor({ kubectlPath, kubeconfig }: ApiServer) {
    const command = [kubectlPath, "--kubeconfig", kubeconfig, "get", "--raw", path];
    const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", ...command], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const closed = new Promise<void>((resolve) => child.on("close", () => resolve()));
    createInterface(child.stdout).on("line", (line) => this.#note(JSON.parse(line)));
    this.#end = async () => {
      child.kill("SIGKILL");
      await closed;
    };
  }

  /** All states of a resource, the oldest first. */
  of(namespace: string, name: string): readonly VirtualMachine[] {
    return this.#states.get(`${namespace}/${name}`) ?? [];
  }

  /** Resolves to the first state of a resource that fits, from the given one on. */
  async until(
    namespace: string,
    name: string,
    fits: (state: VirtualMachine) => boolean,
    from = 0,
  ): Promise<VirtualMachine> {
    for (;;) {
      const state = this.of(namespace, name).slice(from).find(fits);
      if (state !== undefined) return state;
      await this.#change.promise;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }

  #note({ object }: { object: VirtualMachine }): void {
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    const states = this.#states.get(key) ?? [];
    this.#states.set(key, states);
    states.push(object);
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }
}
