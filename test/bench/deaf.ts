/**
 * Restarts thousands of deaf guests at once: a real API server, a real libvirtd with its test driver, the controller
 * as a process. The test driver's guests obey at once; a proxy before libvirtd answers the shutdown in their place, so
 * that nothing happens. Prints when each guest was asked, forced and run again, what every part used, and how fast the
 * same libvirtd answers the same calls when nobody else is at work.
 *
 *     npm run bench:deaf
 *     npm run bench:deaf -- --guests 500 --timeout 60 --profile /tmp/profile
 *
 * With --profile the controller writes a CPU profile into that directory.
 */
import { parseArgs } from "node:util";
import { procedures, Session, type SessionEvent } from "libvirt";
import { virtualMachineResource, type VirtualMachineStatus } from "../../crds/virtual-machine.ts";
import { KubernetesClient } from "../../src/kubernetes/client.ts";
import { Reflector } from "../../src/kubernetes/reflector.ts";
import type { KubernetesObject } from "../../src/kubernetes/resource.ts";
import { decodeWhole } from "../../src/libvirt/xdr/decode.ts";
import { startApiServer } from "../support/apiserver.ts";
import { startController } from "../support/controller.ts";
import {
  isKeepalive,
  startLibvirtProxy,
  type LibvirtFate,
  type LibvirtMessage,
} from "../support/proxies/libvirt-proxy.ts";
import { startLibvirtd } from "../support/libvirtd.ts";
import { toStderr } from "../support/report.ts";
import { installWarmboot } from "../support/warmboot.ts";
import { machine, usageOf, versionOf, type Usage } from "./machine.ts";
import { quantile, table } from "./numbers.ts";
import { replay, type RecordedCall } from "./replay.ts";

const { values } = parseArgs({
  options: {
    guests: { type: "string", default: "2000" },
    timeout: { type: "string", default: "20" },
    profile: { type: "string" },
  },
});
/** Before anything of this began: the load is that of others. */
const measuredOn = machine();
const guests = Number(values.guests);
const timeoutSeconds = Number(values.timeout);
/** The measure: so long after its own soft timeout each guest runs again. */
const allowedMs = 2000;

const namespace = "default";
const names = Array.from({ length: guests }, (_, index) => `guest-${String(index + 1).padStart(5, "0")}`);

interface Resource extends KubernetesObject {
  status?: VirtualMachineStatus;
}

/** When what happened to each guest, as performance.now() counts in this process. */
const requested = new Map<string, number>();
const signalled = new Map<string, number>();
const destroyed = new Map<string, number>();
const started = new Map<string, number>();
const recorded = new Map<string, number>();

/** Calls of the controller: of libvirt's procedure of that number, in phases. */
const calls: RecordedCall[] = [];

/** Resolves as soon as something holds that is looked at after each happening. */
const waiters = new Set<{ holds: () => boolean; resolve: () => void }>();
function happened(): void {
  for (const waiter of waiters) {
    if (!waiter.holds()) continue;
    waiters.delete(waiter);
    waiter.resolve();
  }
}
async function until(what: string, holds: () => boolean): Promise<number> {
  if (!holds()) await new Promise<void>((resolve) => waiters.add({ holds, resolve }));
  toStderr(what);
  return performance.now();
}

await using undo = new AsyncDisposableStack();
const api = undo.use(await startApiServer());
const libvirtd = undo.use(await startLibvirtd());
const kubeconfig = await installWarmboot(api);

// The test driver forgets its domains when nobody is connected: this session keeps them.
const uri = libvirtd.uri("test");
let connected = false;
const anchor = undo.use(new Session(uri, { listener: heard }));
anchor.start();
await until("connected to libvirt", () => connected);
await Promise.all(
  names.map(async (name) => {
    const xml = `<domain type='test'><name>${name}</name><memory>1024</memory><os><type>hvm</type></os></domain>`;
    const { dom } = await anchor.call(
      procedures.domainDefineXmlFlags,
      { xml, flags: 0 },
      { timeoutMs: 600_000 },
    );
    await anchor.call(procedures.domainCreateWithFlags, { dom, flags: 0 }, { timeoutMs: 600_000 });
  }),
);
started.clear();
toStderr(`${guests} domains run on libvirt's test driver`);

const proxy = undo.use(await startLibvirtProxy(libvirtd.socket));
proxy.faults.always(isCall, ignored);
const client = undo.use(await KubernetesClient.load({ path: api.kubeconfig, connections: 32 }));
const over = new AbortController();
const observed = new Map<string, Resource>();
const reflector = new Reflector<Resource>({
  client,
  type: virtualMachineResource,
  onEvent: ({ object }) => {
    seen(object);
    happened();
  },
});
const watching = reflector.run(over.signal);

