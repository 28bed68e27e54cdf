/** What a user sees while a part is away, on real parts: once for each change, and that it is over by itself. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Condition } from "../../crds/condition.ts";
import type { VirtualMachine } from "../../crds/virtual-machine.ts";
import { deafXml } from "../faults/paths.ts";
import { startHastyController, type ControllerProcess, type LogLine } from "../support/controller.ts";
import { startInstallation, type Installation } from "../support/installation.ts";
import { StatusHistory } from "../support/status-history.ts";
import { applyManifest, patient, virtualMachine } from "../support/warmboot.ts";

/** What the controller waits a minute for comes in six seconds. */
const haste = 10;
/** An outage lasts for so many tries at the least. */
const tries = 5;

let site: Installation;
before(async () => {
  site = await startInstallation();
});
after(() => site.close());

/** A guest that no button reaches, and its resource of the same name. */
interface Machine {
  readonly name: string;
  /** All states since the test began; each is a write of the controller's or of the test's. */
  states(): readonly VirtualMachine[];
  /** Resolves to the first state that fits, from the given one on. */
  until(fits: (state: VirtualMachine) => boolean, from?: number): Promise<VirtualMachine>;
  annotate(name: string, value: string): Promise<void>;
  /** Requests that its power is cut, and resolves to the token. */
  request(): Promise<string>;
  /** Resolves once a request has ended well. */
  served(token: string): Promise<void>;
}

/** Three machines in a namespace of their own, and a controller for them whose log tells of each try. */
interface Rig {
  readonly controller: ControllerProcess;
  /** Nothing is asked of it. */
  readonly calm: Machine;
  /** Its guest has been asked to shut down, and does not. */
  readonly busy: Machine;
  /** It is asked for something while a part is away. */
  readonly late: Machine;
  /** Ends the controller, and gives the Events about a machine with how often each was told, such as "RestartStarted 1". */
  readonly events: () => Promise<(machine: Machine) => string[]>;
}

async function rig(t: TestContext, namespace: string): Promise<Rig> {
  const { api, libvirtd, kubeconfig } = site;
  const undo = new AsyncDisposableStack();
  t.after(() => undo.disposeAsync());
  await api.kubectl("create", "namespace", namespace);
  const history = undo.use(new StatusHistory(api));
  const flags = ["--connect", libvirtd.uri("qemu"), "--namespace", namespace, "--log-level", "debug"];
  const controller = undo.use(startHastyController(haste, kubeconfig, ...flags));
  const machine = async (role: string): Promise<Machine> => {
    const name = `${namespace}-${role}`;
    await startDeafGuest(name);
    undo.defer(async () => {
      await libvirtd.virsh("destroy", name).catch(() => {});
      await libvirtd.virsh("undefine", name);
    });
    const restartPolicy = { mode: "Soft", ...patient };
    await api.apply(virtualMachine(name, { restartPolicy }), "--namespace", namespace);
    const until: Machine["until"] = (fits, from) => history.until(namespace, name, fits, from);
    const annotate: Machine["annotate"] = async (annotation, value) => {
      const pair = `warmboot.dev/${annotation}=${value}`;
      await api.kubectl("annotate", "wvm", name, "--namespace", namespace, "--overwrite", pair);
    };
    await until((state) => reasonOf(state, "Ready") === "Watching");
    return {
      name,
      states: () => history.of(namespace, name),
      until,
      annotate,
      async request() {
        await annotate("restart-mode", "Hard");
        await annotate("restart", "now");
        return "now";
      },
      async served(token) {
        const { status } = await until(({ status }) => status?.observedRestartToken === token);
        assert.equal(status.lastRestart?.result, "Succeeded");
      },
    };
  };
  const [calm, busy, late] = await Promise.all([machine("calm"), machine("busy"), machine("late")]);
  await busy.annotate("restart", "slowly");
  await busy.until((state) => reasonOf(state, "Ready") === "ShuttingDown");
  return {
    controller,
    calm,
    busy,
    late,
    async events() {
      // They are sent at the latest when the controller ends.
      await controller.stop();
      return eventsIn(namespace);
    },
  };
}

/** The Events in a namespace about a machine, with how often each was told. */
async function eventsIn(namespace: string): Promise<(machine: Machine) => string[]> {
  const list = await site.api.kubectl("get", "events.events.k8s.io", "--namespace", namespace, "-o", "json");
  const { items } = JSON.parse(list) as { items: EventItem[] };
  return ({ name }) =>
    items
      .filter(({ regarding }) => regarding.name === name)
      .map(({ type, reason, series }) => `${type} ${reason} ${series?.count ?? 1}`)
      .toSorted();
}

interface EventItem {
  type: string;
  reason: string;
  regarding: { name: string };
  series?: { count: number };
}

/** Firmware without an operating system: it takes no notice of its power button. */
async function startDeafGuest(name: string): Promise<void> {
  const { libvirtd } = site;
  const file = join(libvirtd.directory, `${name}.xml`);
  await writeFile(file, deafXml()(name));
  await libvirtd.virsh("define", file);
  await libvirtd.virsh("start", name);
}

