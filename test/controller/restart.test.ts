import assert from "node:assert/strict";
import { test } from "node:test";
import type { Guest } from "../simulation/domain.ts";
import { World } from "../simulation/world.ts";

/** A world whose first sight is over: what happens from here on is a request's doing. */
async function settledWorld(...made: ConstructorParameters<typeof World>): Promise<World> {
  const world = new World(...made);
  await world.settle();
  world.api.writes.length = 0;
  return world;
}

function condition(world: World, type: string): string {
  const found = world.status.conditions?.find((one) => one.type === type);
  return found === undefined ? "absent" : `${found.status} ${found.reason}`;
}

test("first sight is the baseline: what a new resource says already restarts nothing", async () => {
  const world = new World({ restartGeneration: 7 });
  world.api.annotate({ restart: "now" });
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 1);
  assert.equal(world.status.observedRestartGeneration, 7);
  assert.equal(world.status.observedRestartToken, "now");
  assert.equal(condition(world, "Ready"), "True Watching");
  assert.equal(condition(world, "Bound"), "True DomainFound");
  assert.equal(world.status.observedGeneration, 1);
});

test("a guest that obeys is restarted softly, once, with proof, for two status writes", async () => {
  const world = await settledWorld();
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.deepEqual(world.hypervisor.effects, ["Mark", "Shutdown", "Start", "Settle"]);
  assert.deepEqual(
    world.hypervisor.boots.map(({ end }) => end),
    ["Shutdown", undefined],
  );
  const { lastRestart } = world.status;
  assert.equal(lastRestart?.result, "Succeeded");
  assert.equal(lastRestart.method, "Soft");
  assert.deepEqual(lastRestart.evidence, ["StopEvent", "BootMarkGone", "RequestMarkSeen", "DomainIDChanged"]);
  assert.equal(lastRestart.downtimeMilliseconds, 0);
  assert.equal(world.status.observedRestartGeneration, 1);
  assert.equal(world.status.attempt, undefined);
  assert.equal(world.api.writes.length, 2);
  assert.deepEqual(
    world.api.notices.map(({ reason }) => reason),
    ["RestartStarted", "RestartSucceeded"],
  );
});

test("while it waits, the status says so as kstatus reads it", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Deaf" };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  assert.equal(condition(world, "Ready"), "False ShuttingDown");
  assert.equal(condition(world, "Reconciling"), "True ShuttingDown");
  assert.equal(condition(world, "Stalled"), "absent");
  assert.equal(world.status.attempt?.stage, "ShuttingDown");
  assert.equal(world.status.observedGeneration, 2);
  assert.equal(world.status.observedRestartGeneration, 0);
});

test("a deaf guest is asked every 30 s and power-cycled after 120 s, for three status writes", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Deaf" };
  world.api.apply({ restartGeneration: 1 });
  const before = world.timeline.now().monotonicMs;
  await world.settle();
  assert.equal(world.timeline.now().monotonicMs - before, 120_000);
  assert.deepEqual(
    world.hypervisor.boots.map(({ end, signals }) => [end, signals]),
    [
      ["Destroyed", 4],
      [undefined, 0],
    ],
  );
  assert.equal(world.status.lastRestart?.method, "Hard");
  assert.equal(world.status.lastRestart.forcedBecause, "the guest did not shut down within 120 s");
  assert.equal(world.api.writes.length, 3);
  assert.deepEqual(
    world.api.notices.map(({ reason }) => reason),
    ["RestartStarted", "RestartForced", "RestartSucceeded"],
  );
});

test("mode Soft cuts no power: a deaf guest keeps running, may reboot by itself again, and the restart fails", async () => {
  const world = await settledWorld({ restartPolicy: { mode: "Soft" } });
  world.hypervisor.guest = { kind: "Deaf" };
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 1);
  assert.equal(world.hypervisor.running?.onReboot, "restart");
  assert.equal(world.status.lastRestart?.result, "Failed");
  assert.equal(world.status.lastRestart.reason, "GuestShutdownTimedOut");
  assert.equal(condition(world, "Stalled"), "True RestartFailed");
  assert.equal(condition(world, "Reconciling"), "absent");
  assert.equal(world.status.observedRestartGeneration, 1);
});

