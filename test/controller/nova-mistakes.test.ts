/**
 * What OpenStack Nova's libvirt driver does wrong, seen in runs of it (34.0.0) on real guests and read in its sources:
 * each is a restart that goes right here.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { World } from "../simulation/world.ts";
import { condition, effects, ends, history, lastRestart, settledWorld } from "./settled-world.ts";

const obeys = { kind: "Obeys", afterMs: 200 } as const;
const deaf = { kind: "Deaf" } as const;

const missingDisk = {
  reason: "DiskMissing",
  path: "devices/disk[1]/source",
  message: "disk vda: /images/vda.qcow2 does not exist",
  remedy: "put it back",
} as const;

/** How long the last restart took, in milliseconds of virtual time. */
function tookMs(world: World): number {
  const record = world.status.lastRestart;
  assert.ok(record !== undefined);
  return Date.parse(record.endedAt) - Date.parse(record.startedAt);
}

describe("seen in runs of Nova", () => {
  for (const mode of ["Soft", "Auto"] as const)
    test(`1. mode ${mode}: a domain that is off is started at once, and no timeout is waited out`, async () => {
      const world = await settledWorld({ restartPolicy: { mode } }, { off: true });
      world.api.apply({ restartGeneration: 1 });
      await world.settle();
      assert.equal(effects(world), "Mark Start Settle");
      assert.equal(tookMs(world), 0);
    });

  for (const [when, waitMs, before] of [
    ["before the request", 0, ""],
    ["during the wait", 1000, "Mark Shutdown"],
  ] as const)
    for (const whenPaused of ["Block", "Force"] as const)
      test(`2. a guest that is paused ${when} with whenPaused: ${whenPaused} is known not to hear at once`, async () => {
        const world = await settledWorld({ restartPolicy: { whenPaused } }, { guest: deaf });
        if (waitMs === 0) world.hypervisor.pause();
        world.api.apply({ restartGeneration: 1 });
        await world.settle(waitMs);
        if (waitMs > 0) world.hypervisor.pause();
        await world.settle(1000);
        if (whenPaused === "Force") {
          assert.equal(lastRestart(world), "Succeeded Hard");
          assert.equal(tookMs(world), waitMs);
        } else {
          assert.equal(condition(world, "Reconciling"), "True GuestPaused");
          await world.settle(1_000_000);
          assert.equal(effects(world), before);
        }
      });

  for (const [how, restartPolicy, expected, evidence] of [
    ["its boot is marked", {}, "Mark Shutdown Start Settle", "StopEvent"],
    ["it is asked to reboot in place", { soft: { via: "Reboot" } }, "Mark Reboot Settle", "RebootEvent"],
    ["there are no marks", { marks: "None" }, "Shutdown", "RebootEvent"],
  ] as const)
    test(`3. a guest that answers the button by rebooting is restarted once, where ${how}`, async () => {
      const world = await settledWorld({ restartPolicy }, { guest: { kind: "Reboots", afterMs: 100 } });
      world.api.apply({ restartGeneration: 1 });
      await world.settle();
      assert.equal(effects(world), expected);
      assert.equal(lastRestart(world), "Succeeded Soft");
      assert.ok(world.status.lastRestart?.evidence.includes(evidence));
      assert.equal(tookMs(world), 100);
    });

  test("4. a button that is pressed while the guest boots is lost, so it is pressed again", async () => {
    const world = await settledWorld({}, { guest: deaf });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(20_000);
    world.hypervisor.guest = obeys;
    await world.settle();
    assert.equal(effects(world), "Mark Shutdown Shutdown Start Settle");
    assert.equal(lastRestart(world), "Succeeded Soft");
    assert.equal(tookMs(world), 30_200);
  });

  for (const [afterMs, end] of [
    [4530, "Succeeded Soft"],
    [4999, "Succeeded Soft"],
    [5001, "Succeeded Hard"],
  ] as const)
    test(`5. a guest that is off after ${afterMs} ms of a timeout of 5 s: ${end}`, async () => {
      const restartPolicy = { soft: { timeoutSeconds: 5 } };
      const world = await settledWorld({ restartPolicy }, { guest: { kind: "Obeys", afterMs } });
      world.api.apply({ restartGeneration: 1 });
      await world.settle();
      assert.equal(lastRestart(world), end);
      assert.equal(tookMs(world), Math.min(afterMs, 5000));
    });

  test("6. a guest that an operator destroys during the wait is started, and nobody says that it shut down", async () => {
    const world = await settledWorld({}, { guest: deaf });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1000);
    world.hypervisor.stop("Destroyed");
    await world.settle();
    assert.equal(effects(world), "Mark Shutdown Start Settle");
    assert.equal(lastRestart(world), "Succeeded Start");
    assert.match(world.status.lastRestart?.message ?? "", /somebody else stopped it/);
  });

  test("7. a domain that is undefined during the wait, and off: the failure is told, and the next request works", async () => {
    const world = await settledWorld({}, { guest: deaf });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1000);
    world.hypervisor.stop("Destroyed");
    world.hypervisor.undefine();
    await world.settle();
    assert.equal(world.status.lastRestart?.reason, "DomainNotFound");
    assert.equal(world.api.notices.at(-1)?.reason, "RestartFailed");
    world.hypervisor.define();
    world.api.apply({ restartGeneration: 2 });
    await world.settle();
    assert.equal(lastRestart(world), "Succeeded Start");
  });

  test("7. a domain that is undefined under its running guest: the failure is told, and the guest runs on", async () => {
    const world = await settledWorld({}, { guest: deaf });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1000);
    world.hypervisor.undefine();
    await world.settle();
    assert.equal(lastRestart(world), "Failed Soft TransientDomain");
    assert.deepEqual(ends(world), [undefined]);
  });

  for (const [what, restart] of [
    ["the connection breaks", (world: World) => world.hypervisor.reconnect()],
    ["libvirtd is restarted", (world: World) => world.hypervisor.restartDaemon()],
  ] as const)
    test(`8. ${what} for 1.5 s during the wait, and the guest goes off meanwhile: it is started`, async () => {
      const world = await settledWorld({}, { guest: { kind: "Obeys", afterMs: 2000 } });
      world.api.apply({ restartGeneration: 1 });
      await world.settle(1000);
      world.hypervisor.reachable = false;
      restart(world);
      world.enqueue();
      await world.settle(1500);
      assert.equal(world.hypervisor.running, undefined);
      world.hypervisor.reachable = true;
      world.enqueue();
      await world.settle();
      assert.deepEqual(ends(world), ["Shutdown", undefined]);
      assert.equal(world.status.lastRestart?.result, "Succeeded");
    });

  test("9. a disk is missing: the guest is left alone and the reason told; once it is back, the restart is done", async () => {
    const world = await settledWorld();
    world.hypervisor.host.lacks = [missingDisk];
    world.api.apply({ restartGeneration: 1 });
    await world.settle(100_000);
    assert.equal(effects(world), "");
    assert.equal(condition(world, "Stalled"), "True PreflightFailed");
    assert.equal(world.status.findings?.[0]?.message, missingDisk.message);
    world.hypervisor.host.lacks = [];
    await world.settle();
    assert.equal(effects(world), "Mark Shutdown Start Settle");
    assert.equal(lastRestart(world), "Succeeded Soft");
    assert.equal(condition(world, "Stalled"), "absent");
  });
});