const soft = { timeoutSeconds, resendSeconds: 86_400 };
await Promise.all(
  names.map((name) =>
    client.create(
      virtualMachineResource,
      { metadata: { name, namespace }, spec: { restartPolicy: { soft } } } as KubernetesObject,
      { deadlineMs: 600_000 },
    ),
  ),
);
toStderr(`${guests} resources created`);

if (values.profile !== undefined) {
  process.env["NODE_OPTIONS"] = `--cpu-prof --cpu-prof-dir=${values.profile}`;
}
const controller = undo.use(
  startController(kubeconfig, "--connect", `test+unix:///default?socket=${proxy.socket}`),
);
await until("every resource has its first status", () =>
  names.every((name) => observed.get(name)?.status?.observedRestartGeneration !== undefined),
);

const pids = {
  controller: controller.pid,
  "API server": api.apiServer.pid,
  etcd: api.etcd.pid,
  libvirtd: libvirtd.pid,
  "this benchmark with its proxy": process.pid,
};
type Part = keyof typeof pids;
const parts = Object.keys(pids) as Part[];
const phases: { name: string; endsAtMs: number; usage: Record<Part, Usage>; calls: number }[] = [];
function phaseEnds(name: string): void {
  const usage = Object.fromEntries(parts.map((part) => [part, usageOf(pids[part] ?? 0)])) as Record<
    Part,
    Usage
  >;
  phases.push({ name, endsAtMs: performance.now(), usage, calls: calls.length });
}

calls.length = 0;
phaseEnds("at rest");
const beganAtMs = performance.now();
await Promise.all(
  names.map(async (name) => {
    await client.mergePatch(
      virtualMachineResource,
      { name, namespace },
      { spec: { restartGeneration: 1 } },
      { deadlineMs: 600_000 },
    );
    requested.set(name, performance.now());
  }),
);
toStderr("every restart is requested");
await until("every guest is asked", () => signalled.size === guests);
phaseEnds("last asked");
await until("the first guest is forced", () => destroyed.size > 0);
phaseEnds("first forced");
await until("every guest runs again", () => started.size === guests);
phaseEnds("last runs");
await until("every result is in its status", () => recorded.size === guests);
phaseEnds("last told");
const recordedCalls = [...calls];
const complained = complaints();
await controller.stop();
over.abort();
await watching;

const replayed = recordedCalls.slice(phases[2]?.calls, phases[3]?.calls);
const bare = await replay(uri, replayed);
await print();

/** What the anchor connection is told by libvirt. */
function heard(event: SessionEvent): void {
  if (event.type === "Connected") connected = true;
  if (event.type === "Lifecycle") {
    if (event.event === "Stopped") note(destroyed, event.domain.name, event.receivedAtMs);
    if (event.event === "Started") note(started, event.domain.name, event.receivedAtMs);
  }
  happened();
}

function isCall(message: LibvirtMessage): boolean {
  return message.from === "Client" && !isKeepalive(message);
}

/** The guests are deaf: they are told to shut down, and nothing happens. */
function ignored({ connection, program, procedure, payload }: LibvirtMessage): LibvirtFate | undefined {
  calls.push({ connection, program, procedure, payload });
  if (procedure !== procedures.domainShutdownFlags.number) return undefined;
  const { dom } = decodeWhole(procedures.domainShutdownFlags.args, payload);
  note(signalled, dom.name, performance.now());
  happened();
  return { kind: "Answer" };
}

function seen(object: Resource): void {
  const { name } = object.metadata;
  observed.set(name, object);
  if (object.status?.lastRestart !== undefined) note(recorded, name, performance.now());
}

/** The first time counts: the replay does it all once more. */
function note(times: Map<string, number>, name: string, atMs: number): void {
  if (!times.has(name)) times.set(name, atMs);
}