test("mode Hard asks nobody: the power is cut at once", async () => {
  const world = await settledWorld({ restartPolicy: { mode: "Hard" } });
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.deepEqual(world.hypervisor.effects, ["Mark", "Destroy", "Start", "Settle"]);
  assert.equal(world.status.lastRestart?.method, "Hard");
});

test("a guest that answers the button by rebooting is restarted once, not twice", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Reboots", afterMs: 100 };
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.deepEqual(
    world.hypervisor.boots.map(({ end }) => end),
    ["Shutdown", undefined],
  );
  assert.equal(world.status.lastRestart?.result, "Succeeded");
});

test("a domain that is off is started at once, and that is not called a shutdown", async () => {
  const world = await settledWorld({}, { off: true });
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.deepEqual(world.hypervisor.effects, ["Mark", "Start", "Settle"]);
  assert.equal(world.status.lastRestart?.method, "Start");
});

test("a domain that somebody destroys during the wait is started, and that is not called a shutdown", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Deaf" };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  world.hypervisor.stop("Destroyed");
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 2);
  assert.equal(world.status.lastRestart?.method, "Start");
});

test("a domain that is missing is a condition, and works as soon as it is there", async () => {
  const world = new World();
  world.hypervisor.exists = false;
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(condition(world, "Bound"), "False DomainNotFound");
  assert.equal(condition(world, "Stalled"), "True DomainNotFound");
  world.hypervisor.exists = true;
  world.api.apply({ restartGeneration: 2 });
  await world.settle();
  assert.equal(world.status.lastRestart?.result, "Succeeded");
  assert.equal(condition(world, "Stalled"), "absent");
});

test("a domain that is undefined during the wait is a failure that says so", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Deaf" };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  world.hypervisor.exists = false;
  world.enqueue();
  await world.settle();
  assert.equal(world.status.lastRestart?.reason, "DomainNotFound");
});

test("a transient domain is defined before it is touched: otherwise nothing would be left to start", async () => {
  const world = await settledWorld();
  world.hypervisor.persistent = false;
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.deepEqual(world.hypervisor.effects, ["Define", "Mark", "Shutdown", "Start", "Settle"]);
  assert.equal(world.status.lastRestart?.result, "Succeeded");
  assert.equal(world.api.notices[0]?.reason, "DomainDefined");
});

test("any libvirt error while asking falls back to force", async () => {
  const world = await settledWorld();
  world.hypervisor.faults.push({
    effect: "Shutdown",
    fault: { kind: "Refused", message: "monitor is gone" },
  });
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.deepEqual(world.hypervisor.effects, ["Mark", "Shutdown", "Destroy", "Start", "Settle"]);
  assert.match(world.status.lastRestart?.forcedBecause ?? "", /monitor is gone/);
});

test("a signal without an answer may have been heard: the guest gets its time, and is asked again", async () => {
  const world = await settledWorld();
  world.hypervisor.faults.push({ effect: "Shutdown", fault: { kind: "Unanswered", message: "timed out" } });
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.deepEqual(world.hypervisor.effects, ["Mark", "Shutdown", "Shutdown", "Start", "Settle"]);
  assert.equal(world.status.lastRestart?.method, "Soft");
});

test("an effect that could not be sent is tried again after a pause, and told once", async () => {
  const world = await settledWorld();
  const notSent = { effect: "Shutdown", fault: { kind: "NotSent", message: "no connection" } } as const;
  world.hypervisor.faults.push(notSent, notSent, notSent, notSent, notSent, notSent);
  const beganAtMs = world.timeline.now().epochMs;
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(world.status.lastRestart?.method, "Soft");
  assert.equal(Date.parse(world.status.lastRestart.endedAt) - beganAtMs, 600 + 200);
  assert.deepEqual(
    world.api.notices.map(({ reason }) => reason),
    ["RestartStarted", "RestartSucceeded"],
  );
});