describe("read in Nova's sources", () => {
  test("Hard during Soft escalates the one attempt: there are no two loops, and one boot ends", async () => {
    const world = await settledWorld({}, { guest: { kind: "Obeys", afterMs: 10_000 } });
    world.api.annotate({ restart: "soft" });
    await world.settle(1000);
    world.api.annotate({ restart: "hard", restartMode: "Hard" });
    await world.settle();
    assert.equal(effects(world), "Mark Shutdown Destroy Start Settle");
    assert.deepEqual(ends(world), ["Destroyed", undefined]);
    assert.deepEqual(history(world), ["Succeeded Hard"]);
    assert.equal(world.status.observedRestartToken, "hard");
  });

  test("an error of libvirt while the guest is asked does not leave the machine stuck", async () => {
    const world = await settledWorld();
    const fault = { kind: "Refused", message: "internal error" } as const;
    world.hypervisor.faults.push({ effect: "Shutdown", fault });
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(lastRestart(world), "Succeeded Hard");
  });

  test("a saved image is never gone on with: without leave the request waits, with it the old boot is given up", async () => {
    const world = await settledWorld();
    world.hypervisor.stop("Saved");
    world.api.apply({ restartGeneration: 1 });
    await world.settle(10_000);
    assert.equal(effects(world), "");
    assert.equal(condition(world, "Reconciling"), "True DomainSaved");
    world.api.apply({ restartPolicy: { whenSaved: "Discard" } });
    await world.settle();
    assert.deepEqual(ends(world), ["Saved", undefined]);
    assert.match(world.status.lastRestart?.message ?? "", /saved memory was discarded/);
  });

  for (const [what, prevent] of [
    ["a disk is missing", (world: World) => void (world.hypervisor.host.lacks = [missingDisk])],
    ["its marks cannot be written", (world: World) => void (world.hypervisor.mayMark = false)],
    [
      "its storage fails",
      (world: World) => {
        world.hypervisor.storageProblem = "no such file";
        world.hypervisor.pause("IOError");
      },
    ],
  ] as const)
    test(`a guest that could not be started again is not destroyed first, where ${what}`, async () => {
      const world = await settledWorld({ restartPolicy: { mode: "Hard", deadlineSeconds: 60 } });
      prevent(world);
      world.api.apply({ restartGeneration: 1 });
      await world.settle();
      assert.equal(world.status.lastRestart?.result, "Failed");
      assert.deepEqual(ends(world), [undefined]);
    });

  test("a guest that goes off is started by libvirt's event, in the same millisecond", async () => {
    const world = await settledWorld({}, { guest: { kind: "Obeys", afterMs: 1234 } });
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(world.status.lastRestart?.downtimeMilliseconds, 0);
    assert.equal(tookMs(world), 1234);
  });

  test("a controller that is restarted in the middle goes by the evidence: the guest that runs on is not cleared as done", async () => {
    const world = await settledWorld({}, { guest: deaf });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1000);
    world.restartController();
    await world.settle(1000);
    assert.equal(condition(world, "Reconciling"), "True ShuttingDown");
    await world.settle();
    assert.equal(lastRestart(world), "Succeeded Hard");
    assert.deepEqual(ends(world), ["Destroyed", undefined]);
  });
});
