/**
 * The holes that a boot token can have, each with what closes it here: a test of each fails when that is taken out of
 * the controller. `npm run mutate` takes some of them out as well, and shows that random histories find it.
 *
 * Not here: two controllers at once (4) need the Lease; calls that hang (10) are the hypervisor's, not the controller's.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { alwaysHeld, type Effect, type Hypervisor, type RequestMark } from "../../controller/ports.ts";
import { Reconciler } from "../../controller/reconcile.ts";
import { bootMarkUri } from "../../src/hypervisor/marks.ts";
import { operator } from "../simulation/domain.ts";
import type { World } from "../simulation/world.ts";
import { condition, effects, ends, history, lastRestart, settledWorld } from "./settled-world.ts";

const deaf = { kind: "Deaf" } as const;
const takes5s = { kind: "Obeys", afterMs: 5000 } as const;

/** A request is made and the guest has been asked; it does not go off by itself. */
async function asked(spec: Record<string, unknown> = {}): Promise<World> {
  const world = await settledWorld(spec, { guest: deaf });
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  return world;
}

describe("1. a stale pass marks the new boot", () => {
  test("every attempt has a name of its own: the boot that ended an earlier one is not taken for the next one's", async () => {
    const world = await settledWorld();
    for (const restartGeneration of [1, 2, 3]) {
      world.api.apply({ restartGeneration });
      await world.settle();
    }
    assert.deepEqual(history(world), ["Succeeded Soft", "Succeeded Soft", "Succeeded Soft"]);
    assert.equal(new Set(world.status.history?.map(({ id }) => id)).size, 3);
  });

  test("every attempt's boot mark has a URI of its own", () => {
    assert.notEqual(bootMarkUri("0".repeat(32)), bootMarkUri("1".repeat(32)));
  });

  test("a process that knows only a stale resource asks the domain before it begins, and begins nothing", async () => {
    const world = await settledWorld();
    world.api.delays = { watchMs: 60_000, writeMs: 30_000 };
    world.api.apply({ restartGeneration: 1 });
    await world.settle(70_000);
    assert.deepEqual(ends(world), ["Shutdown", undefined]);
    world.restartController();
    await world.settle();
    assert.deepEqual(ends(world), ["Shutdown", undefined]);
    assert.equal(world.status.observedRestartGeneration, 1);
  });
});

describe("2. the guest answers the shutdown with a reboot", () => {
  test("the marked boot's reboot ends in off, so that it is restarted once, whatever events are lost", async () => {
    const world = await settledWorld({}, { guest: { kind: "Reboots", afterMs: 5000 } });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1000);
    world.hypervisor.reachable = false;
    world.restartController();
    await world.settle(10_000);
    world.hypervisor.reachable = true;
    world.enqueue();
    await world.settle();
    assert.deepEqual(
      world.hypervisor.boots.map(({ end, inPlace }) => [end, inPlace.length]),
      [
        ["Shutdown", 0],
        [undefined, 0],
      ],
    );
  });

  test("the guest may reboot by itself again when the attempt has failed", async () => {
    const world = await asked({ restartPolicy: { mode: "Soft" } });
    assert.equal(world.hypervisor.running?.onReboot, "destroy");
    await world.settle();
    assert.equal(lastRestart(world), "Failed Soft GuestShutdownTimedOut");
    assert.equal(world.hypervisor.running.onReboot, "restart");
  });
});

describe("3. REBOOT events come several to a reset", () => {
  const agent = { connectedAfterMs: undefined, answers: false, obeys: false };
  for (const beforeMs of [10, 500, 5000])
    test(`a reset ${beforeMs} ms before the request is not taken for its answer, and the answer is not missed`, async () => {
      const world = await settledWorld(
        { restartPolicy: { soft: { via: "Reboot" } } },
        { guest: { kind: "Obeys", afterMs: 300, agent } },
      );
      world.hypervisor.reset(operator);
      await world.settle(beforeMs);
      world.api.apply({ restartGeneration: 1 });
      await world.settle();
      assert.equal(lastRestart(world), "Succeeded Soft");
      const byUs = world.hypervisor.running?.inPlace.filter(({ by }) => by !== operator);
      assert.equal(byUs?.length, 1);
      assert.ok(
        Date.parse(world.status.lastRestart?.endedAt ?? "") >=
          Date.parse(world.status.lastRestart?.startedAt ?? "") + 300,
      );
    });
});

