import assert from "node:assert/strict";
import { test } from "node:test";
import { condition, effects, ends, lastRestart, settledWorld } from "./settled-world.ts";

test("a guest that is paused on an I/O error as soon as it is resumed is resumed each minute, and never power-cycled", async () => {
  const world = await settledWorld();
  const { hypervisor } = world;
  hypervisor.resume = () => {
    hypervisor.enter("Running", "Unpaused");
    hypervisor.enter("Paused", "IOError");
    return { kind: "Done" };
  };
  hypervisor.pause("IOError");
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  assert.equal(condition(world, "Ready"), "False StorageFailing");
  assert.equal(effects(world), "Mark Resume");
  await world.settle(60_000);
  assert.equal(effects(world), "Mark Resume Resume");
  Reflect.deleteProperty(hypervisor, "resume");
  await world.settle();
  assert.equal(lastRestart(world), "Succeeded Soft");
  assert.deepEqual(ends(world), ["Shutdown", undefined]);
});

test("mode Hard: a guest whose disks cannot be read keeps its power until they can", async () => {
  const world = await settledWorld({ restartPolicy: { mode: "Hard" } });
  world.hypervisor.storageProblem = "disk vda: no such file";
  world.hypervisor.pause("IOError");
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  assert.equal(condition(world, "Ready"), "False StorageFailing");
  assert.equal(effects(world), "");
  world.hypervisor.storageProblem = undefined;
  await world.settle(60_000);
  assert.equal(lastRestart(world), "Succeeded Hard");
});