test("a guest that goes off while its signal is refused was not forced, and nothing says that it was", async () => {
  const world = await settledWorld();
  world.hypervisor.beforeEffect = (effect) => {
    if (effect === "Shutdown") world.hypervisor.stop("Shutdown");
  };
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.deepEqual(world.hypervisor.effects, ["Mark", "Shutdown", "Start", "Settle"]);
  assert.equal(world.status.lastRestart?.method, "Start");
  assert.equal(world.status.lastRestart.forcedBecause, undefined);
});

test("a destroy that is refused is tried again, and told once", async () => {
  const world = await settledWorld({ restartPolicy: { mode: "Hard" } });
  const refusal = {
    effect: "Destroy",
    fault: { kind: "Refused", message: "device or resource busy" },
  } as const;
  world.hypervisor.faults.push(refusal, refusal);
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(world.status.lastRestart?.result, "Succeeded");
  assert.deepEqual(
    world.api.notices.map(({ reason }) => reason),
    ["RestartStarted", "RestartSucceeded"],
  );
});

test("a process that is told to end does nothing new to a guest, but starts the one that it has stopped", async () => {
  const world = await settledWorld();
  world.hypervisor.beforeEffect = (effect) => {
    if (effect === "Shutdown") world.endController();
  };
  world.hypervisor.guest = { kind: "Obeys", afterMs: 0 };
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.deepEqual(world.hypervisor.effects, ["Mark", "Shutdown", "Start", "Settle"]);
  world.api.apply({ restartGeneration: 2 });
  await world.settle();
  assert.deepEqual(world.hypervisor.effects, ["Mark", "Shutdown", "Start", "Settle"]);
  world.restartController();
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 3);
});

test("a start that is refused is tried seven times in a minute, then it is a failure; the next request can mend it", async () => {
  const world = await settledWorld();
  const refusal = { effect: "Start", fault: { kind: "Refused", message: "no such disk" } } as const;
  world.hypervisor.faults.push(...Array.from({ length: 7 }, () => refusal));
  world.api.apply({ restartGeneration: 1 });
  const before = world.timeline.now().monotonicMs;
  await world.settle();
  assert.equal(world.timeline.now().monotonicMs - before, 60_200);
  assert.equal(world.status.lastRestart?.reason, "StartRefused");
  assert.match(world.status.lastRestart.message, /no such disk/);
  assert.equal(condition(world, "Stalled"), "True RestartFailed");
  world.api.apply({ restartGeneration: 2 });
  await world.settle();
  assert.equal(world.status.lastRestart.result, "Succeeded");
  assert.equal(world.status.lastRestart.method, "Start");
});

test("a start for which libvirt cannot have the domain is tried until it can: the guest was stopped by us", async () => {
  const world = await settledWorld();
  const message = "Timed out during operation: cannot acquire state change lock";
  const held = { effect: "Start", fault: { kind: "Refused", message, cause: "Busy" } } as const;
  world.hypervisor.faults.push(...Array.from({ length: 30 }, () => held));
  world.api.apply({ restartGeneration: 1 });
  const before = world.timeline.now().monotonicMs;
  await world.settle(150_000);
  assert.equal(condition(world, "Reconciling"), "True Starting");
  await world.settle();
  assert.equal(world.status.lastRestart?.result, "Succeeded");
  assert.equal(world.status.lastRestart.method, "Soft");
  const tookMs = world.timeline.now().monotonicMs - before;
  assert.ok(tookMs >= 30 * 10_000, `never in a tight loop: ${tookMs} ms`);
});

