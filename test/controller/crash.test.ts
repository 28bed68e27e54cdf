import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "../simulation/world.ts";

const impatient = { timeoutSeconds: 20, resendSeconds: 30 };
const deaf = { kind: "Deaf" } as const;
const obeys = { kind: "Obeys", afterMs: 200 } as const;

/** Path, policy, guest, effects, boots, result, method: the controller dies before and after each of the effects. */
const paths = [
  ["a guest that obeys", { mode: "Auto" }, obeys, 4, 2, "Succeeded", "Soft"],
  ["mode Hard", { mode: "Hard" }, obeys, 4, 2, "Succeeded", "Hard"],
  ["a deaf guest that is forced", { mode: "Auto", soft: impatient }, deaf, 5, 2, "Succeeded", "Hard"],
  ["a deaf guest in mode Soft", { mode: "Soft", soft: impatient }, deaf, 4, 1, "Failed", "Soft"],
] as const;

for (const [path, restartPolicy, guest, effects, boots, result, method] of paths) {
  for (const losesWrites of [false, true]) {
    for (let point = 0; point < 2 * effects; point += 1) {
      const writes = losesWrites ? ", and its status writes are lost" : "";
      test(`${path}: the controller dies at point ${point}${writes}: at most one boot ends, and it is told`, async () => {
        const world = new World({ restartPolicy });
        await world.settle();
        world.hypervisor.guest = guest;
        world.api.losesWrites = losesWrites;
        world.crashAtPoint = point;
        world.api.apply({ restartGeneration: 1 });
        await world.settle();
        assert.equal(world.crashAtPoint, undefined, "it died");
        world.api.losesWrites = false;
        world.enqueue();
        await world.settle();
        assert.equal(world.hypervisor.boots.length, boots);
        assert.notEqual(world.hypervisor.running, undefined);
        assert.equal(world.status.lastRestart?.result, result);
        // Whether an attempt was forced is told by its status, or by how the domain went off: not always by anything.
        const told = world.status.lastRestart.method;
        assert.ok(told === method || (losesWrites && told === undefined), `method ${told}`);
        assert.equal(world.status.observedRestartGeneration, 1);
      });
    }
  }
}

test("the controller dies when it has cut the power, and its status does not say so yet: nobody tells that the domain was off before", async () => {
  const world = new World({ restartPolicy: { mode: "Auto", soft: impatient } });
  await world.settle();
  world.hypervisor.guest = deaf;
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  assert.equal(world.status.attempt?.stage, "ShuttingDown");
  world.api.losesWrites = true;
  // Before the destroy is 0.
  world.crashAtPoint = 1;
  await world.settle();
  assert.equal(world.crashAtPoint, undefined, "it died");
  assert.equal(world.status.lastRestart?.result, "Succeeded");
  assert.equal(world.status.lastRestart.method, "Hard");
});

test("a domain that was off is started once, whenever the controller dies", async () => {
  for (let point = 0; point < 6; point += 1) {
    const world = new World({}, { off: true });
    await world.settle();
    world.api.losesWrites = true;
    world.crashAtPoint = point;
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    world.restartController();
    world.api.losesWrites = false;
    await world.settle();
    assert.equal(world.hypervisor.boots.length, 1, `point ${point}`);
    assert.equal(world.status.lastRestart?.result, "Succeeded");
  }
});

test("a status from an older backup does not repeat a request that the domain says was served", async () => {
  const world = new World();
  await world.settle();
  world.api.losesWrites = true;
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  world.api.losesWrites = false;
  assert.equal(world.status.observedRestartGeneration, 0);
  world.restartController();
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 2);
  assert.equal(world.status.observedRestartGeneration, 1);
});

test("libvirtd and the controller are restarted during the wait, so that the domain ID comes round again", async () => {
  const world = new World();
  await world.settle();
  world.hypervisor.guest = { kind: "Deaf" };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  world.hypervisor.restartDaemon();
  world.restartController();
  world.hypervisor.stop("Shutdown");
  world.hypervisor.start();
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 2);
  assert.equal(world.status.lastRestart?.result, "Succeeded");
  assert.ok(!world.status.lastRestart.evidence.includes("DomainIDChanged"));
});

for (const [who, happens] of [
  ["libvirtd is", () => {}],
  ["libvirtd and then the controller are", (world: World) => world.restartController()],
] as const)
  test(`a guest that goes off when asked, while ${who} away, is not told to have been off without our doing`, async () => {
    const world = new World();
    await world.settle();
    world.hypervisor.guest = deaf;
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1000);
    world.hypervisor.findGone();
    happens(world);
    world.enqueue();
    await world.settle();
    assert.equal(world.hypervisor.boots.length, 2);
    assert.equal(world.status.lastRestart?.result, "Succeeded");
    assert.equal(world.status.lastRestart.method, "Soft");
  });