describe("5. off is not always over", () => {
  for (const end of ["Saved", "Migrated"] as const)
    for (const forgotten of [false, true])
      test(`a guest that is ${end.toLowerCase()} in the middle${forgotten ? ", and libvirtd is restarted," : ""} is not started`, async () => {
        const world = await asked();
        world.hypervisor.stop(end);
        await world.settle(1000);
        if (forgotten) world.hypervisor.restartDaemon();
        await world.settle(1_000_000);
        assert.equal(world.hypervisor.running, undefined);
        assert.equal(effects(world), "Mark Shutdown");
      });
});

describe("6. marks leak into later boots", () => {
  test("the old boot's XML was defined again: the boot that we started ourselves is not restarted once more", async () => {
    const world = await asked();
    const attempt = world.status.attempt?.id ?? "";
    world.hypervisor.beforePerform = ({ kind }: Effect) => {
      // The live XML has the boot mark, and not the request mark.
      if (kind === "Start") world.hypervisor.undefine();
      if (kind === "Start") world.hypervisor.define();
    };
    const perform = world.hypervisor.perform.bind(world.hypervisor);
    world.hypervisor.perform = async (domain, effect) => {
      const outcome = await perform(domain, effect);
      if (effect.kind === "Start") world.hypervisor.running?.bootMarks.add(attempt);
      return outcome;
    };
    world.hypervisor.stop("Destroyed");
    await world.settle();
    assert.equal(lastRestart(world), "Unverified Start ContradictoryMarks");
    assert.deepEqual(ends(world), ["Destroyed", undefined]);
  });

  for (const [what, change] of [
    [
      "both marks",
      ({ hypervisor }: World) =>
        void Object.assign(hypervisor.running ?? {}, { requestMark: hypervisor.nextMark }),
    ],
    ["neither mark, as after a revert to a snapshot", (world: World) => world.hypervisor.revert()],
  ] as const)
    test(`a boot with ${what} proves nothing, and nothing more is done to it`, async () => {
      const world = await asked();
      change(world);
      world.enqueue();
      await world.settle();
      assert.equal(world.status.lastRestart?.reason, "ContradictoryMarks");
      assert.equal(world.status.lastRestart.result, "Unverified");
      assert.deepEqual(ends(world), [undefined]);
      assert.equal(world.hypervisor.running?.onReboot, "restart");
    });
});

describe("7. a restored etcd repeats finished work", () => {
  test("the domain remembers what was served: nothing is restarted again, and the status learns it", async () => {
    const world = await settledWorld();
    world.backup = world.api.stored;
    world.api.apply({ restartGeneration: 1 });
    const requested = world.api.stored;
    await world.settle();
    for (const backup of [requested, world.backup]) {
      world.api.restore(backup);
      world.restartController();
      await world.settle();
      assert.deepEqual(ends(world), ["Shutdown", undefined]);
    }
    assert.equal(world.status.lastRestart?.reason, "ServedBefore");
    assert.equal(world.status.observedRestartGeneration, 1);
  });

  test("in the middle of an attempt: the same attempt goes on, and the guest that goes off is started", async () => {
    const world = await settledWorld({}, { guest: takes5s });
    world.backup = world.api.stored;
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1000);
    const attempt = world.status.attempt?.id;
    world.api.restore(world.backup);
    world.restartController();
    await world.settle();
    assert.deepEqual(ends(world), ["Shutdown", undefined]);
    assert.equal(world.status.lastRestart?.id, attempt);
  });
});

describe("8. marking is blocked exactly when force is needed", () => {
  test("where the marks are denied, the request fails before anything happens to the guest", async () => {
    const world = await settledWorld({ restartPolicy: { mode: "Hard" } });
    world.hypervisor.mayMark = false;
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.deepEqual(ends(world), [undefined]);
    assert.equal(world.status.lastRestart?.reason, "MarkDenied");
    assert.match(world.status.lastRestart.message, /marks to None/);
  });

  for (const [mode, expected, end] of [
    ["Hard", "Mark Destroy Start Settle", "Succeeded Hard"],
    ["Auto", "Mark Destroy Start Settle", "Succeeded Hard"],
    ["Soft", "Mark Mark Mark Mark Release", "Failed Start MarkRefused"],
  ] as const)
    test(`mode ${mode}: a domain that takes no marks because its process hangs: ${end}`, async () => {
      const world = await settledWorld({ restartPolicy: { mode } });
      const fault = { kind: "Refused", message: "cannot acquire state change lock", cause: "Busy" } as const;
      for (let times = 0; times < 4; times += 1) world.hypervisor.faults.push({ effect: "Mark", fault });
      world.api.apply({ restartGeneration: 1 });
      await world.settle();
      assert.equal(effects(world), expected);
      assert.equal(lastRestart(world), end);
    });

  for (const reconnects of [false, true])
    test(`without marks the domain's ID counts, on one connection alone${reconnects ? ": after another one nothing is destroyed" : ""}`, async () => {
      const restartPolicy = { marks: "None", soft: { timeoutSeconds: 10 } };
      const world = await asked({ restartPolicy });
      if (reconnects) world.hypervisor.reconnect();
      await world.settle();
      assert.equal(lastRestart(world), reconnects ? "Unverified Soft NoMarks" : "Succeeded Hard");
      assert.deepEqual(ends(world), reconnects ? [undefined] : ["Destroyed", undefined]);
    });
});