async function print(): Promise<void> {
  const versions = await Promise.all([versionOf("libvirtd", "--version"), api.kubectl("version")]);
  const server = /Server Version: (\S+)/.exec(versions[1])?.[1];
  const since = (times: Map<string, number>) => [...times.values()].map((atMs) => atMs - beganAtMs);
  const beyond = (times: Map<string, number>) =>
    names.map((name) => (times.get(name) ?? Number.NaN) - (signalled.get(name) ?? 0) - timeoutSeconds * 1000);
  const late = beyond(started).filter((ms) => !(ms <= allowedMs)).length;
  const callsOf = (phase: number) => (phases[phase]?.calls ?? 0) - (phases[phase - 1]?.calls ?? 0);
  const callsUntilRun = phases[3]?.calls ?? 0;
  const untilRunMs = (phases[3]?.endsAtMs ?? 0) - beganAtMs;
  const used = (part: Part, phase: number) =>
    (phases[phase]?.usage[part].cpuMs ?? 0) - (phases[phase - 1]?.usage[part].cpuMs ?? 0);
  const memory = (phase: number) => phases[phase]?.usage.controller.residentBytes ?? 0;
  const isHeld = late === 0 ? "met" : `missed by ${late} of ${guests} guests`;
  const lines = [
    `${guests} deaf guests, soft.timeoutSeconds ${timeoutSeconds}, all restarted at once`,
    ...measuredOn,
    `${versions[0]}, its test driver; Kubernetes ${server}, etcd; all parts on this machine`,
    "",
    ...table([
      ["seconds since the first request", "p50", "p99", "last"],
      ...rowsOf([
        ["requested (reply to the patch)", since(requested)],
        ["guest asked to shut down", since(signalled)],
        ["power cut (libvirt's event)", since(destroyed)],
        ["runs again (libvirt's event)", since(started)],
        ["result in the status (watch)", since(recorded)],
      ]),
    ]),
    "",
    ...table([
      [`seconds beyond its own ${timeoutSeconds} s`, "p50", "p99", "last"],
      ...rowsOf([
        ["power cut", beyond(destroyed)],
        ["runs again", beyond(started)],
      ]),
    ]),
    `measure: every guest runs again within ${allowedMs / 1000} s of its own soft timeout: ${isHeld}`,
    "",
    ...table([
      ["CPU, ms, until the", ...phases.slice(1).map(({ name }) => name)],
      ...parts.map((part) => [part, ...phases.slice(1).map((_, index) => used(part, index + 1).toFixed(0))]),
      [
        "wall time",
        ...phases
          .slice(1)
          .map((phase, index) => (phase.endsAtMs - (phases[index]?.endsAtMs ?? 0)).toFixed(0)),
      ],
      ["calls to libvirt", ...phases.slice(1).map((_, index) => String(callsOf(index + 1)))],
    ]),
    "",
    `controller: ${(sum(phases.slice(1).map((_, index) => used("controller", index + 1))) / guests).toFixed(2)} ms CPU a restart; ` +
      `resident ${mebibytes(memory(0))} at rest, ${mebibytes(memory(2))} while all wait, ` +
      `${mebibytes(phases.at(-1)?.usage.controller.peakBytes ?? 0)} at most`,
    `controller's complaints: ${complained}`,
    `calls to libvirt for a guest: ${callsForAGuest()}`,
    `libvirtd with all of this on the same cores: ${rate(callsUntilRun, untilRunMs)}; alone, the last ` +
      `${replayed.length} of these calls again without controller and proxy: ${rate(replayed.length, bare.tookMs)} ` +
      `(${(replayed.length / bare.tookMs / (callsUntilRun / untilRunMs)).toFixed(2)} times as many; ${bare.refused} refused)`,
  ];
  console.log(lines.join("\n"));
}

function rowsOf(rows: [string, number[]][]): string[][] {
  return rows.map(([name, ms]) => [
    name,
    ...[0.5, 0.99, 1].map((share) => (quantile(ms, share) / 1000).toFixed(2)),
  ]);
}

/** What the controller logged as a warning or an error, counted. */
function complaints(): string {
  const all = controller.lines.filter(({ level }) => level === "warn" || level === "error");
  const counts = [...Map.groupBy(all, ({ msg }) => msg)].map(([msg, lines]) => `${lines.length} x "${msg}"`);
  return counts.length === 0 ? "none" : counts.join(", ");
}

/** How often each procedure was called from the request to the result, on the average. */
function callsForAGuest(): string {
  const names = new Map<number, string>(Object.values(procedures).map(({ name, number }) => [number, name]));
  const byProcedure = Map.groupBy(recordedCalls, ({ procedure }) => procedure);
  const counts = [...byProcedure].flatMap(([number, made]) => {
    const name = names.get(number);
    return name === undefined ? [] : { name, each: made.length / guests };
  });
  counts.sort((one, other) => other.each - one.each);
  const total = (recordedCalls.length / guests).toFixed(1);
  return `${total}: ${counts.map(({ name, each }) => `${name} ${each.toFixed(1)}`).join(", ")}`;
}

function rate(count: number, ms: number): string {
  return `${((count * 1000) / ms).toFixed(0)} calls a second`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