for (const marks of ["Domain", "None"] as const) {
  for (const [end, effects] of [
    ["comes to nothing is made again", ["Mark", "Shutdown", "Start", "Start", "Settle"]],
    ["goes on is the restart", ["Mark", "Shutdown", "Start", "Settle"]],
  ] as const) {
    test(`marks: ${marks}, a start whose answer is lost, and that ${end}`, async () => {
      const world = await settledWorld({ restartPolicy: { marks } });
      const { hypervisor } = world;
      hypervisor.faults.push({
        effect: "Start",
        fault: { kind: "Unanswered", message: "libvirtd ended", applied: true },
      });
      let isBegun = false;
      hypervisor.onEvent = () => {
        // libvirt has begun with QEMU, whose processors do not run yet.
        if (hypervisor.domain.state === "Running" && hypervisor.boots.length === 2 && !isBegun) {
          isBegun = true;
          hypervisor.pause("StartingUp");
        }
        world.enqueue();
      };
      world.api.apply({ restartGeneration: 1 });
      await world.settle(5000);
      assert.equal(world.status.observedRestartGeneration, 0);
      assert.equal(condition(world, "Reconciling"), "True Starting");
      if (effects.length > 4) hypervisor.findGone();
      else hypervisor.enter("Running", "Booted");
      await world.settle();
      const own = effects.filter((effect) => marks === "Domain" || !["Mark", "Settle"].includes(effect));
      assert.deepEqual(hypervisor.effects, own);
      assert.equal(world.status.lastRestart?.result, "Succeeded");
      assert.notEqual(hypervisor.running, undefined);
    });
  }
}

test("no mark, no signal: where the marks are refused the guest is left alone", async () => {
  const world = await settledWorld();
  const refusal = { effect: "Mark", fault: { kind: "Refused", message: "no space left on device" } } as const;
  world.hypervisor.faults.push(refusal, refusal, refusal, refusal);
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.deepEqual(world.hypervisor.effects, ["Mark", "Mark", "Mark", "Mark", "Release"]);
  assert.equal(world.status.lastRestart?.reason, "MarkRefused");
});

test("a paused guest hears nothing: the request waits without a timeout and is served when it is resumed", async () => {
  const world = await settledWorld();
  world.hypervisor.pause();
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(condition(world, "Reconciling"), "True GuestPaused");
  assert.equal(world.status.attempt?.stage, "Queued");
  assert.deepEqual(
    world.api.notices.map(({ reason }) => reason),
    ["RestartBlocked"],
  );
  world.hypervisor.resume();
  await world.settle();
  assert.equal(world.status.lastRestart?.method, "Soft");
});

test("a guest that is paused during the wait is asked anew when it is resumed", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Obeys", afterMs: 50_000 };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(10_000);
  world.hypervisor.pause();
  await world.settle(1_000_000);
  world.hypervisor.resume();
  await world.settle();
  assert.equal(world.status.lastRestart?.method, "Soft");
});

test("whenPaused: Force power-cycles a paused guest at once", async () => {
  const world = await settledWorld({ restartPolicy: { whenPaused: "Force" } });
  world.hypervisor.pause();
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(world.status.lastRestart?.method, "Hard");
});

test("a job that runs when the request comes is seen before the domain is marked", async () => {
  const world = new World();
  await world.settle();
  world.hypervisor.setJob({ kind: "Other", what: "Backup" });
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  assert.deepEqual(world.hypervisor.effects, []);
});

test("suspend touches nothing and says so; the request is served afterwards", async () => {
  const world = await settledWorld({ suspend: true });
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.deepEqual(world.hypervisor.effects, []);
  assert.equal(condition(world, "Reconciling"), "True Suspended");
  world.api.apply({ suspend: false });
  await world.settle();
  assert.equal(world.status.lastRestart?.result, "Succeeded");
});

test("while libvirt does not answer the attempt is kept, and goes on when it does", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Deaf" };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  world.hypervisor.reachable = false;
  world.enqueue();
  await world.settle(1000);
  assert.equal(condition(world, "Ready"), "False HypervisorUnreachable");
  assert.equal(condition(world, "Bound"), "Unknown HypervisorUnreachable");
  assert.equal(world.status.attempt?.stage, "ShuttingDown");
  world.hypervisor.stop("Shutdown");
  world.hypervisor.reachable = true;
  world.enqueue();
  await world.settle();
  assert.equal(world.status.lastRestart?.result, "Succeeded");
});

test("a resource that is deleted during the wait still gets its guest started", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Obeys", afterMs: 5000 };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  world.api.delete();
  await world.settle();
  assert.deepEqual(
    world.hypervisor.boots.map(({ end }) => end),
    ["Shutdown", undefined],
  );
});

