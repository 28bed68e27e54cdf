import assert from "node:assert/strict";
import { procedures } from "libvirt";
import type { RestartMode } from "../../crds/restart.ts";
import { virtualMachineResource, type VirtualMachine } from "../../crds/virtual-machine.ts";
import { KubernetesClient } from "../../src/kubernetes/client.ts";
import type { KubernetesObject, ResourceType } from "../../src/kubernetes/resource.ts";
import { startInstallation, type Installation } from "./installation.ts";
import { Witness } from "./libvirt-witness.ts";
import { StatusHistory } from "./status-history.ts";

const namespaceResource: ResourceType = {
  group: "",
  version: "v1",
  kind: "Namespace",
  plural: "namespaces",
};

/** What a restart of a domain of the test driver is, as libvirt tells it. */
const oneRestart = {
  Soft: ["Stopped Shutdown", "Started Booted"],
  Hard: ["Stopped Destroyed", "Started Booted"],
  Start: ["Started Booted"],
};

/** An installation with witnesses of what really happens: libvirt's own events, and every state of the resources. */
export interface WitnessedInstallation
  extends AsyncDisposable, Pick<Installation, "api" | "libvirtd" | "kubeconfig"> {
  /** A new running domain of the test driver and its resource with this policy, in a namespace of its own. */
  machine(restartPolicy?: object): Promise<WitnessedMachine>;
}