describe("9. an error reply may still have marked", () => {
  for (const kind of ["Refused", "Unanswered"] as const)
    test(`a mark that is ${kind.toLowerCase()} and seen on the domain is not believed: only a success is`, async () => {
      const world = await settledWorld();
      const fault = { kind, message: "No space left on device", applied: true } as const;
      world.hypervisor.faults.push({ effect: "Mark", fault }, { effect: "Mark", fault });
      world.api.apply({ restartGeneration: 1 });
      await world.settle();
      assert.equal(effects(world), "Mark Mark Mark Shutdown Start Settle");
    });

  test("marks that are refused for good forbid to stop the guest, and are made ineffective", async () => {
    const world = await settledWorld({ restartPolicy: { mode: "Hard" } });
    const fault = { kind: "Refused", message: "No space left on device", applied: true } as const;
    for (let times = 0; times < 4; times += 1) world.hypervisor.faults.push({ effect: "Mark", fault });
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(world.status.lastRestart?.reason, "MarkRefused");
    assert.deepEqual(ends(world), [undefined]);
    assert.equal(world.hypervisor.running?.onReboot, "restart");
  });
});

describe("11. replies come out of order", () => {
  test("no effect is begun, and nothing is looked at, before the effect before it is answered", async () => {
    const world = await settledWorld();
    const calls: string[] = [];
    let answer = () => {};
    const hypervisor: Hypervisor = {
      glance: (reference, comparison) => world.hypervisor.glance(reference, comparison),
      look: (reference, question) => {
        calls.push("look");
        return world.hypervisor.look(reference, question);
      },
      perform: async (domain, effect) => {
        calls.push(effect.kind);
        await new Promise<void>((resolve) => {
          answer = resolve;
        });
        return world.hypervisor.perform(domain, effect);
      },
      repair: (repair) => world.hypervisor.repair(repair),
      defineNew: () => world.hypervisor.defineNew(),
    };
    const process = new Reconciler({
      virtualMachines: world.api.connect(),
      hypervisor,
      lease: alwaysHeld,
      clock: { now: () => world.timeline.now(), nonce: () => "0".repeat(32) },
      journal: { decided: () => {}, performed: () => {} },
      cluster: "cluster",
    });
    world.api.apply({ restartGeneration: 1 });
    const pass = process.reconcile("default/vm");
    await setImmediate();
    assert.deepEqual(calls, ["look", "Mark"]);
    answer();
    await setImmediate();
    assert.deepEqual(calls, ["look", "Mark", "look", "Shutdown"]);
    answer();
    await pass;
  });
});

describe("12. a guest is left off", () => {
  test("it obeys after its attempt has failed: it is started", async () => {
    const restartPolicy = { mode: "Soft", soft: { timeoutSeconds: 10 } };
    const world = await settledWorld({ restartPolicy }, { guest: { kind: "Obeys", afterMs: 60_000 } });
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.deepEqual(ends(world), ["Shutdown", undefined]);
  });

  for (const [what, happens] of [
    ["its resource is deleted", (world: World) => world.api.delete()],
    [
      "its resource is deleted, and the controller dies",
      (world: World) => {
        world.api.delete();
        world.restartController();
      },
    ],
    ["nothing can be written to the API server", (world: World) => void (world.api.losesWrites = true)],
    [
      "the status and the annotation are lost, and the controller dies",
      (world: World) => {
        world.api.restore(world.backup);
        world.restartController();
      },
    ],
  ] as const)
    test(`${what} while it goes off: it is started`, async () => {
      const world = await settledWorld({}, { guest: takes5s });
      world.backup = world.api.stored;
      world.api.annotate({ restart: "a" });
      await world.settle(1000);
      happens(world);
      await world.settle();
      assert.deepEqual(ends(world), ["Shutdown", undefined]);
    });

  test("it goes off between two processes: the next one finds the start that is owed", async () => {
    const world = await settledWorld({}, { guest: takes5s });
    world.backup = world.api.stored;
    world.api.annotate({ restart: "a" });
    await world.settle(1000);
    world.hypervisor.reachable = false;
    world.restartController();
    world.api.restore(world.backup);
    await world.settle(60_000);
    assert.equal(world.hypervisor.running, undefined);
    world.hypervisor.reachable = true;
    world.enqueue();
    await world.settle();
    assert.deepEqual(ends(world), ["Shutdown", undefined]);
  });

  test("nothing would be left to start: a domain without a configuration gets one first", async () => {
    const world = await settledWorld({ restartPolicy: { mode: "Hard" } });
    world.hypervisor.persistent = false;
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(effects(world), "Define Mark Destroy Start Settle");
    const undefinedLater = await asked();
    undefinedLater.hypervisor.undefine();
    await undefinedLater.settle();
    assert.match(effects(undefinedLater), /^Mark Shutdown Release( Settle)+$/);
    assert.deepEqual(ends(undefinedLater), [undefined]);
  });
});

