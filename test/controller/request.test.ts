import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { baseline, readTriggers } from "../../controller/request.ts";
import {
  annotations,
  longestRestartToken,
  parseVirtualMachine,
  type VirtualMachine,
} from "../../crds/virtual-machine.ts";
import { World } from "../simulation/world.ts";

async function settledWorld(...made: ConstructorParameters<typeof World>): Promise<World> {
  const world = new World(...made);
  await world.settle();
  return world;
}

function boots(world: World): number {
  return world.hypervisor.boots.length;
}

test("a new annotation value requests one restart; removing it afterwards changes nothing", async () => {
  const world = await settledWorld();
  world.api.annotate({ restart: "2026-01-01T10:00:00Z" });
  await world.settle();
  assert.equal(boots(world), 2);
  assert.equal(world.status.observedRestartToken, "2026-01-01T10:00:00Z");
  world.api.annotate({ restart: undefined });
  await world.settle();
  assert.equal(boots(world), 2);
});

test("an annotation that is removed while its request waits is not a cancellation", async () => {
  const world = await settledWorld();
  world.hypervisor.pause();
  world.api.annotate({ restart: "a" });
  await world.settle();
  world.api.annotate({ restart: undefined });
  await world.settle();
  world.hypervisor.resume();
  await world.settle();
  assert.equal(boots(world), 2);
  assert.equal(world.status.observedRestartToken, "a");
});

for (const [sentence, values] of [
  ["a value that was served before restarts nothing", ["a", "b", "a"]],
  [
    "a time older than the last one served restarts nothing",
    ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00+00:00", "2026-01-01T00:00:00Z"],
  ],
] as const) {
  test(`${sentence}: it is a revert, told once`, async () => {
    const world = await settledWorld();
    for (const restart of values) {
      world.api.annotate({ restart });
      await world.settle();
    }
    assert.equal(boots(world), 3);
    assert.equal(world.status.observedRestartToken, values.at(-1));
    assert.equal(world.api.notices.filter(({ reason }) => reason === "RestartReverted").length, 1);
  });
}

test("a lowered generation restarts nothing, becomes the baseline, and is told once", async () => {
  const world = await settledWorld({ restartGeneration: 5 });
  world.api.apply({ restartGeneration: 3 });
  await world.settle();
  assert.equal(boots(world), 1);
  assert.equal(world.status.observedRestartGeneration, 3);
  assert.deepEqual(
    world.api.notices.map(({ reason }) => reason),
    ["RestartReverted"],
  );
  world.api.apply({ restartGeneration: 4 });
  await world.settle();
  assert.equal(boots(world), 2);
});

test("removing restartGeneration takes nothing back and asks for nothing, nor does putting it back", async () => {
  const world = await settledWorld({ restartGeneration: 5 });
  world.api.apply({ restartGeneration: undefined });
  await world.settle();
  world.api.apply({ restartGeneration: 5 });
  await world.settle();
  assert.equal(boots(world), 1);
  assert.deepEqual(world.api.notices, []);
  world.api.apply({ restartGeneration: 6 });
  await world.settle();
  assert.equal(boots(world), 2);
});

test("lowering the generation again takes back a request that waits, and says so", async () => {
  const world = await settledWorld({ restartGeneration: 1 });
  world.hypervisor.pause();
  world.api.apply({ restartGeneration: 2 });
  await world.settle();
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(world.status.attempt, undefined);
  assert.equal(world.status.lastRestart?.result, "Skipped");
  world.hypervisor.resume();
  await world.settle();
  assert.equal(boots(world), 1);
});

for (const [sentence, changes] of [
  ["an unknown mode", { restart: "a", restartMode: "Fast" }],
  ["a token with a control character", { restart: "a\nb" }],
  ["a token that is too long", { restart: "x".repeat(257) }],
] as const) {
  test(`${sentence} is refused once, with an Event and a condition, and loses no later request`, async () => {
    const world = await settledWorld();
    world.api.annotate(changes);
    await world.settle();
    world.enqueue();
    await world.settle();
    assert.equal(boots(world), 1);
    assert.deepEqual(
      world.api.notices.map(({ reason }) => reason),
      ["InvalidRestartRequest"],
    );
    assert.equal(
      world.status.conditions?.find(({ type }) => type === "Stalled")?.reason,
      "InvalidRestartRequest",
    );
    world.api.annotate({ restart: "good", restartMode: undefined });
    await world.settle();
    assert.equal(boots(world), 2);
    assert.equal(
      world.status.conditions.find(({ type }) => type === "Stalled"),
      undefined,
    );
  });
}

