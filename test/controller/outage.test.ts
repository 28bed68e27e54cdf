/** What is told while a domain or its hypervisor is out of reach: once for each change, and not for each try. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { unreachableReasons } from "../../controller/ports.ts";
import type { World } from "../simulation/world.ts";
import { condition, settledWorld } from "./settled-world.ts";

const over = {
  HypervisorUnreachable: "HypervisorReachable",
  DomainUnresponsive: "DomainResponsive",
  DomainUnreadable: "DomainReadable",
} as const;

/** Types and reasons of the Events so far. */
function events({ api }: World): string[] {
  return api.notices.map(({ type, reason }) => `${type} ${reason}`);
}

async function tried(world: World, times: number): Promise<void> {
  for (let time = 0; time < times; time += 1) {
    world.enqueue();
    await world.settle(1000);
  }
}

for (const reason of unreachableReasons)
  describe(`while it is ${reason}`, () => {
    async function away(world: World): Promise<void> {
      world.hypervisor.outage = { reason, message: "no answer to the first call", retryInMs: 10_000 };
      world.hypervisor.reachable = false;
      await tried(world, 1);
    }

    test("a machine at rest tells so in its conditions and by one Event, and that it is over by another", async () => {
      const world = await settledWorld();
      await away(world);
      assert.equal(condition(world, "Ready"), `False ${reason}`);
      assert.equal(condition(world, "Reconciling"), `True ${reason}`);
      assert.equal(condition(world, "Stalled"), "absent");
      assert.equal(condition(world, "Bound"), `Unknown ${reason}`);
      await tried(world, 5);
      assert.deepEqual(events(world), [`Warning ${reason}`]);
      world.hypervisor.reachable = true;
      await tried(world, 2);
      assert.equal(condition(world, "Ready"), "True Watching");
      assert.equal(condition(world, "Bound"), "True DomainFound");
      assert.deepEqual(events(world), [`Warning ${reason}`, `Normal ${over[reason]}`]);
    });

    test("its status is written twice: when it goes and when it is back", async () => {
      const world = await settledWorld();
      await away(world);
      await tried(world, 5);
      world.hypervisor.reachable = true;
      await tried(world, 2);
      assert.equal(world.api.writes.length, 2);
    });

    test("a request waits, also one that is taken back meanwhile", async () => {
      const world = await settledWorld();
      await away(world);
      world.api.annotate({ restart: "a" });
      await world.settle(1000);
      assert.equal(world.status.request?.restartToken, "a");
      world.api.annotate({ restart: "a", cancel: "a" });
      await tried(world, 3);
      assert.equal(world.status.lastRestart?.reason, "Cancelled");
      assert.equal(condition(world, "Bound"), `Unknown ${reason}`);
      world.api.annotate({ restart: "b" });
      await tried(world, 3);
      world.hypervisor.reachable = true;
      await tried(world, 1);
      await world.settle();
      assert.equal(world.status.lastRestart?.request.restartToken, "b");
      assert.equal(world.status.lastRestart.result, "Succeeded");
      const told = events(world).filter((event) => event.includes(reason) || event.includes(over[reason]));
      assert.deepEqual(told, [`Warning ${reason}`, `Normal ${over[reason]}`]);
    });

    test("a restart in its middle waits, and says so in the same Event", async () => {
      const world = await settledWorld();
      world.hypervisor.guest = { kind: "Deaf" };
      world.api.apply({ restartGeneration: 1 });
      await world.settle(1000);
      await away(world);
      await tried(world, 3);
      assert.deepEqual(events(world), ["Normal RestartStarted", `Warning ${reason}`]);
      assert.match(world.api.notices.at(-1)?.note ?? "", /; the restart waits$/);
    });
  });

test("a domain that does not answer keeps the words in which that was told first", async () => {
  const world = await settledWorld();
  world.hypervisor.reachable = false;
  for (const call of ["first", "second", "third"]) {
    const message = `no answer to the ${call} call`;
    world.hypervisor.outage = { reason: "DomainUnresponsive", message };
    await tried(world, 1);
  }
  const bound = world.status.conditions?.find(({ type }) => type === "Bound");
  assert.equal(bound?.message, "no answer to the first call");
  assert.equal(world.api.writes.length, 1);
});

test("a hypervisor that is back with a domain that hangs: the domain is told, and its end alone", async () => {
  const world = await settledWorld();
  world.hypervisor.reachable = false;
  await tried(world, 1);
  world.hypervisor.outage = { reason: "DomainUnresponsive", message: "it hangs" };
  await tried(world, 2);
  world.hypervisor.reachable = true;
  await tried(world, 1);
  assert.deepEqual(events(world), [
    "Warning HypervisorUnreachable",
    "Warning DomainUnresponsive",
    "Normal DomainResponsive",
  ]);
});

test("whether an agent is there is not known either", async () => {
  const agent = { connectedAfterMs: 500, answers: true, obeys: true };
  const world = await settledWorld({}, { guest: { kind: "Obeys", afterMs: 200, agent } });
  assert.equal(condition(world, "GuestReady"), "True AgentConnected");
  world.hypervisor.reachable = false;
  await tried(world, 1);
  assert.equal(condition(world, "GuestReady"), "Unknown HypervisorUnreachable");
});

test("a domain that is undefined at rest, and defined again, is told by an Event each", async () => {
  const world = await settledWorld();
  world.hypervisor.exists = false;
  await tried(world, 3);
  world.hypervisor.exists = true;
  await tried(world, 2);
  assert.deepEqual(events(world), ["Warning DomainNotFound", "Normal DomainFound"]);
});
