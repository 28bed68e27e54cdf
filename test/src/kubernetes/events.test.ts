import assert from "node:assert/strict";
import { test } from "node:test";
import type { EventContent } from "../../../src/kubernetes/event-object.ts";
import { EventRecorder, type EventRecorderOptions } from "../../../src/kubernetes/events.ts";
import { ManualClock, turns } from "./manual-clock.ts";
import { type Exchange, ScriptedServer } from "./scripted-server.ts";

const TYPE = {
  group: "warmboot.dev",
  version: "v1alpha1",
  kind: "VirtualMachine",
  plural: "virtualmachines",
};
const PATH = "/apis/events.k8s.io/v1/namespaces/default/events";

type Reason = "GuestRestarted" | "GuestShutdownTimedOut";
const content = (note: string, name = "vm"): EventContent<Reason> => ({
  regarding: { type: TYPE, metadata: { namespace: "default", name, uid: name } },
  type: "Normal",
  reason: "GuestRestarted",
  action: "Restart",
  note,
});

async function recording(options: Partial<EventRecorderOptions> = {}) {
  const server = await ScriptedServer.start();
  const client = server.client();
  const clock = new ManualClock();
  const dropped: string[] = [];
  const recorder = new EventRecorder<Reason>({
    client,
    reportingController: "warmboot.dev/controller",
    reportingInstance: "pod-1",
    onDrop: ({ note }) => dropped.push(note),
    clock,
    ...options,
  });
  return {
    server,
    recorder,
    clock,
    dropped,
    async [Symbol.asyncDispose]() {
      const closed = recorder.close(0);
      await clock.advance(1);
      await closed;
      await client.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Answers a request with its own body, as the API server does. */
function accept(request: Exchange): Record<string, unknown> {
  const body: Record<string, unknown> = JSON.parse(request.body);
  request.answer(201, { metadata: {}, ...body });
  return body;
}

/** Waits until a count shows what it should; the answer to a request takes a few turns to arrive. */
async function settled(recorder: EventRecorder<Reason>): Promise<void> {
  while (recorder.waiting > 0) await turns();
}

test("Events are created in the order in which they were recorded, one at a time", async () => {
  await using world = await recording();
  const { server, recorder } = world;
  for (const note of ["one", "two", "three"]) recorder.record(content(note));
  for (const note of ["one", "two", "three"]) {
    const request = await server.next();
    assert.equal(`${request.method} ${request.path}`, `POST ${PATH}`);
    const event = accept(request);
    assert.equal(event["note"], note);
    assert.equal(event["reportingInstance"], "pod-1");
    assert.equal("series" in event, false);
  }
  await settled(recorder);
  assert.equal(recorder.dropped, 0);
});

test("Repetitions become the series of the first event, written once per interval", async () => {
  await using world = await recording();
  const { server, recorder, clock } = world;
  recorder.record(content("again"));
  const created = accept(await server.next());
  await settled(recorder);
  for (let count = 0; count < 5; count += 1) recorder.record(content("again"));
  await clock.advance(10_000);
  const patch = await server.next();
  const { name } = created["metadata"] as { name: string };
  assert.equal(`${patch.method} ${patch.path}`, `PATCH ${PATH}/${name}`);
  assert.equal(patch.headers["content-type"], "application/merge-patch+json");
  const { series } = accept(patch) as { series: { count: number; lastObservedTime: string } };
  assert.equal(series.count, 6);
  assert.match(series.lastObservedTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  await settled(recorder);
});

test("A repetition while the first event is being sent is not lost", async () => {
  await using world = await recording();
  const { server, recorder, clock } = world;
  recorder.record(content("again"));
  const first = await server.next();
  recorder.record(content("again"));
  accept(first);
  await turns();
  await clock.advance(20_000);
  const patch = await server.next();
  assert.deepEqual((accept(patch)["series"] as { count: number }).count, 2);
  await settled(recorder);
});

test("After the window, the same event is a new one", async () => {
  await using world = await recording();
  const { server, recorder, clock } = world;
  recorder.record(content("again"));
  const first = accept(await server.next());
  await settled(recorder);
  await clock.advance(600_001);
  recorder.record(content("again"));
  const second = await server.next();
  assert.equal(second.method, "POST");
  assert.notDeepEqual(accept(second)["metadata"], first["metadata"]);
  await settled(recorder);
});

test("A series whose event the API server has forgotten is created once more", async () => {
  await using world = await recording();
  const { server, recorder, clock } = world;
  recorder.record(content("again"));
  accept(await server.next());
  await settled(recorder);
  recorder.record(content("again"));
  await clock.advance(10_000);
  (await server.next()).refuse(404, "NotFound");
  const request = await server.next();
  assert.equal(request.method, "POST");
  assert.equal((accept(request)["series"] as { count: number }).count, 2);
  await settled(recorder);
});

test("An event whose answer was lost is sent again under its name, and not twice", async () => {
  await using world = await recording();
  const { server, recorder, clock } = world;
  recorder.record(content("one"));
  const first = await server.next();
  first.cut();
  while (clock.timers === 0) await turns();
  await clock.advance(10_000);
  const second = await server.next();
  assert.equal(JSON.parse(second.body).metadata.name, JSON.parse(first.body).metadata.name);
  second.refuse(409, "AlreadyExists");
  await settled(recorder);
  assert.equal(recorder.dropped, 0);
});

test("While the API server is away there is one attempt at a time, and nothing is lost", async () => {
  await using world = await recording();
  const { server, recorder, clock } = world;
  for (const note of ["one", "two", "three"]) recorder.record(content(note));
  for (let attempt = 0; attempt < 4; attempt += 1) {
    const request = await server.next();
    assert.equal(JSON.parse(request.body).note, "one");
    request.refuse(503, "ServiceUnavailable");
    while (clock.timers === 0) await turns();
    await clock.advance(10_000);
  }
  for (const note of ["one", "two", "three"]) assert.equal(accept(await server.next())["note"], note);
  await settled(recorder);
  assert.equal(recorder.dropped, 0);
});

test("What is refused for good is dropped with its reason, and the next one is sent", async () => {
  await using world = await recording();
  const { server, recorder, dropped } = world;
  recorder.record(content("refused"));
  recorder.record(content("accepted"));
  (await server.next()).refuse(422, "Invalid");
  accept(await server.next());
  await settled(recorder);
  assert.deepEqual(dropped, ["refused"]);
  assert.equal(recorder.dropped, 1);
});

test("What an API server forbids that has just come up is sent again, and holds up no other", async () => {
  await using world = await recording();
  const { server, recorder, clock } = world;
  recorder.record(content("early"));
  recorder.record(content("accepted"));
  (await server.next()).refuse(403, "Forbidden");
  assert.equal(accept(await server.next())["note"], "accepted");
  while (clock.timers === 0) await turns();
  await clock.advance(1000);
  assert.equal(accept(await server.next())["note"], "early");
  await settled(recorder);
  assert.equal(recorder.dropped, 0);
});

test("A repetition that is forbidden has its own half a minute", async () => {
  await using world = await recording();
  const { server, recorder, clock } = world;
  recorder.record(content("again"));
  (await server.next()).refuse(403, "Forbidden");
  while (clock.timers === 0) await turns();
  await clock.advance(1000);
  accept(await server.next());
  await settled(recorder);
  await clock.advance(40_000);
  recorder.record(content("again"));
  await clock.advance(10_000);
  (await server.next()).refuse(403, "Forbidden");
  while (clock.timers === 0) await turns();
  await clock.advance(1000);
  accept(await server.next());
  await settled(recorder);
  assert.equal(recorder.dropped, 0);
});

test("What is forbidden for half a minute is dropped", async () => {
  await using world = await recording();
  const { server, recorder, clock, dropped } = world;
  recorder.record(content("forbidden"));
  (await server.next()).refuse(403, "Forbidden");
  while (clock.timers === 0) await turns();
  await clock.advance(30_000);
  (await server.next()).refuse(403, "Forbidden");
  await settled(recorder);
  assert.deepEqual(dropped, ["forbidden"]);
});

test("What cannot be sent for five minutes is dropped", async () => {
  await using world = await recording();
  const { server, recorder, clock, dropped } = world;
  recorder.record(content("old"));
  const request = await server.next();
  await clock.advance(300_001);
  request.refuse(503, "ServiceUnavailable");
  await settled(recorder);
  assert.deepEqual(dropped, ["old"]);
});

test("More events than there is room for are dropped and counted; recording never waits", async () => {
  await using world = await recording({ capacity: 10 });
  const { recorder, dropped } = world;
  for (let count = 0; count < 25; count += 1) recorder.record(content(`event ${count}`));
  assert.equal(recorder.waiting, 10);
  assert.equal(recorder.dropped, 15);
  assert.equal(dropped[0], "event 10");
});

test("Flushing sends what waits at once, counts included", async () => {
  await using world = await recording();
  const { server, recorder } = world;
  recorder.record(content("one"));
  accept(await server.next());
  await settled(recorder);
  recorder.record(content("one"));
  recorder.record(content("two"));
  const flushed = recorder.flush(1000);
  const methods = new Set<string>();
  for (let sent = 0; sent < 2; sent += 1) {
    const request = await server.next();
    methods.add(request.method);
    accept(request);
  }
  assert.equal(await flushed, true);
  assert.deepEqual(methods, new Set(["POST", "PATCH"]));
});

test("Flushing gives up at its deadline; closing then drops what is left and what comes later", async () => {
  await using world = await recording();
  const { server, recorder, clock, dropped } = world;
  recorder.record(content("stuck"));
  const stuck = await server.next();
  const flushed = recorder.flush(1000);
  await clock.advance(1000);
  assert.equal(await flushed, false);
  const closed = recorder.close(1000);
  await clock.advance(1000);
  await closed;
  await stuck.gone();
  recorder.record(content("late"));
  assert.deepEqual(dropped, ["stuck", "late"]);
});