test("marks that contradict each other are an open question, never a second restart", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Deaf" };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  world.hypervisor.running?.bootMarks.clear();
  world.enqueue();
  await world.settle();
  assert.equal(world.status.lastRestart?.result, "Unverified");
  assert.equal(world.hypervisor.boots.length, 1);
  assert.equal(condition(world, "Stalled"), "True RestartUnverified");
});

for (const [sentence, age, bound] of [
  ["the older of two resources for one domain has it", "2030-01-01T00:00:00.000Z", true],
  ["the younger of two resources for one domain does nothing and says so", "2020-01-01T00:00:00.000Z", false],
] as const) {
  test(sentence, async () => {
    const world = await settledWorld();
    const mine = world.api.stored;
    assert.ok(mine !== undefined);
    const metadata = { ...mine.metadata, name: "other", uid: "uid-2", creationTimestamp: age };
    world.api.rivals = [{ ...mine, metadata }];
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(world.hypervisor.boots.length, bound ? 2 : 1);
    assert.equal(condition(world, "Bound"), bound ? "True DomainFound" : "False ClaimedByAnother");
    assert.equal(condition(world, "Stalled"), bound ? "absent" : "True ClaimedByAnother");
    world.api.rivals = [];
    world.enqueue();
    await world.settle();
    assert.equal(world.hypervisor.boots.length, 2);
  });
}

for (const crash of [false, true]) {
  const when = crash ? ", and the controller dies" : "";
  test(`a resource is deleted in the middle of a restart${when}; created again it finishes that one and begins none`, async () => {
    const world = await settledWorld();
    world.hypervisor.guest = { kind: "Obeys", afterMs: 5000 };
    world.api.apply({ restartGeneration: 7 });
    await world.settle(1000);
    if (crash) world.restartController();
    world.api.delete();
    if (crash) await world.settle(100);
    world.api.create({ restartGeneration: 8 });
    await world.settle();
    assert.deepEqual(
      world.hypervisor.boots.map(({ end }) => end),
      ["Shutdown", undefined],
    );
    assert.equal(world.status.observedRestartGeneration, 8);
    assert.equal(world.status.lastRestart?.result, "Succeeded");
  });
}

test("a resource is deleted in the middle of a restart and never created again, and the controller dies: the guest is started", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Obeys", afterMs: 5000 };
  world.api.apply({ restartGeneration: 7 });
  await world.settle(1000);
  world.api.delete();
  world.restartController();
  await world.settle();
  assert.deepEqual(
    world.hypervisor.boots.map(({ end }) => end),
    ["Shutdown", undefined],
  );
  assert.equal(world.hypervisor.nextMark?.result, "Succeeded");
});

test("a resource that is created for a domain which was restarted long ago and is off leaves it off", async () => {
  const world = await settledWorld();
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  world.api.delete();
  world.hypervisor.stop("Shutdown");
  await world.settle();
  world.api.create({ restartGeneration: 1 });
  await world.settle();
  assert.equal(world.hypervisor.running, undefined);
  assert.equal(world.status.lastRestart, undefined);
});

test("a guest that obeys only after its restart has failed was stopped by us, so it is started", async () => {
  const world = await settledWorld({ restartPolicy: { mode: "Soft", soft: { timeoutSeconds: 10 } } });
  world.hypervisor.guest = { kind: "Obeys", afterMs: 60_000 };
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.deepEqual(
    world.hypervisor.boots.map(({ end }) => end),
    ["Shutdown", undefined],
  );
  const { history, lastRestart } = world.status;
  assert.deepEqual(
    history?.map(({ result }) => result),
    ["Succeeded", "Failed"],
  );
  assert.equal(lastRestart?.id, history?.[1]?.id);
});

for (const [sentence, forMs, end] of [
  ["long after its restart has failed", 700_000, "Shutdown"],
  ["when somebody destroys it after its restart has failed", 1000, "Destroyed"],
] as const) {
  test(`a guest that goes off ${sentence} stays off: that was not us`, async () => {
    const world = await settledWorld({ restartPolicy: { mode: "Soft", soft: { timeoutSeconds: 10 } } });
    world.hypervisor.guest = { kind: "Deaf" };
    world.api.apply({ restartGeneration: 1 });
    await world.settle(10_000);
    assert.equal(world.status.lastRestart?.result, "Failed");
    await world.settle(forMs);
    world.hypervisor.stop(end);
    await world.settle();
    assert.equal(world.hypervisor.running, undefined);
    assert.equal(world.hypervisor.boots.length, 1);
  });
}

