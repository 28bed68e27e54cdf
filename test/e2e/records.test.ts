import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { requestMarkUri, type RequestMark } from "../../controller/ports.ts";
import { requestMark } from "../../src/hypervisor/marks.ts";
import { guestAsked, type ControllerProcess } from "../support/controller.ts";
import { startSite, type Site } from "../support/site.ts";
import {
  patient,
  readVirtualMachine,
  restartByAnnotation,
  virtualMachine,
  waitForCondition,
  waitForStatus,
} from "../support/warmboot.ts";

const noMarks = { ...patient, marks: "None" };

let site: Site;
before(async () => {
  site = await startSite();
});
after(() => site[Symbol.asyncDispose]());

const request = (name: string, restartPolicy: object) =>
  site.api.apply(virtualMachine(name, { restartPolicy, restartGeneration: 1 }));

const lastRestart = async (name: string) => {
  await waitForStatus(site.api, name, "observedRestartGeneration", 1);
  return (await readVirtualMachine(site.api, name)).status.lastRestart;
};

// The first test of all: the domain has the first ID of its libvirtd.
test("a domain ID that comes round again in the middle of a restart is no old boot: nothing is restarted twice", async () => {
  await using controller = await site.startController();
  const name = "again";
  const guest = await site.startMachine({ name, behaviour: "obey" }, patient);
  const id = await site.libvirtd.virsh("domid", name);
  const isAsked = controller.logged((line) => line.name === name && line.effect === "Shutdown");
  await request(name, patient);
  await isAsked;
  process.kill(controller.pid, "SIGSTOP");
  // Whoever was asked to do what: the guest is off, and so is everything that libvirtd remembered of it.
  await site.libvirtd.virsh("destroy", name).catch(() => {});
  await site.libvirtd.restart();
  await site.libvirtd.virsh("start", name);
  await guest.ready(2);
  assert.equal(await site.libvirtd.virsh("domid", name), id);
  process.kill(controller.pid, "SIGCONT");
  const restart = await lastRestart(name);
  assert.equal(restart?.result, "Succeeded");
  assert.ok(restart.evidence.includes("RequestMarkSeen"));
  assert.equal((await guest.boots()).length, 2);
});

describe("where a restart is recorded", { concurrency: 3 }, () => {
  let controller: ControllerProcess;
  before(async () => {
    controller = await site.startController();
  });
  after(() => controller.stop());

  test("without marks a guest is restarted by what the controller sees, and nothing is written into the domain", async () => {
    const guest = await site.startMachine({ name: "unmarked", behaviour: "obey" }, noMarks);
    const restart = (await restartByAnnotation(site.api, "unmarked")).lastRestart;
    assert.equal(restart?.result, "Succeeded");
    assert.equal(restart.method, "Soft");
    assert.deepEqual(restart.evidence, ["StopEvent", "DomainOff", "DomainIDChanged"]);
    await guest.ready(2);
    assert.doesNotMatch(await site.libvirtd.virsh("dumpxml", "unmarked"), /warmboot.dev/);
    assert.doesNotMatch(await site.libvirtd.virsh("dumpxml", "unmarked", "--inactive"), /warmboot.dev/);
  });

  test("a restart that another cluster has begun on the domain is that one's to end", async () => {
    const name = "claimed";
    const guest = await site.startMachine({ name, behaviour: "obey" }, patient);
    const theirs: RequestMark = {
      attempt: "0".repeat(32),
      cluster: "another",
      resource: "theirs",
      owner: "default/theirs",
      request: { restartGeneration: 7, requestedAt: "2026-01-01T00:00:00Z" },
      servedBefore: {},
      startedAtMs: 0,
    };
    const { uri, key, xml } = requestMark(theirs);
    await site.libvirtd.virsh("metadata", name, uri, "--config", "--key", key, "--set", xml);
    await request(name, patient);
    await waitForStatus(
      site.api,
      name,
      "conditions[?(@.type=='Reconciling')].reason",
      "ClaimedByAnotherCluster",
    );
    const { status } = await readVirtualMachine(site.api, name);
    const told = status.conditions?.find(({ type }) => type === "Reconciling")?.message ?? "";
    assert.equal((await guest.boots()).length, 1);
    // The status says how to end it where that cluster is gone.
    const remedy = `virsh metadata ${name} ${requestMarkUri} --config --remove`;
    assert.ok(told.includes(remedy), told);
    await site.libvirtd.virsh(...remedy.split(" ").slice(1));
    await site.api.kubectl("annotate", "wvm", name, "look=again");
    assert.equal((await lastRestart(name))?.result, "Succeeded");
    await guest.ready(2);
  });
});

test("without marks nobody can tell what became of a restart whose controller was killed, and the status says so", async () => {
  const name = "unmarked-killed";
  await using controller = await site.startController();
  const guest = await site.startMachine({ name, behaviour: "deaf" }, noMarks);
  await request(name, noMarks);
  await guestAsked(controller, name);
  await controller.kill();
  await using next = await site.startController();
  const restart = await lastRestart(name);
  assert.equal(restart?.result, "Unverified");
  assert.equal(restart.reason, "NoMarks");
  assert.equal((await guest.boots()).length, 1);
  assert.ok(
    next.lines.every(({ effect }) => effect === undefined),
    "something was done to the guest",
  );
});

test("the resource is deleted and the controller killed in the middle: the next one starts the guest", async () => {
  const name = "deleted-killed";
  await using controller = await site.startController();
  const guest = await site.startMachine({ name, behaviour: "obey-after=4" }, patient);
  await request(name, patient);
  await guestAsked(controller, name);
  await controller.kill();
  await site.api.kubectl("delete", "wvm", name);
  await using next = await site.startController();
  await guest.ready(2);
  await next.logged(({ effect, outcome }) => effect === "Start" && outcome === "Done");
  assert.equal((await guest.boots()).length, 2);
});

test("a guest that died while libvirtd was away is told to be off, although libvirt sends no event", async () => {
  const name = "found-dead";
  await using controller = await site.startController();
  await site.startMachine({ name, behaviour: "obey" });
  const qemu = await site.libvirtd.qemuPid(name);
  await site.libvirtd.signal("KILL");
  await site.libvirtd.exited();
  process.kill(qemu, "SIGKILL");
  await site.libvirtd.start();
  await waitForStatus(site.api, name, "domain.state", "Shutoff");
  await waitForCondition(site.api, name, "Ready");
  assert.ok(
    controller.lines.every(({ effect }) => effect === undefined),
    "something was done to the domain",
  );
});