test("the mode of the annotation is for that request only", async () => {
  const world = await settledWorld();
  world.api.annotate({ restart: "a", restartMode: "Hard" });
  await world.settle();
  assert.equal(world.status.lastRestart?.method, "Hard");
  world.api.annotate({ restart: "b", restartMode: undefined });
  await world.settle();
  assert.equal(world.status.lastRestart.method, "Soft");
});

test("requests that arrive before the guest has stopped join; the joined ones are served too", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Obeys", afterMs: 10_000 };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  world.api.apply({ restartGeneration: 2 });
  world.api.annotate({ restart: "a" });
  await world.settle();
  assert.equal(boots(world), 2);
  assert.equal(world.status.observedRestartGeneration, 2);
  assert.equal(world.status.observedRestartToken, "a");
});

test("a hard request escalates a soft one that waits, at once", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Deaf" };
  world.api.apply({ restartGeneration: 1 });
  await world.settle(1000);
  const escalatedAtMs = world.timeline.now().epochMs;
  world.api.annotate({ restart: "a", restartMode: "Hard" });
  await world.settle();
  assert.equal(boots(world), 2);
  assert.equal(world.status.lastRestart?.method, "Hard");
  assert.equal(Date.parse(world.status.lastRestart.endedAt), escalatedAtMs);
});

test("the annotation cancel takes back the waiting request that it names, and says so", async () => {
  const world = await settledWorld();
  world.hypervisor.pause();
  world.api.annotate({ restart: "a" });
  await world.settle();
  world.api.annotate({ cancel: "other" });
  await world.settle();
  assert.equal(world.status.attempt?.stage, "Queued");
  world.api.annotate({ cancel: "a" });
  await world.settle();
  assert.equal(world.status.lastRestart?.result, "Skipped");
  assert.equal(world.status.observedRestartToken, "a");
  assert.equal(world.api.notices.at(-1)?.reason, "RestartCancelled");
  world.hypervisor.resume();
  await world.settle();
  assert.equal(boots(world), 1);
});

test("a request that is cancelled when it is first seen is skipped, and an older cancellation stops no later one", async () => {
  const world = await settledWorld();
  world.api.apply({ restartGeneration: 1 });
  world.api.annotate({ cancel: "1" });
  await world.settle();
  assert.equal(world.status.lastRestart?.result, "Skipped");
  assert.equal(world.status.observedRestartGeneration, 1);
  world.api.apply({ restartGeneration: 2 });
  await world.settle();
  assert.equal(boots(world), 2);
});

test("a guest that has been asked cannot be asked back: cancel is too late then", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Obeys", afterMs: 10_000 };
  world.api.annotate({ restart: "a" });
  await world.settle(1000);
  world.api.annotate({ cancel: "a" });
  await world.settle();
  assert.equal(world.status.lastRestart?.result, "Succeeded");
});

describe("a cancellation that takes nothing back is told once, with why", () => {
  /** What was told of it, each time. */
  function ignored({ api }: World): string[] {
    return api.notices.filter(({ reason }) => reason === "CancelIgnored").map(({ note }) => note);
  }

  test("where it names no request: with the one that waits", async () => {
    const world = await settledWorld();
    world.hypervisor.pause();
    world.api.annotate({ restart: "a" });
    await world.settle();
    for (const wrong of ["b", "c"]) {
      world.api.annotate({ restart: "a", cancel: wrong });
      await world.settle();
      world.enqueue();
      await world.settle();
    }
    assert.deepEqual(
      ignored(world),
      ["b", "c"].map(
        (wrong) =>
          `the annotation warmboot.dev/cancel names "${wrong}" and takes nothing back: ` +
          'there is no such request; "a" waits',
      ),
    );
    world.api.annotate({ restart: "a", cancel: "a" });
    await world.settle();
    assert.equal(ignored(world).length, 2);
  });

  test("where nothing waits, and where its request has ended", async () => {
    const world = await settledWorld();
    world.api.annotate({ cancel: "a" });
    await world.settle();
    world.api.annotate({ restart: "b" });
    await world.settle();
    world.api.annotate({ restart: "b", cancel: "b" });
    await world.settle();
    const [none = "", ended = ""] = ignored(world);
    assert.match(none, /there is no such request$/);
    assert.match(ended, /names "b" .*that request has ended$/);
  });

  test("where its guest has been asked", async () => {
    const world = await settledWorld();
    world.hypervisor.guest = { kind: "Obeys", afterMs: 10_000 };
    world.api.annotate({ restart: "a" });
    await world.settle(1000);
    world.api.annotate({ restart: "a", cancel: "a" });
    await world.settle();
    assert.deepEqual(ignored(world).length, 1);
    assert.match(ignored(world)[0] ?? "", /a guest that has been asked cannot be asked back$/);
  });

  test("not by a process that finds it there: it may have taken back what is long over", async () => {
    const world = await settledWorld();
    world.api.annotate({ cancel: "a" });
    await world.settle();
    world.restartController();
    await world.settle();
    assert.equal(ignored(world).length, 1);
  });
});