describe("13. to look and to destroy are two calls", () => {
  test("somebody restarts the guest before the look: the boot that the look finds is not destroyed", async () => {
    const world = await asked({ restartPolicy: { soft: { timeoutSeconds: 10 } } });
    world.hypervisor.onEvent = () => {};
    world.hypervisor.stop("Destroyed");
    world.hypervisor.start();
    await world.settle();
    assert.equal(effects(world), "Mark Shutdown Settle");
    assert.deepEqual(ends(world), ["Destroyed", undefined]);
    assert.equal(world.status.lastRestart?.result, "Succeeded");
  });

  test("the destroy follows its own look, and nothing comes between them", async () => {
    const world = await asked({ restartPolicy: { soft: { timeoutSeconds: 10 } } });
    const calls: string[] = [];
    const { hypervisor } = world;
    const [look, perform] = [hypervisor.look.bind(hypervisor), hypervisor.perform.bind(hypervisor)];
    hypervisor.look = async (...args) => {
      const seen = await look(...args);
      calls.push(`look at ${seen.kind === "Present" ? `ID ${seen.domain.id}` : seen.kind}`);
      return seen;
    };
    hypervisor.perform = async (domain, effect) => {
      calls.push(`${effect.kind} ID ${domain.id}`);
      return perform(domain, effect);
    };
    await world.settle();
    const destroy = calls.indexOf("Destroy ID 1");
    assert.equal(calls[destroy - 1], "look at ID 1");
  });
});

describe("14. two resources, one domain", () => {
  test("of two in one cluster the older one has it", async () => {
    const world = await settledWorld();
    const mine = world.api.stored;
    assert.ok(mine !== undefined);
    const older = {
      ...mine.metadata,
      name: "older",
      uid: "uid-0",
      creationTimestamp: "2020-01-01T00:00:00Z",
    };
    world.api.rivals = [{ ...mine, metadata: older }];
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(effects(world), "");
    assert.equal(condition(world, "Bound"), "False ClaimedByAnother");
  });

  /** Another cluster's controller has marked the domain, for a resource of the same name or of another one. */
  async function markedByAnotherCluster(world: World, owner: string): Promise<RequestMark> {
    const mark: RequestMark = {
      attempt: "f".repeat(32),
      cluster: "another",
      resource: "uid-of-another",
      owner,
      request: { restartGeneration: 1, requestedAt: "2026-01-01T00:00:00.000Z" },
      servedBefore: {},
      startedAtMs: 0,
    };
    const { hypervisor } = world;
    await hypervisor.perform(hypervisor.domain, { kind: "Mark", mark, running: true });
    hypervisor.effects.length = 0;
    return mark;
  }

  for (const owner of ["default/vm", "default/other"])
    test(`a restart that another cluster has begun for ${owner} is neither taken over nor disturbed, and waited for`, async () => {
      const world = await settledWorld();
      const mark = await markedByAnotherCluster(world, owner);
      world.restartController();
      world.api.apply({ restartGeneration: 1 });
      await world.settle(10_000);
      assert.equal(effects(world), "");
      assert.equal(condition(world, "Reconciling"), "True ClaimedByAnotherCluster");
      const { hypervisor } = world;
      await hypervisor.perform(hypervisor.domain, {
        kind: "Settle",
        mark: { ...mark, result: "Succeeded", method: "Soft" },
      });
      hypervisor.effects.length = 0;
      await world.settle(100_000);
      assert.equal(effects(world), "Mark Shutdown Start Settle");
    });

  test("a domain that another cluster has stopped is not started as an orphan of this one", async () => {
    const world = await settledWorld();
    await markedByAnotherCluster(world, "default/vm");
    world.api.delete();
    await world.settle();
    world.hypervisor.stop("Shutdown");
    await world.settle();
    assert.equal(world.hypervisor.running, undefined);
  });
});
