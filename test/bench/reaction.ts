/**
 * How soon a restart that is requested reaches its guest, and how many restarts a second a controller does: a real API
 * server, a real libvirtd with its test driver, whose guests obey at once. With --against, rounds of this version and of
 * another checkout (with its packages installed) take turns on the same servers, so that both meet the same machine.
 *
 *     npm run bench:reaction -- --guests 100 --rounds 4
 *     npm run bench:reaction -- --against ../warmboot-before
 */
import { parseArgs } from "node:util";
import { procedures, Session, type SessionEvent } from "libvirt";
import { virtualMachineResource, type VirtualMachineStatus } from "../../crds/virtual-machine.ts";
import { KubernetesClient } from "../../src/kubernetes/client.ts";
import { Reflector } from "../../src/kubernetes/reflector.ts";
import type { KubernetesObject } from "../../src/kubernetes/resource.ts";
import { startControllerOf, type ControllerProcess } from "../support/controller.ts";
import { startInstallation } from "../support/installation.ts";
import { toStderr } from "../support/report.ts";
import { machine, usageOf } from "./machine.ts";
import { quantile, table } from "./numbers.ts";

const { values } = parseArgs({
  options: {
    guests: { type: "string", default: "100" },
    rounds: { type: "string", default: "4" },
    against: { type: "string" },
  },
});
/** Before anything of this began: the load is that of others. */
const measuredOn = machine();
const guests = Number(values.guests);
const rounds = Number(values.rounds);
const namespace = "default";
const names = Array.from({ length: guests }, (_, index) => `guest-${index + 1}`);

interface Resource extends KubernetesObject {
  status?: VirtualMachineStatus;
}

/** What one version did in all of its rounds. */
interface Tally {
  readonly directory: string;
  /** From the request to libvirt's event that the guest has stopped, one restart after the other, in milliseconds. */
  readonly reactionMs: number[];
  /** Restarts a second, all requested at once, to the last result in the status; one number for each round. */
  readonly burst: number[];
  /** Processor time of the controller for each restart of a burst, in milliseconds, and its memory after it, in bytes. */
  readonly cpuMs: number[];
  readonly residentBytes: number[];
}

const waiters = new Set<{ holds: () => boolean; resolve: () => void }>();
const stoppedAtMs = new Map<string, number>();
const observed = new Map<string, number | undefined>();

function happened(): void {
  for (const waiter of waiters) {
    if (!waiter.holds()) continue;
    waiters.delete(waiter);
    waiter.resolve();
  }
}

async function until(holds: () => boolean): Promise<void> {
  if (!holds()) await new Promise<void>((resolve) => waiters.add({ holds, resolve }));
}

await using undo = new AsyncDisposableStack();
const { api, libvirtd, kubeconfig } = undo.use(await startInstallation());
const uri = libvirtd.uri("test");
let connected = false;
// The test driver forgets its domains when nobody is connected: this session keeps them.
const anchor = undo.use(
  new Session(uri, {
    listener: (event: SessionEvent) => {
      if (event.type === "Connected") connected = true;
      if (event.type === "Lifecycle" && event.event === "Stopped")
        stoppedAtMs.set(event.domain.name, event.receivedAtMs);
      happened();
    },
  }),
);
anchor.start();
await until(() => connected);
for (const name of names) {
  const xml = `<domain type='test'><name>${name}</name><memory>1024</memory><os><type>hvm</type></os></domain>`;
  const { dom } = await anchor.call(procedures.domainDefineXmlFlags, { xml, flags: 0 });
  await anchor.call(procedures.domainCreateWithFlags, { dom, flags: 0 });
}
const client = undo.use(await KubernetesClient.load({ path: api.kubeconfig, connections: 16 }));
const over = new AbortController();
const watching = new Reflector<Resource>({
  client,
  type: virtualMachineResource,
  onEvent: ({ object }) => {
    observed.set(object.metadata.name, object.status?.observedRestartGeneration);
    happened();
  },
}).run(over.signal);
for (const name of names)
  await client.create(virtualMachineResource, {
    metadata: { name, namespace },
    spec: {},
  } as unknown as KubernetesObject);

const tallies: Tally[] = [".", ...(values.against === undefined ? [] : [values.against])].map(
  (directory) => ({ directory, reactionMs: [], burst: [], cpuMs: [], residentBytes: [] }),
);
let generation = 0;
for (let round = 1; round <= rounds; round += 1) {
  for (const tally of round % 2 === 1 ? tallies : tallies.toReversed()) {
    toStderr(`round ${round} of ${rounds}: ${tally.directory}`);
    const controller = startControllerOf(tally.directory, kubeconfig, "--connect", uri);
    await controller.logged(({ msg }) => msg === "ready");
    await until(() => names.every((name) => observed.get(name) !== undefined));
    await measure(controller, tally);
    await controller.stop();
  }
}
over.abort();
await watching;
print();

async function measure({ pid }: ControllerProcess, tally: Tally): Promise<void> {
  generation += 1;
  for (const name of names) {
    stoppedAtMs.delete(name);
    const requestedAtMs = performance.now();
    await request(name);
    await until(() => stoppedAtMs.has(name) && observed.get(name) === generation);
    tally.reactionMs.push((stoppedAtMs.get(name) ?? Number.NaN) - requestedAtMs);
  }
  generation += 1;
  const before = usageOf(pid);
  const beganAtMs = performance.now();
  await Promise.all(names.map(request));
  await until(() => names.every((name) => observed.get(name) === generation));
  const after = usageOf(pid);
  tally.burst.push((guests * 1000) / (performance.now() - beganAtMs));
  tally.cpuMs.push((after.cpuMs - before.cpuMs) / guests);
  tally.residentBytes.push(after.residentBytes);
}

async function request(name: string): Promise<void> {
  const patch = { spec: { restartGeneration: generation } };
  await client.mergePatch(virtualMachineResource, { name, namespace }, patch, { deadlineMs: 600_000 });
}

function print(): void {
  const row = ({ directory, reactionMs, burst, cpuMs, residentBytes }: Tally): string[] => [
    directory === "." ? "this version" : directory,
    quantile(reactionMs, 0.5).toFixed(1),
    quantile(reactionMs, 0.95).toFixed(1),
    quantile(burst, 0.5).toFixed(0),
    quantile(cpuMs, 0.5).toFixed(1),
    (quantile(residentBytes, 0.5) / 2 ** 20).toFixed(0),
  ];
  const [mine, other] = tallies;
  const head = ["", "reaction p50, ms", "p95", "restarts/s", "CPU each, ms", "MiB"];
  const lines = [...measuredOn, ...table([head, ...tallies.map(row)])];
  if (mine !== undefined && other !== undefined) {
    const ratio = (of: (tally: Tally) => number) => (of(mine) / of(other)).toFixed(2);
    lines.push(
      `ratio, this version to the other: reaction ${ratio((one) => quantile(one.reactionMs, 0.5))}, ` +
        `restarts a second ${ratio((one) => quantile(one.burst, 0.5))}, CPU ${ratio((one) => quantile(one.cpuMs, 0.5))}`,
    );
  }
  console.log(lines.join("\n"));
}