function conditionOf({ status }: VirtualMachine, type: string): Condition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

function reasonOf(state: VirtualMachine, type: string): string | undefined {
  return conditionOf(state, type)?.reason;
}

/** The lines that an operator reads. */
function told({ lines }: ControllerProcess, fits: (line: LogLine) => boolean): string[] {
  return lines.filter((line) => line.level !== "debug" && fits(line)).map(({ msg }) => msg);
}

/** Resolves once the controller has logged so many lines that fit. */
async function loggedTimes(
  controller: ControllerProcess,
  times: number,
  fits: (line: LogLine) => boolean,
): Promise<void> {
  let count = 0;
  await controller.logged((line) => fits(line) && (count += 1) > times);
}

const qemu = async (machine: Machine, signal: NodeJS.Signals) =>
  process.kill(await site.libvirtd.qemuPid(machine.name), signal);

describe("libvirt is out of reach", () => {
  for (const [what, namespace, goes, isBack, words] of [
    [
      "as libvirtd is stopped",
      "stopped",
      () => site.libvirtd.stop(),
      () => site.libvirtd.start(),
      /^there is no socket/,
    ],
    [
      "as libvirtd is killed",
      "killed",
      async () => {
        await site.libvirtd.signal("KILL");
        await site.libvirtd.exited();
      },
      () => site.libvirtd.start(),
      /^nothing listens on .*start libvirtd again$/,
    ],
    [
      "as libvirtd hangs",
      "hung",
      () => site.libvirtd.signal("STOP"),
      () => site.libvirtd.signal("CONT"),
      /^libvirt at .* does not answer: is it stuck\?$/,
    ],
  ] as const)
    test(what, async (t) => {
      const { controller, calm, busy, late, events } = await rig(t, namespace);
      const begin = calm.states().length;
      const isTry = ({ msg }: LogLine) => msg.includes("trying again in") && msg.includes("libvirt");
      await goes();
      t.after(() => site.libvirtd.signal("CONT"));
      const away = await calm.until((state) => reasonOf(state, "Ready") === "HypervisorUnreachable", begin);
      for (const type of ["Ready", "Reconciling", "Bound"]) {
        const { reason, message } = conditionOf(away, type) ?? {};
        assert.equal(reason, "HypervisorUnreachable");
        assert.match(message ?? "", words);
        assert.ok(message?.includes(site.libvirtd.uri("qemu")), "it names the hypervisor");
      }
      assert.equal(reasonOf(away, "Stalled"), undefined);
      const token = await late.request();
      await late.until(({ status }) => status.request?.restartToken === token);
      await loggedTimes(controller, tries, isTry);
      const asked = busy.states().length;
      await isBack();
      await calm.until((state) => conditionOf(state, "Ready")?.status === "True", begin);
      await busy.until((state) => reasonOf(state, "Ready") === "ShuttingDown", asked);
      await late.served(token);
      const eventsOf = await events();
      const outage = ["Normal HypervisorReachable 1", "Warning HypervisorUnreachable 1"];
      assert.deepEqual(eventsOf(calm), outage);
      assert.deepEqual(eventsOf(busy), [...outage, "Normal RestartStarted 1"].toSorted());
      assert.deepEqual(
        eventsOf(late),
        [...outage, "Normal RestartStarted 1", "Normal RestartSucceeded 1"].toSorted(),
      );
      assert.equal(calm.states().length - begin, 2, "one write when it goes, one when it is back");
      const problems = told(controller, isTry).map(withoutTime);
      assert.ok(problems.length > 0);
      assert.deepEqual(problems, [...new Set(problems)], "each problem is told once");
      assert.equal(told(controller, ({ msg }) => msg === "connected to libvirt").length, 2);
    });
});