/** Starts the parts, with no way between them and the witnesses that a test disturbs. */
export async function startWitnessedInstallation(): Promise<WitnessedInstallation> {
  await using undo = new AsyncDisposableStack();
  const installation = undo.use(await startInstallation());
  const { api, libvirtd, kubeconfig } = installation;
  const witness = undo.use(new Witness(libvirtd, "test"));
  const client = undo.use(await KubernetesClient.load({ path: api.kubeconfig }));
  const history = undo.use(new StatusHistory(api));
  await witness.connected();
  const owned = undo.move();
  let machines = 0;
  return {
    api,
    libvirtd,
    kubeconfig,
    async machine(restartPolicy = {}) {
      machines += 1;
      const name = `machine-${machines}`;
      await client.create(namespaceResource, { metadata: { name } });
      await define(witness, name);
      const machine = new WitnessedMachine({ name, witness, client, history });
      await machine.create(restartPolicy);
      return machine;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A domain of the test driver, its resource of the same name in a namespace of the same name, and their witnesses. */
export class WitnessedMachine {
  readonly name: string;
  readonly #witness: Witness;
  readonly #client: KubernetesClient;
  readonly #history: StatusHistory;
  readonly #served: string[] = [];
  #requests = 0;

  constructor({
    name,
    witness,
    client,
    history,
  }: {
    name: string;
    witness: Witness;
    client: KubernetesClient;
    history: StatusHistory;
  }) {
    this.name = name;
    this.#witness = witness;
    this.#client = client;
    this.#history = history;
  }

  /** Creates the resource. */
  async create(restartPolicy: object): Promise<void> {
    const metadata = { name: this.name, namespace: this.name };
    const object = { metadata, spec: { restartPolicy } };
    await this.#client.create<KubernetesObject>(virtualMachineResource, object);
  }

  /** The token of the next request. */
  get nextToken(): string {
    // A word works once; numbers are told apart in messages.
    return `request-${this.#requests + 1}`;
  }

  /** Requests a restart as kubectl annotate does, past all proxies; resolves to its token once the API server has it. */
  async request(mode?: RestartMode): Promise<string> {
    const token = this.nextToken;
    this.#requests += 1;
    const annotations = { "warmboot.dev/restart": token, "warmboot.dev/restart-mode": mode ?? null };
    const metadata = { annotations };
    await this.#client.mergePatch(virtualMachineResource, this.#reference, { metadata });
    return token;
  }

  /** Changes the spec in a way that restarts nothing, so that the resource has another generation. */
  async touchSpec(): Promise<void> {
    const spec = { restartPolicy: { minIntervalSeconds: 0, deadlineSeconds: 3000 + this.#requests } };
    await this.#client.mergePatch(virtualMachineResource, this.#reference, { spec });
  }

  /** Resolves to the first state of the resource that fits, past or future. */
  async until(fits: (state: VirtualMachine) => boolean, from = 0): Promise<VirtualMachine> {
    return this.#history.until(this.name, this.name, fits, from);
  }

  /** Every state of the resource so far, the oldest first. */
  get states(): readonly VirtualMachine[] {
    return this.#history.of(this.name, this.name);
  }

  /** Resolves once the controller has settled: the status is about the newest spec, and says Ready. */
  async ready(): Promise<VirtualMachine> {
    for (;;) {
      const seen = this.states.length;
      const last = this.states.at(-1);
      if (last !== undefined && isReady(last)) return last;
      await this.until(() => true, seen);
    }
  }

  /**
   * Resolves to the result of a request, having seen that it was served exactly once: libvirt has told of one stop and
   * one start since the requests before, and the resource of one restart that has ended.
   */
  async servedOnce(token: string): Promise<NonNullable<VirtualMachine["status"]["lastRestart"]>> {
    const ended = await this.until(({ status }) => status?.observedRestartToken === token);
    const { lastRestart } = ended.status;
    assert.ok(lastRestart, "a request that has ended has a result");
    const { result, method, message } = lastRestart;
    assert.ok(result === "Succeeded" && method !== undefined, message);
    assert.deepEqual(await this.#witness.takeUntil(this.name, "Started Booted"), oneRestart[method]);
    this.#served.push(token);
    this.#checkHistory();
    return lastRestart;
  }

  /**
   * Resolves once the status has converged, having seen that libvirt told of nothing since the last request that was
   * served, and that the resource never told anything else.
   */
  async rests(): Promise<void> {
    await this.ready();
    // What libvirt tells of another domain comes after all that it told before.
    await this.#beacon();
    assert.deepEqual(this.#witness.take(this.name), [], "nothing happened besides the requests");
    this.#checkHistory();
  }

  /** The guest shuts down, without anybody's having asked it by way of libvirt's proxy. */
  async obey(): Promise<void> {
    const { session } = this.#witness;
    const { dom } = await session.call(procedures.domainLookupByName, { name: this.name });
    await session.call(procedures.domainShutdownFlags, { dom, flags: 0 });
  }

  async #beacon(): Promise<void> {
    const { session } = this.#witness;
    const name = `${this.name}-beacon`;
    const { dom } = await session.call(procedures.domainDefineXmlFlags, { xml: domainXml(name), flags: 0 });
    await session.call(procedures.domainUndefineFlags, { dom, flags: 0 });
    await this.#witness.takeUntil(name, "Undefined Removed");
  }

  /** Each request ended once, in order, and nothing that was told was ever taken back. */
  #checkHistory(): void {
    const ends = this.states.map(({ status }) => status?.lastRestart?.request.restartToken);
    const told = ends.filter((token, index) => token !== undefined && token !== ends[index - 1]);
    assert.deepEqual(told, this.#served, "the statuses tell of each request's end, once");
    const ids = new Set(this.states.flatMap(({ status }) => status?.lastRestart?.id ?? []));
    assert.equal(ids.size, this.#served.length, "each restart was one attempt");
  }

  get #reference(): { name: string; namespace: string } {
    return { name: this.name, namespace: this.name };
  }
}

/** Whether the status is about this generation, and says that nothing is under way. */
function isReady({ metadata, status }: VirtualMachine): boolean {
  const ready = status?.conditions?.find(({ type }) => type === "Ready");
  return (
    status?.observedGeneration === metadata.generation &&
    ready?.status === "True" &&
    ready.observedGeneration === metadata.generation &&
    status.attempt === undefined
  );
}

function domainXml(name: string): string {
  return `<domain type='test'><name>${name}</name><memory>1024</memory><os><type>hvm</type></os></domain>`;
}

/** Defines and starts a domain; its events until then are taken. */
async function define(witness: Witness, name: string): Promise<void> {
  const { session } = witness;
  const { dom } = await session.call(procedures.domainDefineXmlFlags, { xml: domainXml(name), flags: 0 });
  await session.call(procedures.domainCreateWithFlags, { dom, flags: 0 });
  await witness.takeUntil(name, "Started Booted");
}