test("the status of an older backup learns the result from the domain, which somebody has powered off since", async () => {
  const world = new World();
  await world.settle();
  world.api.losesWrites = true;
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  world.hypervisor.stop("Destroyed");
  world.restartController();
  world.api.losesWrites = false;
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 2);
  assert.equal(world.status.lastRestart?.result, "Succeeded");
  assert.equal(world.status.observedRestartGeneration, 1);
});

test("the status of an attempt is lost and its annotation is gone when the controller dies: the guest is started all the same", async () => {
  const world = new World();
  await world.settle();
  world.hypervisor.guest = { kind: "Obeys", afterMs: 5000 };
  world.api.losesWrites = true;
  world.api.annotate({ restart: "a" });
  await world.settle(1000);
  world.api.annotate({ restart: undefined });
  world.crashAtPoint = 0;
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 2);
  assert.equal(world.status.lastRestart?.result, "Succeeded");
  assert.equal(world.status.observedRestartToken, "a");
});

test("the controller dies and libvirt is away when the next one starts: it goes on with the same attempt", async () => {
  const world = new World();
  await world.settle();
  world.hypervisor.guest = { kind: "Deaf" };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  world.hypervisor.reachable = false;
  world.restartController();
  await world.settle(1000);
  world.hypervisor.reachable = true;
  world.enqueue();
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 2);
  assert.equal(world.status.lastRestart?.result, "Succeeded");
  assert.equal(world.status.lastRestart.method, "Hard");
});

const generation = (world: World) => world.api.apply({ restartGeneration: 1 });
const token = (world: World) => world.api.annotate({ restart: "a" });
for (const [sentence, first, second] of [
  ["a generation and then a token", generation, token],
  ["a token and then a generation", token, generation],
] as const)
  test(`${sentence} are served and both statuses lost: the domain remembers both`, async () => {
    const world = new World();
    await world.settle();
    world.api.losesWrites = true;
    first(world);
    await world.settle();
    second(world);
    await world.settle();
    world.restartController();
    world.api.losesWrites = false;
    await world.settle();
    assert.equal(world.hypervisor.boots.length, 3);
    assert.equal(world.status.observedRestartGeneration, 1);
    assert.equal(world.status.observedRestartToken, "a");
  });

test("a guest rebooted in place while the controller was dead: its agent's boot ID, asked before, proves it", async () => {
  const agent = { connectedAfterMs: 500, answers: true, obeys: false };
  const guest = { kind: "Deaf", agent } as const;
  const world = new World({ restartPolicy: { soft: { via: "Reboot" } } }, { guest });
  await world.settle();
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  world.hypervisor.reset();
  world.restartController();
  await world.settle();
  const { lastRestart } = world.status;
  assert.equal(lastRestart?.result, "Succeeded");
  assert.deepEqual(lastRestart.evidence, ["BootIDChanged"]);
  assert.deepEqual(world.hypervisor.effects, ["Mark", "Reboot", "Settle"]);
});

test("a domain is defined anew while its new boot is verified, and the controller dies: the running boot still tells that it is the new one", async () => {
  const world = new World({ restartPolicy: { verifyGuest: { timeoutSeconds: 30 } } });
  await world.settle();
  world.api.apply({ restartGeneration: 1 });
  await world.settle(10_000);
  world.hypervisor.undefine();
  world.hypervisor.define();
  world.restartController();
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 2);
  assert.equal(world.status.observedRestartGeneration, 1);
});

test("marks None: the answer to a start is lost and the domain ID comes round again: the guest is not restarted a second time", async () => {
  const world = new World({ restartPolicy: { marks: "None", mode: "Hard" } });
  await world.settle();
  world.hypervisor.restartDaemon();
  await world.settle();
  const fault = { kind: "Unanswered", message: "lost", applied: true } as const;
  world.hypervisor.faults.push({ effect: "Start", fault });
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 2);
  assert.equal(world.status.lastRestart?.result, "Succeeded");
});

test("a guest that crashes while the success of its restart is being recorded stays off, and the restart has succeeded", async () => {
  const world = new World();
  await world.settle();
  world.hypervisor.faults.push({ effect: "Settle", fault: { kind: "Refused", message: "busy" } });
  world.api.apply({ restartGeneration: 1 });
  await world.settle(500);
  assert.equal(world.hypervisor.boots.length, 2);
  world.hypervisor.stop("Crashed");
  await world.settle();
  assert.equal(world.status.lastRestart?.result, "Succeeded");
  assert.equal(world.hypervisor.boots.length, 2);
});