describe("a domain is out of reach", () => {
  /** Lets the machine be looked at again, and resolves when that has been in vain so many times. */
  async function triedInVain({ controller }: Rig, machine: Machine, reason: string): Promise<void> {
    for (let time = 1; time <= tries; time += 1) {
      const seen = controller.lines.length;
      await machine.annotate("skip-interval", `again-${time}`);
      await controller.logged(
        (line) =>
          controller.lines.indexOf(line) >= seen && line.name === machine.name && line.reason === reason,
      );
    }
  }

  test("as its XML cannot be read", async (t) => {
    const world = await rig(t, "unreadable");
    const { controller, calm, late, events } = world;
    const attributes = Array.from({ length: 300 }, (_, index) => `a${index}=""`).join(" ");
    const metadata = ["metadata", calm.name, "--uri", "https://example.org/somebody"];
    await site.libvirtd.virsh(
      ...metadata,
      "--key",
      "some",
      "--set",
      `<body ${attributes}/>`,
      "--live",
      "--config",
    );
    const [token, other] = await Promise.all([calm.request(), late.request()]);
    await late.served(other);
    const away = await calm.until((state) => reasonOf(state, "Bound") === "DomainUnreadable");
    assert.match(
      conditionOf(away, "Ready")?.message ?? "",
      new RegExp(`the domain ${calm.name} cannot be looked at: .*301 attributes`),
    );
    await triedInVain(world, calm, "DomainUnreadable");
    await site.libvirtd.virsh(...metadata, "--remove", "--live", "--config");
    await calm.served(token);
    const eventsOf = await events();
    assert.deepEqual(eventsOf(calm), [
      "Normal DomainReadable 1",
      "Normal RestartStarted 1",
      "Normal RestartSucceeded 1",
      "Warning DomainUnreadable 1",
    ]);
    const lines = told(controller, ({ name, reason }) => name === calm.name && reason === "DomainUnreadable");
    assert.equal(lines.length, 2, lines.join("\n"));
  });

  test("as its QEMU process is killed: at rest that is told, and in a restart it is started", async (t) => {
    const { calm, busy, events } = await rig(t, "qemu-killed");
    const begin = calm.states().length;
    await Promise.all([qemu(calm, "SIGKILL"), qemu(busy, "SIGKILL")]);
    const crashed = await calm.until((state) => reasonOf(state, "Bound") === "DomainCrashed", begin);
    assert.match(
      conditionOf(crashed, "Bound")?.message ?? "",
      new RegExp(`domain ${calm.name} .* has crashed`),
    );
    assert.equal(crashed.status.domain?.state, "Shutoff");
    await busy.served("slowly");
    await calm.served(await calm.request());
    const eventsOf = await events();
    assert.deepEqual(eventsOf(calm), [
      "Normal DomainRecovered 1",
      "Normal RestartSucceeded 1",
      "Warning DomainCrashed 1",
    ]);
    assert.deepEqual(eventsOf(busy), ["Normal RestartStarted 1", "Normal RestartSucceeded 1"]);
  });
});

describe("the API server is out of reach", () => {
  const isTry = ({ msg }: LogLine) => msg.startsWith("VirtualMachines could not be read");

  for (const [what, namespace, goes, isBack] of [
    ["as it is stopped", "api-stopped", () => site.api.stopApiServer(), () => site.api.startApiServer()],
    ["as etcd hangs", "etcd-hung", () => site.api.etcd.signal("STOP"), () => site.api.etcd.signal("CONT")],
  ] as const)
    test(`${what}: a restart goes on, and is told afterwards`, async (t) => {
      const { controller, busy, events } = await rig(t, namespace);
      await goes();
      t.after(() => site.api.etcd.signal("CONT"));
      await controller.logged(isTry);
      // The guest goes off, and nobody can be told.
      await site.libvirtd.virsh("destroy", busy.name);
      await controller.logged(({ name, result }) => name === busy.name && result === "Succeeded");
      await loggedTimes(controller, 2, isTry);
      await isBack();
      await controller.logged(({ msg }) => msg === "VirtualMachines are read again");
      await controller.logged(({ name, msg }) => name === busy.name && msg === "the status is written again");
      const problems = told(controller, isTry).map(withoutTime);
      assert.deepEqual(problems, [...new Set(problems)], "each problem is told once");
      assert.equal(told(controller, ({ msg }) => msg === "VirtualMachines are read again").length, 1);
      const unwritten = told(controller, ({ msg }) => msg.startsWith("the status could not be written"));
      assert.deepEqual(unwritten.map(withoutTime), [...new Set(unwritten.map(withoutTime))]);
      // Nothing tells when an Event that could not be sent was sent after all.
      while (!(await eventsIn(namespace))(busy).includes("Normal RestartSucceeded 1")) await delay(100);
      const eventsOf = await events();
      assert.deepEqual(eventsOf(busy), ["Normal RestartStarted 1", "Normal RestartSucceeded 1"]);
    });

  test("as it takes the controller's rights away: it says what to apply, once, and goes on", async (t) => {
    const { controller, calm } = await rig(t, "forbidden");
    await site.api.kubectl("delete", "clusterrolebinding", "warmboot");
    t.after(() => applyManifest(site.api, "deploy/rbac.yaml"));
    await site.libvirtd.virsh("suspend", calm.name);
    const isRefused = ({ msg, name }: LogLine) =>
      name === calm.name && msg.startsWith("the status could not be written");
    await loggedTimes(controller, tries, isRefused);
    const refused = told(controller, isRefused);
    assert.equal(refused.length, 1, refused.join("\n"));
    assert.match(refused[0] ?? "", /403 Forbidden.*kubectl apply -f deploy\/rbac\.yaml/);
    const seen = calm.states().length;
    await applyManifest(site.api, "deploy/rbac.yaml");
    await calm.until(({ status }) => status.domain?.state === "Paused", seen);
  });
});

function withoutTime(msg: string): string {
  return msg.replace(/; trying again in .*/, "");
}