test("a request that waits longer than its deadline fails and names what it waited for", async () => {
  const world = await settledWorld({ restartPolicy: { deadlineSeconds: 60 } });
  world.hypervisor.pause();
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  const { lastRestart } = world.status;
  assert.equal(lastRestart?.reason, "DeadlineExceeded");
  assert.match(lastRestart.message, /within 60 s: the guest is paused/);
  assert.equal(Date.parse(lastRestart.endedAt) - Date.parse(lastRestart.startedAt), 60_000);
  assert.equal(world.status.observedRestartGeneration, 1);
});

test("the deadline holds for a domain that is missing, too", async () => {
  const world = await settledWorld({ restartPolicy: { deadlineSeconds: 60 } });
  world.hypervisor.exists = false;
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(world.status.lastRestart?.reason, "DeadlineExceeded");
});

test("a deadline that passes while a guest is only half marked fails the request, and puts back what was changed", async () => {
  const world = await settledWorld({ restartPolicy: { deadlineSeconds: 60 } });
  const fault = { kind: "Unanswered", message: "busy", applied: true } as const;
  world.hypervisor.faults.push({ effect: "Mark", fault });
  world.hypervisor.beforeEffect = (effect) => effect === "Mark" && world.hypervisor.pause();
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  assert.equal(world.status.lastRestart?.reason, "DeadlineExceeded");
  assert.equal(world.hypervisor.running?.onReboot, "restart");
});

for (const [moment, atMs] of [
  ["before the request", 0],
  ["while it waits", 1000],
] as const)
  test(`a wall clock that is put back ${moment} makes no wait longer than the interval`, async () => {
    const world = await settledWorld({ restartPolicy: { minIntervalSeconds: 600 } });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(5000);
    world.timeline.after(atMs, () => world.timeline.shiftWallClock(-7_200_000));
    world.timeline.after(500, () => world.api.apply({ restartGeneration: 2 }));
    await world.settle(605_000);
    assert.equal(boots(world), 3);
  });

test("a template that changes at every render restarts the machine once in each interval", async () => {
  const world = await settledWorld({ restartPolicy: { minIntervalSeconds: 600 } });
  for (let render = 1; render <= 10; render += 1) {
    world.api.annotate({ restart: `render-${render}` });
    await world.settle(100_000);
  }
  await world.settle();
  assert.equal(boots(world), 4);
  assert.equal(world.status.observedRestartToken, "render-10");
});

test("a hand overrides the interval for the one request that it names", async () => {
  const world = await settledWorld({ restartPolicy: { minIntervalSeconds: 600 } });
  world.api.apply({ restartGeneration: 1 });
  await world.settle();
  world.api.annotate({ restart: "now", skipInterval: "now" });
  await world.settle(1000);
  assert.equal(boots(world), 3);
  world.api.annotate({ restart: "again" });
  await world.settle(1000);
  assert.equal(boots(world), 3);
  assert.equal(world.status.conditions?.find(({ type }) => type === "Reconciling")?.reason, "MinInterval");
});

test("a generation that is lowered below one that was served stays lowered: what the domain remembers was served", async () => {
  const world = await settledWorld();
  world.api.apply({ restartGeneration: 5 });
  await world.settle();
  world.api.apply({ restartGeneration: 3 });
  await world.settle();
  assert.equal(boots(world), 2);
  assert.equal(world.status.observedRestartGeneration, 3);
  assert.equal(world.api.notices.filter(({ reason }) => reason === "RestartReverted").length, 1);
});

