/**
 * What users of systems like this one complain about, as far as the controller decides it: each is a scenario that goes
 * right here. The number is followed by where it was said.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { operator } from "../simulation/domain.ts";
import type { World } from "../simulation/world.ts";
import { condition, effects, ends, history, lastRestart, settledWorld } from "./settled-world.ts";

const deaf = { kind: "Deaf" } as const;
const takes10s = { kind: "Obeys", afterMs: 10_000 } as const;

function tookMs(world: World): number {
  const record = world.status.lastRestart;
  assert.ok(record !== undefined);
  return Date.parse(record.endedAt) - Date.parse(record.startedAt);
}

test("1 (kubevirt#17193): a guest that ignores the button is asked again and again, and then forced", async () => {
  const world = await settledWorld({ restartPolicy: { soft: { timeoutSeconds: 50, resendSeconds: 20 } } });
  world.hypervisor.guest = deaf;
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(effects(world), "Mark Shutdown Shutdown Shutdown Destroy Start Settle");
  assert.equal(tookMs(world), 50_000);
});

test("1 (HyperCoreAnsibleCollection#293): a button that came too early in the boot is pressed again", async () => {
  const world = await settledWorld({ restartPolicy: { soft: { resendSeconds: 5 } } }, { guest: deaf });
  world.api.apply({ restartGeneration: 1 });
  await world.settle(4000);
  world.hypervisor.guest = { kind: "Obeys", afterMs: 100 };
  await world.settle();
  assert.equal(lastRestart(world), "Succeeded Soft");
  assert.equal(tookMs(world), 5100);
});

test("2 (kubevirt#18721): a channel with no agent behind it costs no time: the button is pressed at once", async () => {
  const agent = { connectedAfterMs: undefined, answers: false, obeys: false };
  const world = await settledWorld({}, { guest: { kind: "Obeys", afterMs: 300, agent } });
  assert.equal(condition(world, "GuestReady"), "False AgentDisconnected");
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(effects(world), "Mark Shutdown Start Settle");
  assert.equal(tookMs(world), 300);
});

test("3 (kubevirt#16114, #16943): a request that was accepted is not told as served before the new boot is proven", async () => {
  const world = await settledWorld({}, { guest: takes10s });
  world.api.apply({ restartGeneration: 1 });
  await world.settle(9999);
  assert.equal(world.status.observedRestartGeneration, 0);
  assert.equal(lastRestart(world), "none");
  assert.equal(condition(world, "Ready"), "False ShuttingDown");
  await world.settle();
  assert.equal(world.status.observedRestartGeneration, 1);
  assert.ok(world.status.lastRestart?.evidence.includes("RequestMarkSeen"));
});

test("3: what cannot be proven is told as Unverified, and not as a success", async () => {
  const world = await settledWorld({}, { guest: deaf });
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  world.hypervisor.revert();
  await world.settle();
  assert.equal(world.status.lastRestart?.result, "Unverified");
  assert.equal(condition(world, "Ready"), "False RestartUnverified");
});

test("4 (spinifex#1028): mode Soft never cuts the power, whatever the guest and libvirt do", async () => {
  for (const guest of [deaf, { ...deaf, sleepsOn: true }, takes10s] as const)
    for (const happens of ["nothing", "panic", "sleep", "pause", "refusal"] as const) {
      const world = await settledWorld(
        { restartPolicy: { mode: "Soft", hard: { via: "Reset" } } },
        { guest },
      );
      const fault = { kind: "Refused", message: "no" } as const;
      if (happens === "refusal")
        for (let times = 0; times < 9; times += 1)
          world.hypervisor.faults.push({ effect: "Shutdown", fault });
      world.api.apply({ restartGeneration: 1 });
      await world.settle(1000);
      if (happens === "panic" || happens === "sleep" || happens === "pause") world.hypervisor[happens]();
      await world.settle(1_000_000);
      assert.doesNotMatch(effects(world), /Destroy|Reset/, `${guest.kind}, ${happens}`);
    }
});

test("4: a graceful restart that had to be forced says so: in its method, its reason and a Warning", async () => {
  const world = await settledWorld({}, { guest: deaf });
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(world.status.lastRestart?.method, "Hard");
  assert.equal(world.status.lastRestart.forcedBecause, "the guest did not shut down within 120 s");
  const forced = world.api.notices.filter(({ reason }) => reason === "RestartForced");
  assert.deepEqual(
    forced.map(({ type }) => type),
    ["Warning"],
  );
});

for (const [how, live] of [
  ["is migrating", (world: World) => world.hypervisor.setJob({ kind: "Migration", what: "MigrationOut" })],
  ["was migrated away", (world: World) => void world.hypervisor.stop("Migrated")],
  ["is saved on disk", (world: World) => void world.hypervisor.stop("Saved")],
] as const)
  test(`5 (kubevirt#9830): a forced restart of a guest that ${how} does not make a second copy of it`, async () => {
    const world = await settledWorld({ restartPolicy: { mode: "Hard", whenBusy: "Force" } });
    live(world);
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1_000_000);
    assert.equal(effects(world), "");
    assert.equal(world.hypervisor.boots.length, 1);
  });

test("6 (enhancements#163): a guest that reboots itself instead of going off still gets its changed configuration", async () => {
  const world = await settledWorld({}, { guest: { kind: "Reboots", afterMs: 100 } });
  world.hypervisor.actions = { onReboot: "destroy", onPoweroff: "destroy" };
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(world.hypervisor.running?.onReboot, "destroy");
  assert.deepEqual(world.hypervisor.running.inPlace, []);
});

test("6 (harvester#2498): no edit of the resource restarts its machine but the two triggers", async () => {
  const world = await settledWorld();
  for (const spec of [
    { restartPolicy: { mode: "Hard" } },
    { restartPolicy: { minIntervalSeconds: 5 } },
    { suspend: true },
    { suspend: false },
  ])
    world.api.apply(spec);
  world.api.annotate({ restartMode: "Hard", skipInterval: "1", cancel: "1" });
  await world.settle();
  assert.equal(effects(world), "");
});

test("8 (Nova bugs 1072751, 1999674): nothing stays in rebooting after a crash, wherever it comes", async () => {
  for (let point = 0; point < 8; point += 1) {
    const world = await settledWorld();
    world.crashAtPoint = point;
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.match(lastRestart(world), /^Succeeded Soft/, `point ${point}`);
    assert.equal(world.status.attempt, undefined);
  }
});

test("9 (Nova bugs 1443186, 1444630): a machine that its owner has switched off stays off", async () => {
  const world = await settledWorld();
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  world.hypervisor.stop("Shutdown");
  await world.settle(1_000_000);
  world.restartController();
  await world.settle(1_000_000);
  assert.equal(world.hypervisor.running, undefined);
});

test("9: somebody who starts the guest in the middle of its restart is not fought: his start is the new boot", async () => {
  const world = await settledWorld({}, { guest: takes10s });
  world.api.apply({ restartGeneration: 1 });
  world.hypervisor.onEnd = () => {
    world.hypervisor.onEnd = () => {};
    world.timeline.after(0, () => void world.hypervisor.start(operator));
  };
  world.delays = { lookMs: 5, performMs: 5 };
  await world.settle();
  assert.deepEqual(
    world.hypervisor.boots.map(({ startedBy, end }) => [startedBy, end]),
    [
      [operator, "Shutdown"],
      [operator, undefined],
    ],
  );
  assert.equal(lastRestart(world), "Succeeded Soft");
});

test("12 (baremetal-operator#984, #828): a fallback that fails ends, and its error is told", async () => {
  const world = await settledWorld({ restartPolicy: { soft: { timeoutSeconds: 10 } } }, { guest: deaf });
  const fault = { kind: "Refused", message: "Device or resource busy" } as const;
  for (let times = 0; times < 9; times += 1) world.hypervisor.faults.push({ effect: "Destroy", fault });
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(effects(world), "Mark Shutdown Destroy Destroy Destroy Destroy Release Settle");
  assert.equal(lastRestart(world), "Failed Soft DestroyRefused");
  assert.match(world.status.lastRestart?.message ?? "", /Device or resource busy/);
  assert.deepEqual(
    world.api.notices.map(({ reason }) => reason),
    ["RestartStarted", "RestartForced", "RestartFailed"],
  );
});

test("13 (baremetal-operator#3271): no annotation is ever written or removed by the controller", async () => {
  const world = await settledWorld();
  const wishes = { restart: "a", restartMode: "Hard", cancel: "b", skipInterval: "c" };
  world.api.annotate(wishes);
  const before = world.api.stored?.metadata.annotations;
  await world.settle();
  assert.equal(lastRestart(world), "Succeeded Hard");
  assert.deepEqual(world.api.stored?.metadata.annotations, before);
});

test("13: a value that is malformed is told once, and not tried again", async () => {
  const world = await settledWorld();
  world.api.annotate({ restart: "x".repeat(300) });
  await world.settle();
  const passes = world.trace.length;
  await world.settle(1_000_000);
  assert.equal(world.trace.length, passes);
  assert.equal(world.api.notices.length, 1);
  world.restartController();
  await world.settle();
  assert.equal(world.api.notices.length, 1);
});

test("13 (kubeblocks#6949): a second request is a second restart, and does not succeed by the first one's evidence", async () => {
  const world = await settledWorld();
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  world.api.apply({ restartGeneration: 2 });
  await world.settle();
  assert.deepEqual(history(world), ["Succeeded Soft", "Succeeded Soft"]);
  assert.deepEqual(ends(world), ["Shutdown", "Shutdown", undefined]);
});

test("13 (argo-helm#3654): GitOps that removes the annotation neither takes the request back nor restarts again", async () => {
  const world = await settledWorld({}, { guest: takes10s });
  for (const restart of ["a", "b"]) {
    world.api.annotate({ restart });
    await world.settle(1000);
    world.api.annotate({ restart: undefined });
    await world.settle();
  }
  assert.deepEqual(ends(world), ["Shutdown", "Shutdown", undefined]);
  assert.equal(world.status.observedRestartToken, "b");
});

test("14 (kured#847): the mark of a controller that died blocks nobody: its successor ends that restart, and the next is served", async () => {
  const world = await settledWorld({}, { guest: takes10s });
  world.api.annotate({ restart: "a" });
  await world.settle(1000);
  world.restartController();
  await world.settle();
  world.api.annotate({ restart: "b" });
  await world.settle();
  assert.deepEqual(history(world), ["Succeeded Soft", "Succeeded Soft"]);
});

test("15 (community.libvirt#167): a guest that sleeps is woken up before it is asked", async () => {
  const world = await settledWorld();
  world.hypervisor.sleep();
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(effects(world), "Mark Wake Shutdown Start Settle");
  assert.equal(lastRestart(world), "Succeeded Soft");
});

test("15 (xcp-ng#141): without an operating system nobody answers: forced, and no success where the guest has to answer", async () => {
  const agent = { connectedAfterMs: undefined, answers: false, obeys: false };
  const restartPolicy = { soft: { timeoutSeconds: 10 }, verifyGuest: { timeoutSeconds: 60 } };
  const world = await settledWorld({ restartPolicy }, { guest: { ...deaf, agent } });
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(lastRestart(world), "Failed Hard GuestNotReady");
  assert.deepEqual(ends(world), ["Destroyed", undefined]);
});
