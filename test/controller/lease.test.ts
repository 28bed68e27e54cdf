import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "../simulation/world.ts";

/** The first process renews its lease for the last time at 0, so that it may act until 10 s and is gone at 70 s. */
async function askedWorld(afterMs: number): Promise<World> {
  const world = new World({ restartPolicy: { soft: { resendSeconds: 5 } } });
  await world.settle();
  world.hypervisor.guest = { kind: "Obeys", afterMs };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  assert.deepEqual(world.hypervisor.effects, ["Mark", "Shutdown"]);
  return world;
}

function reason(world: World): string | undefined {
  return world.status.conditions?.find(({ type }) => type === "Reconciling")?.reason;
}

test("a process that lost its lease asks nobody again, and its status is the next holder's", async () => {
  const world = await askedWorld(300_000);
  world.onAct = ({ what, isHeld }) => assert.ok(isHeld, `${what} without the lease`);
  world.cutOff(300_000);
  await world.settle(14_000);
  assert.deepEqual(world.hypervisor.effects, ["Mark", "Shutdown", "Shutdown"]);
  await world.settle(5000);
  assert.equal(reason(world), "PredecessorMayAct");
  await world.settle(49_000);
  assert.equal(world.hypervisor.effects.length, 3, "the next one waits until the first is gone");
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 2);
  assert.equal(world.status.lastRestart?.result, "Succeeded");
});

test("a process that lost its lease starts the guest that it has stopped", async () => {
  const world = await askedWorld(20_000);
  world.cutOff(300_000);
  await world.settle(25_000);
  assert.equal(world.hypervisor.effects.at(-1), "Start");
  assert.equal(world.hypervisor.boots.length, 2);
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 2);
  assert.equal(world.status.lastRestart?.result, "Succeeded");
});

test("what an operator powers off after the next holder's restart stays off, whoever has begun it", async () => {
  const world = await askedWorld(20_000);
  world.standStill(35_000);
  await world.settle(80_000);
  assert.equal(world.status.lastRestart?.result, "Succeeded");
  world.hypervisor.stop("Destroyed");
  await world.settle();
  assert.equal(world.hypervisor.running, undefined);
});

test("a process that lost its lease starts nothing any more once the next holder may ask the guest", async () => {
  const world = await askedWorld(80_000);
  world.cutOff(300_000);
  world.onAct = ({ what, isHeld }) => assert.ok(isHeld, `${what} without the lease`);
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 2);
});

test("a guest that was stopped by a process that died is started when nothing of that process can come any more", async () => {
  const world = await askedWorld(2000);
  world.kill();
  await world.settle(60_000);
  assert.equal(world.hypervisor.running, undefined);
  assert.equal(reason(world), "PredecessorMayAct");
  await world.settle(15_000);
  assert.equal(world.hypervisor.boots.length, 2);
  assert.equal(world.status.lastRestart?.result, "Succeeded");
});

test("a signal that comes late ends the boot that it was meant for, or none", async () => {
  for (const lateMs of [20_000, 40_000, 54_000]) {
    const world = await askedWorld(300_000);
    world.plan({ at: "BehindEffect", forMs: 75_000, lateMs });
    await world.settle(15_000);
    world.hypervisor.stop("Shutdown", world.hypervisor.actor);
    await world.settle();
    assert.deepEqual(
      world.hypervisor.boots.map(({ signals }) => signals),
      [1, 0],
      `${lateMs} ms`,
    );
    assert.equal(world.status.lastRestart?.result, "Succeeded");
  }
});

test("a mark that comes late brings no request back to life", async () => {
  const world = new World();
  await world.settle();
  world.plan({ at: "BehindEffect", forMs: 35_000, lateMs: 50_000 });
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  world.restartController();
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 2);
  assert.equal(world.status.lastRestart?.result, "Succeeded");
});

test("a mark that comes late is found, although nobody asks for its restart any more", async () => {
  const world = new World();
  await world.settle();
  world.plan({ at: "BehindEffect", forMs: 35_000, lateMs: 50_000 });
  world.api.annotate({ restart: "a" });
  await world.settle(5000);
  world.api.annotate({ restart: undefined });
  await world.settle();
  assert.equal(world.status.lastRestart?.result, "Succeeded");
  assert.equal(world.status.observedRestartToken, "a");
});

test("a result that the previous holder puts on record late ends the restart: what crashed since stays off", async () => {
  const world = new World({ restartPolicy: { mode: "Hard" } });
  await world.settle();
  world.hypervisor.beforeEffect = (effect) => {
    if (effect === "Start") world.plan({ at: "BehindEffect", forMs: 35_000, lateMs: 30_000 });
  };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(10_000);
  world.hypervisor.stop("Crashed");
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 2);
  assert.equal(world.status.lastRestart?.result, "Succeeded");
  assert.equal(world.status.lastRestart.reason, "ServedBefore");
});