test("a value that a newer one joined was served with it: when it comes back it restarts nothing", async () => {
  const world = await settledWorld();
  world.hypervisor.guest = { kind: "Obeys", afterMs: 10_000 };
  world.api.annotate({ restart: "a" });
  await world.settle(1000);
  world.api.annotate({ restart: "b" });
  await world.settle();
  world.api.annotate({ restart: "a" });
  await world.settle();
  assert.equal(boots(world), 2);
  assert.equal(world.api.notices.at(-1)?.reason, "RestartReverted");
});

test("a request that comes too late to join, and whose annotation is gone before its turn, still gets its restart", async () => {
  const world = await settledWorld();
  world.delays = { lookMs: 0, performMs: 1000 };
  world.api.annotate({ restart: "a" });
  await world.settle(4500);
  assert.equal(world.status.attempt?.request.restartToken, "a");
  world.api.annotate({ restart: "b" });
  await world.settle(2000);
  world.api.annotate({ restart: undefined });
  await world.settle();
  assert.equal(boots(world), 3);
  assert.equal(world.status.observedRestartToken, "b");
  assert.equal(world.status.request, undefined);
});

test("a request that waited since before libvirt could be asked does not hide what the domain remembers", async () => {
  const world = await settledWorld();
  world.api.losesWrites = true;
  world.api.annotate({ restart: "a" });
  await world.settle();
  world.hypervisor.reachable = false;
  world.restartController();
  world.api.losesWrites = false;
  world.api.annotate({ restart: "b" });
  await world.settle(1000);
  world.hypervisor.reachable = true;
  world.enqueue();
  await world.settle();
  world.api.annotate({ restart: "a" });
  await world.settle();
  assert.equal(boots(world), 3);
  assert.deepEqual(
    world.status.history?.map(({ request }) => request.restartToken),
    ["b", "a"],
  );
});

test("a waiting request that is taken back by lowering the generation below the baseline reverts once, and only down", async () => {
  const world = await settledWorld({ restartGeneration: 5 });
  world.hypervisor.pause();
  world.api.apply({ restartGeneration: 6 });
  await world.settle();
  world.api.writes.length = 0;
  world.api.notices.length = 0;
  world.api.apply({ restartGeneration: 3 });
  await world.settle();
  assert.ok(world.api.writes.every(({ observedRestartGeneration }) => observedRestartGeneration === 3));
  assert.deepEqual(
    world.api.notices.map(({ reason }) => reason),
    ["RestartReverted", "RestartCancelled"],
  );
});

test("a generation that is lowered while a mark waits for its answer is lowered once", async () => {
  const world = await settledWorld({}, { off: true });
  world.api.apply({ restartGeneration: 4 });
  await world.settle();
  world.hypervisor.stop("Destroyed");
  await world.settle();
  world.hypervisor.faults.push({
    effect: "Mark",
    fault: { kind: "Unanswered", message: "lost", applied: true },
  });
  world.hypervisor.restartDaemon();
  world.api.annotate({ restart: "a" });
  await world.settle(50);
  world.api.apply({ restartGeneration: 3 });
  await world.settle();
  assert.equal(world.status.observedRestartGeneration, 3);
  assert.equal(world.api.notices.filter(({ reason }) => reason === "RestartReverted").length, 1);
});

test("a request that waits behind another one has its own deadline, from when it was first seen", async () => {
  const world = await settledWorld({ restartPolicy: { deadlineSeconds: 100, whenPaused: "Block" } });
  world.hypervisor.guest = { kind: "Obeys", afterMs: 60_000 };
  world.api.annotate({ restart: "first" });
  await world.settle(60_500);
  // The new boot is paused before the second request comes.
  world.hypervisor.pause();
  world.api.apply({ restartGeneration: 1 });
  await world.settle(60_000);
  assert.equal(
    world.status.observedRestartGeneration,
    0,
    "it is 120 s since the first request, 60 s since its own",
  );
  await world.settle();
  assert.equal(world.status.lastRestart?.reason, "DeadlineExceeded");
});

