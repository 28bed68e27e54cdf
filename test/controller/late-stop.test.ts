import assert from "node:assert/strict";
import { test } from "node:test";
import { effects, ends, history, settledWorld } from "./settled-world.ts";

const slow = { kind: "Obeys", afterMs: 60_000 } as const;

for (const marks of ["Domain", "None"] as const) {
  test(`marks ${marks}: a guest that a request never reached, and that somebody shuts down later, stays off`, async () => {
    const world = await settledWorld({ restartPolicy: { marks, deadlineSeconds: 60 } });
    world.hypervisor.pause();
    world.api.apply({ restartGeneration: 1 });
    await world.settle(61_000);
    assert.deepEqual(history(world), ["Failed DeadlineExceeded"]);
    world.hypervisor.resume();
    world.hypervisor.stop("Shutdown");
    await world.settle();
    assert.equal(effects(world), "");
    assert.equal(world.hypervisor.running, undefined);
  });

  test(`marks ${marks}: a guest that was on record but never asked, and that somebody shuts down later, stays off`, async () => {
    const world = await settledWorld({ restartPolicy: { marks, deadlineSeconds: 60 } });
    world.onDecision = ({ attempt }) => {
      if (attempt?.stage === "Preparing") world.hypervisor.pause();
    };
    world.api.apply({ restartGeneration: 1 });
    await world.settle(61_000);
    assert.equal(world.status.lastRestart?.reason, "DeadlineExceeded");
    world.hypervisor.resume();
    world.hypervisor.stop("Shutdown");
    await world.settle();
    assert.ok(!world.hypervisor.effects.includes("Start"));
    assert.equal(world.hypervisor.running, undefined);
  });
}

for (const marks of ["Domain", "None"] as const) {
  test(`marks ${marks}: a guest that obeys too late is started, also where another request has failed since`, async () => {
    const restartPolicy = { mode: "Soft", marks, deadlineSeconds: 20, soft: { timeoutSeconds: 10 } };
    const world = await settledWorld({ restartPolicy }, { guest: slow });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(15_000);
    world.hypervisor.setJob({ kind: "Other", what: "Backup" });
    world.api.apply({ restartGeneration: 2 });
    await world.settle();
    assert.deepEqual(history(world), [
      "Succeeded Soft",
      "Failed DeadlineExceeded",
      "Failed Soft GuestShutdownTimedOut",
    ]);
    assert.deepEqual(ends(world), ["Shutdown", undefined]);
  });
}

test("a guest that obeys too late, when no status can be written, is told by the next process, beside what is refused", async () => {
  const restartPolicy = { mode: "Soft", soft: { timeoutSeconds: 10 } };
  const world = await settledWorld({ restartPolicy }, { guest: slow });
  world.api.annotate({ restart: "one" });
  await world.settle(5000);
  world.api.losesWrites = true;
  await world.settle();
  assert.deepEqual(ends(world), ["Shutdown", undefined]);
  world.api.annotate({ restart: "line\nbreak" });
  world.restartController();
  world.api.losesWrites = false;
  await world.settle(60_000);
  assert.deepEqual(history(world), ["Succeeded Soft ServedBefore"]);
  assert.equal(world.status.observedRestartToken, "line\nbreak");
  assert.ok(world.trace.filter((rule) => rule === "refused").length < 3, "it is refused once");
});

test("a guest that was asked, and then cannot be destroyed, is started when it obeys after all", async () => {
  const restartPolicy = { soft: { timeoutSeconds: 10 } };
  const world = await settledWorld({ restartPolicy }, { guest: slow });
  world.api.apply({ restartGeneration: 1 });
  await world.settle(5000);
  const fault = { kind: "Refused", message: "no" } as const;
  for (let times = 0; times < 4; times += 1) world.hypervisor.faults.push({ effect: "Destroy", fault });
  await world.settle();
  assert.deepEqual(history(world), ["Succeeded Soft", "Failed Soft DestroyRefused"]);
  assert.deepEqual(ends(world), ["Shutdown", undefined]);
});

for (const refused of ["Reset", "Mark"] as const) {
  test(`a guest that cannot be reset, because ${refused} is refused, is power-cycled`, async () => {
    const restartPolicy = { hard: { via: "Reset" }, soft: { timeoutSeconds: 10 } };
    const world = await settledWorld({ restartPolicy }, { guest: { kind: "Deaf" } });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(5000);
    world.hypervisor.faults.push({ effect: refused, fault: { kind: "Refused", message: "no" } });
    await world.settle();
    assert.deepEqual(history(world), ["Succeeded Hard"]);
    assert.deepEqual(ends(world), ["Destroyed", undefined]);
  });
}

test("a reset that libvirt has not answered is not repeated, and proves nothing", async () => {
  const restartPolicy = { mode: "Hard", hard: { via: "Reset" } };
  const world = await settledWorld({ restartPolicy });
  world.hypervisor.faults.push({ effect: "Reset", fault: { kind: "Unanswered", message: "no" } });
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(effects(world), "Mark Reset Settle");
  assert.deepEqual(history(world), ["Unverified Hard RebootUnproven"]);
});

for (const reason of ["GuestDidNotWake", "WakeRefused"]) {
  test(`a guest that was asked, fell asleep and did not wake up (${reason}) is started when it obeys after all`, async () => {
    const world = await settledWorld(
      { restartPolicy: { mode: "Soft" } },
      { guest: { ...slow, sleepsOn: true } },
    );
    const fault = { kind: "Refused", message: "no" } as const;
    if (reason === "WakeRefused")
      for (let times = 0; times < 4; times += 1) world.hypervisor.faults.push({ effect: "Wake", fault });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(5000);
    world.hypervisor.sleep();
    await world.settle(15_000);
    assert.deepEqual(history(world), [`Failed Soft ${reason}`]);
    world.hypervisor.guest = slow;
    world.hypervisor.wake();
    await world.settle();
    assert.deepEqual(ends(world), ["Shutdown", undefined]);
  });
}