test("a domain that is undefined under its running guest is neither asked nor destroyed any more", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Deaf" };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  world.hypervisor.undefine();
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 1);
  assert.ok(world.hypervisor.running !== undefined);
  assert.equal(world.hypervisor.running.onReboot, "restart");
  assert.equal(world.status.lastRestart?.reason, "TransientDomain");
});

test("a domain that is defined anew during the wait is marked again before it is asked again", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Deaf" };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  world.hypervisor.undefine();
  world.hypervisor.define();
  await world.settle();
  assert.deepEqual(world.hypervisor.effects.slice(0, 4), ["Mark", "Shutdown", "Mark", "Shutdown"]);
  assert.equal(world.status.lastRestart?.result, "Succeeded");
});

test("a guest that obeys while its failure is being recorded is started, as one that obeys after it", async () => {
  const world = await settledWorld({ restartPolicy: { mode: "Soft", soft: { timeoutSeconds: 10 } } });
  world.hypervisor.guest = { kind: "Deaf" };
  world.hypervisor.beforeEffect = (effect) => {
    if (effect === "Settle" && world.hypervisor.boots.length === 1) world.hypervisor.stop("Shutdown");
  };
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 2);
  assert.equal(world.status.lastRestart?.result, "Succeeded");
});

test("a domain that was migrated away is not started, also after libvirtd has forgotten why it is off", async () => {
  const world = await settledWorld();
  world.hypervisor.stop("Migrated");
  await world.settle();
  world.hypervisor.restartDaemon();
  world.restartController();
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  assert.equal(world.hypervisor.boots.length, 1);
  assert.equal(condition(world, "Ready"), "False DomainMigrated");
});

for (const mode of ["Hard", "Auto"] as const) {
  test(`mode ${mode}: a domain whose process hangs takes no marks, and is destroyed all the same, on record in the status`, async () => {
    const world = await settledWorld({ restartPolicy: { mode } });
    world.hypervisor.hangs = true;
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.deepEqual(world.hypervisor.effects, ["Mark", "Destroy", "Start", "Settle"]);
    assert.equal(world.status.lastRestart?.method, "Hard");
    assert.deepEqual(world.status.lastRestart.evidence, ["StopEvent", "DomainOff", "DomainIDChanged"]);
    assert.equal(world.hypervisor.boots.length, 2);
  });
}

test("mode Soft: a domain whose process hangs is left alone, and the restart fails", async () => {
  const world = await settledWorld({ restartPolicy: { mode: "Soft" } });
  world.hypervisor.hangs = true;
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 1);
  assert.equal(world.status.lastRestart?.reason, "MarkRefused");
});

for (const kind of ["Migration", "Other"] as const)
  test(`a domain under a job (${kind}) is not even marked: what libvirt does with it is asked before`, async () => {
    const world = await settledWorld();
    world.hypervisor.setJob({ kind, what: "Backup" });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1000);
    assert.deepEqual(world.hypervisor.effects, []);
  });

/** A guest that was asked to reboot in place, and has done so while libvirt, and maybe the controller, was away. */
async function rebootUnheard(agent: Guest["agent"], isRestarted: boolean): Promise<World> {
  const world = new World(
    { restartPolicy: { soft: { via: "Reboot" } } },
    { guest: { kind: "Obeys", afterMs: 200, agent } },
  );
  await world.settle();
  world.api.apply({ restartGeneration: 1 });
  await world.settle(100);
  world.hypervisor.reachable = false;
  if (isRestarted) world.restartController();
  await world.settle(5000);
  return world;
}

/** libvirt is there again, and what comes of it is over. */
async function reached(world: World): Promise<void> {
  world.hypervisor.reachable = true;
  world.enqueue();
  await world.settle();
}