for (const [sentence, byMs] of [
  ["put back", -3_600_000],
  ["put forward", 3_600_000],
] as const) {
  test(`a deadline is kept although the wall clock is ${sentence}`, async () => {
    const world = await settledWorld({ restartPolicy: { deadlineSeconds: 100 } });
    world.hypervisor.pause();
    world.api.apply({ restartGeneration: 1 });
    await world.settle(50_000);
    world.timeline.shiftWallClock(byMs);
    world.enqueue();
    await world.settle(49_000);
    assert.equal(world.status.observedRestartGeneration, 0);
    await world.settle(2000);
    assert.equal(world.status.lastRestart?.reason, "DeadlineExceeded");
  });
}

test("a token that waits behind an attempt is not lost when the generation goes back and the annotation is removed", async () => {
  const world = await settledWorld({ restartGeneration: 5 });
  world.hypervisor.guest = { kind: "Obeys", afterMs: 60_000 };
  world.api.annotate({ restart: "first" });
  // Too late to join: the new boot runs already, and its guest agent is waited for.
  world.api.apply({ restartPolicy: { verifyGuest: { timeoutSeconds: 30 } } });
  await world.settle(61_000);
  world.api.annotate({ restart: "second" });
  await world.settle(1000);
  world.api.apply({ restartGeneration: 4 });
  await world.settle(1000);
  world.api.annotate({ restart: undefined });
  await world.settle();
  assert.equal(world.status.observedRestartToken, "second");
  assert.equal(world.hypervisor.boots.length, 3);
});

for (const [sentence, happens, reason] of [
  ["libvirt is away", (world: World) => void (world.hypervisor.reachable = false), "HypervisorUnreachable"],
  ["the domain is gone", (world: World) => void (world.hypervisor.exists = false), "DomainNotFound"],
] as const)
  test(`the deadline of a request whose mark was refused passes while ${sentence}: nobody asks in a tight loop`, async () => {
    const world = await settledWorld({ restartPolicy: { deadlineSeconds: 60 } });
    world.hypervisor.faults.push({ effect: "Mark", fault: { kind: "Refused", message: "busy" } });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(500);
    happens(world);
    world.enqueue();
    await world.settle(1_000_000);
    assert.equal(world.status.conditions?.find(({ type }) => type === "Ready")?.reason, reason);
    assert.ok(world.trace.length < 20);
  });

test("the word undefined, as a script writes it, takes back no request that has no generation", async () => {
  const world = await settledWorld();
  world.api.annotate({ cancel: "undefined", skipInterval: "undefined", restart: "a" });
  await world.settle();
  assert.equal(boots(world), 2);
});

/** A resource at rest as the API server has it, with this in its annotations and its status. */
function resource(values: Record<string, string>, status: object = {}): VirtualMachine {
  const parsed = parseVirtualMachine({
    metadata: {
      namespace: "default",
      name: "web-1",
      uid: "uid",
      resourceVersion: "1",
      generation: 1,
      creationTimestamp: "2026-11-22T12:00:00Z",
      annotations: values,
    },
    status: { observedRestartGeneration: 0, ...status },
  });
  assert.ok(parsed.kind === "Valid");
  return parsed.virtualMachine;
}

test("a token that is too long is refused once, wherever it is cut: also within a character", () => {
  const annotated = { [annotations.restart]: `${"x".repeat(longestRestartToken - 1)}🚀` };
  const trigger = readTriggers(resource(annotated), 0);
  assert.ok(trigger.kind === "Invalid");
  // The API server keeps half a character as U+FFFD.
  const observedRestartToken = trigger.served.observedRestartToken?.toWellFormed();
  assert.equal(observedRestartToken, trigger.served.observedRestartToken);
  assert.equal(readTriggers(resource(annotated, { observedRestartToken }), 0).kind, "Nothing");
  assert.equal(baseline(resource(annotated)).observedRestartToken, observedRestartToken);
});

for (const [sentence, restartToken] of [
  ["a NUL, which libvirt's protocol cannot carry", "\0"],
  ["a control character, which a domain's XML cannot hold", "a\u001Bb"],
  ["more characters than a token may have", "x".repeat(longestRestartToken + 1)],
] as const) {
  test(`a request that somebody wrote into the status with ${sentence} is none`, () => {
    const request = { restartToken, requestedAt: "2026-11-22T12:00:00Z" };
    assert.equal(readTriggers(resource({}, { request }), 0).kind, "Nothing");
  });
}