for (const [what, isRestarted] of [
  ["the controller", true],
  ["its connection to libvirt", false],
] as const) {
  const lastOfUnheard = async (agent?: Guest["agent"]) => {
    const world = await rebootUnheard(agent, isRestarted);
    await reached(world);
    assert.equal(world.hypervisor.boots.length, 1);
    assert.equal(world.hypervisor.boots[0]?.inPlace.length, 1);
    return world.status.lastRestart;
  };

  test(`a guest with an agent that reboots in place while ${what} is away proves it by its boot ID`, async () => {
    const last = await lastOfUnheard({ connectedAfterMs: 500, answers: true, obeys: true });
    assert.equal(last?.result, "Succeeded");
    assert.deepEqual(last.evidence, ["BootIDChanged"]);
  });

  test(`a guest without one that reboots in place while ${what} is away is not restarted again`, async () => {
    const last = await lastOfUnheard();
    assert.equal(last?.result, "Unverified");
    assert.equal(last.reason, "RebootUnproven");
  });
}

test("a request joins no reboot in place that may have happened before it, when nobody heard", async () => {
  const world = await rebootUnheard({ connectedAfterMs: 10_000, answers: true, obeys: true }, false);
  world.api.apply({ restartGeneration: 2 });
  await reached(world);
  const served = world.status.history?.map(({ request }) => request.restartGeneration);
  assert.deepEqual(served, [2, 1]);
  assert.equal(world.hypervisor.boots[0]?.inPlace.length, 2);
});

test("a request that fails before anything was done names no method, and does not make the next one wait", async () => {
  const world = await settledWorld({ restartPolicy: { minIntervalSeconds: 600 } });
  world.hypervisor.panic();
  world.api.annotate({ restart: "a", restartMode: "Soft" });
  await world.settle(1000);
  assert.equal(world.status.lastRestart?.reason, "GuestCrashed");
  assert.equal(world.status.lastRestart.method, undefined);
  world.api.annotate({ restart: "b", restartMode: "Hard" });
  await world.settle(1000);
  assert.equal(world.status.lastRestart.result, "Succeeded");
});

test("a guest that was migrated away after it was asked did not shut down when asked", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Deaf" };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  world.hypervisor.stop("Migrated");
  await world.settle(1000);
  world.hypervisor.start();
  await world.settle();
  assert.equal(world.status.lastRestart?.result, "Succeeded");
  assert.equal(world.status.lastRestart.method, "Start");
});

test("a resource finishes what another one, which is gone, has begun with its domain", async () => {
  const world = new World({}, { off: true });
  const mark = {
    attempt: "f".repeat(32),
    cluster: "cluster",
    resource: "uid-of-the-other",
    owner: "default/another",
    request: { restartGeneration: 3, requestedAt: "2026-01-01T00:00:00.000Z" },
    servedBefore: {},
    startedAtMs: 0,
  };
  await world.hypervisor.perform(world.hypervisor.domain, { kind: "Mark", mark, running: false });
  await world.settle();
  assert.equal(world.hypervisor.boots.length, 1);
  assert.equal(world.hypervisor.nextMark?.result, "Succeeded");
  assert.equal(
    world.status.observedRestartGeneration,
    0,
    "what the other one asked for is no request of this one",
  );
});

test("a guest that was saved in the middle of a restart and restored after it has failed may reboot by itself again", async () => {
  const world = await settledWorld({ restartPolicy: { deadlineSeconds: 60 } });
  world.hypervisor.guest = { kind: "Deaf" };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  world.hypervisor.stop("Saved");
  await world.settle(100_000);
  assert.equal(world.status.lastRestart?.reason, "DeadlineExceeded");
  const { history } = world.status;
  world.hypervisor.start();
  await world.settle();
  assert.equal(world.hypervisor.running?.onReboot, "restart");
  assert.deepEqual(world.status.history, history, "it is told once");
  world.api.apply({ restartGeneration: 2 });
  world.hypervisor.guest = { kind: "Obeys", afterMs: 100 };
  await world.settle();
  assert.equal(world.status.lastRestart.result, "Succeeded");
});
