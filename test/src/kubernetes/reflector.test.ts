import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, MalformedResponseError, UnreachableError } from "../../../src/kubernetes/errors.ts";
import { Reflector, type ReflectorOptions } from "../../../src/kubernetes/reflector.ts";
import type { KubernetesObject } from "../../../src/kubernetes/resource.ts";
import { ManualClock } from "./manual-clock.ts";
import { type Exchange, ScriptedServer } from "./scripted-server.ts";
import { Told } from "./told.ts";

const TYPE = { group: "test.warmboot.dev", version: "v1", kind: "Widget", plural: "widgets" };

const widget = (name: string, uid: string, version: number) => ({
  metadata: { namespace: "default", name, uid, resourceVersion: String(version) },
});
const list = (version: number, items: unknown[] = [], next?: string) => ({
  kind: "WidgetList",
  metadata: { resourceVersion: String(version), continue: next },
  items,
});
const gone = { type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired", message: "too old" } };

/** A running reflector of a scripted server, and what it told. */
async function reflecting(options: Partial<ReflectorOptions<KubernetesObject>> = {}) {
  const server = await ScriptedServer.start();
  const client = server.client();
  const stop = new AbortController();
  const told = new Told<string>();
  const errors = new Told<unknown>();
  const reflector = new Reflector<KubernetesObject>({
    client,
    type: TYPE,
    maxBackoffMs: 1,
    onEvent: ({ type, object }) => told.add(`${type} ${object.metadata.name}/${object.metadata.uid}`),
    onSync: () => told.add("synced"),
    onError: (error) => errors.add(error),
    ...options,
  });
  const finished = reflector.run(stop.signal);
  return {
    server,
    reflector,
    stop,
    told,
    errors,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await finished;
      await client.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

test("A list is read in pages without a resourceVersion, and watched from where it stood", async () => {
  await using world = await reflecting();
  const { server, reflector, told } = world;
  const first = await server.next();
  assert.equal(first.path, "/apis/test.warmboot.dev/v1/widgets");
  assert.deepEqual(Object.fromEntries(first.query), { limit: "500" });
  first.answer(200, list(10, [widget("a", "1", 3)], "more"));
  const second = await server.next();
  assert.deepEqual(Object.fromEntries(second.query), { limit: "500", continue: "more" });
  assert.equal(reflector.hasSynced, false);
  second.answer(200, list(10, [widget("b", "2", 4)]));
  await reflector.synced();
  assert.equal(reflector.hasSynced, true);
  const watch = await server.next();
  assert.equal(watch.query.get("watch"), "true");
  assert.equal(watch.query.get("allowWatchBookmarks"), "true");
  assert.equal(watch.query.get("resourceVersion"), "10");
  assert.ok(Number(watch.query.get("timeoutSeconds")) >= 300);
  watch.send({ type: "ADDED", object: widget("c", "3", 11) });
  watch.send({ type: "MODIFIED", object: widget("a", "1", 12) });
  watch.send({ type: "DELETED", object: widget("b", "2", 13) });
  assert.deepEqual(await told.take(6), [
    "Added a/1",
    "Added b/2",
    "synced",
    "Added c/3",
    "Modified a/1",
    "Deleted b/2",
  ]);
  assert.deepEqual([...reflector.store.keys()].toSorted(), ["default/a", "default/c"]);
});

test("Every request asks for the selected objects only, the look at how far the server is, too", async () => {
  let watches = 0;
  const selection = { labelSelector: "a=b", fieldSelector: "c=d" };
  await using world = await reflecting({ ...selection, pageSize: 7, onWatch: () => (watches += 1) });
  const { server, errors } = world;
  const selected = ({ query }: Exchange) =>
    Object.fromEntries(["labelSelector", "fieldSelector"].map((name) => [name, query.get(name)]));
  const first = await server.next();
  assert.deepEqual(selected(first), selection);
  assert.equal(first.query.get("limit"), "7");
  first.answer(200, list(10));
  const watch = await server.next();
  assert.deepEqual(selected(watch), selection);
  assert.equal(watches, 0);
  watch.send({ type: "ADDED", object: widget("a", "1", 11) });
  assert.deepEqual(await world.told.take(2), ["synced", "Added a/1"]);
  assert.equal(watches, 1, "told once the API server has accepted the watch");
  watch.cut();
  await errors.next();
  const verify = await server.next();
  assert.deepEqual(selected(verify), selection);
});

test("A watch that the server ends is resumed from the last event or bookmark, without a list", async () => {
  await using world = await reflecting();
  const { server, told } = world;
  (await server.next()).answer(200, list(10));
  let watch = await server.next();
  watch.send({ type: "ADDED", object: widget("a", "1", 15) });
  watch.end();
  watch = await server.next();
  assert.equal(watch.query.get("resourceVersion"), "15");
  watch.send({ type: "BOOKMARK", object: { kind: "Widget", metadata: { resourceVersion: "99" } } });
  watch.end();
  watch = await server.next();
  assert.equal(watch.query.get("resourceVersion"), "99");
  assert.deepEqual(await told.take(2), ["synced", "Added a/1"]);
  assert.equal(told.rest, 0);
});

test("A connection that is cut is resumed, after a look at how far the server is", async () => {
  await using world = await reflecting();
  const { server, reflector, told, errors } = world;
  (await server.next()).answer(200, list(10, [widget("a", "1", 3)]));
  const watch = await server.next();
  watch.send({ type: "MODIFIED", object: widget("a", "1", 15) });
  assert.deepEqual(await told.take(3), ["Added a/1", "synced", "Modified a/1"]);
  assert.equal(reflector.watching, true);
  watch.cut();
  assert.ok((await errors.next()) instanceof UnreachableError);
  assert.equal(reflector.watching, false);
  assert.equal(reflector.store.size, 1, "the last known state stays");
  const verify = await server.next();
  assert.equal(verify.query.get("limit"), "1");
  verify.answer(200, list(40));
  assert.equal((await server.next()).query.get("resourceVersion"), "15");
});

test("Half of a line at the cut is not an event; it comes again", async () => {
  await using world = await reflecting();
  const { server, told, errors } = world;
  (await server.next()).answer(200, list(10));
  let watch = await server.next();
  const line = `${JSON.stringify({ type: "ADDED", object: widget("a", "1", 15) })}\n`;
  watch.send(line.slice(0, 40));
  watch.end();
  const error = await errors.next();
  assert.ok(error instanceof UnreachableError && error.code === "Truncated");
  (await server.next()).answer(200, list(15));
  watch = await server.next();
  assert.equal(watch.query.get("resourceVersion"), "10");
  watch.send(line.slice(0, 40));
  watch.send(line.slice(40));
  assert.deepEqual(await told.take(2), ["synced", "Added a/1"]);
});

test("An expired resourceVersion means a new list: in the watch, and as its answer", async () => {
  await using world = await reflecting();
  const { server, told, errors } = world;
  (await server.next()).answer(200, list(10, [widget("a", "1", 3), widget("b", "2", 4)]));
  const watch = await server.next();
  watch.send(gone);
  const error = await errors.next();
  assert.ok(error instanceof ApiError && error.expired);
  const again = await server.next();
  assert.equal(again.query.get("limit"), "500");
  again.answer(200, list(50, [widget("a", "9", 40), widget("c", "3", 41)]));
  assert.equal((await server.next()).query.get("resourceVersion"), "50");
  assert.deepEqual(await told.take(8), [
    "Added a/1",
    "Added b/2",
    "synced",
    // Re-created while nobody watched.
    "Deleted a/1",
    "Added a/9",
    "Added c/3",
    "Deleted b/2",
    "synced",
  ]);
});

test("A watch that is refused as expired is followed by a new list", async () => {
  await using world = await reflecting();
  const { server } = world;
  (await server.next()).answer(200, list(10));
  (await server.next()).refuse(410, "Expired");
  const again = await server.next();
  assert.equal(again.query.get("watch"), null);
  again.answer(200, list(20));
  assert.equal((await server.next()).query.get("resourceVersion"), "20");
});

test("A continue token that expires in the middle of a list begins the list anew, and nothing vanishes", async () => {
  await using world = await reflecting();
  const { server, told } = world;
  (await server.next()).answer(200, list(10, [widget("a", "1", 3)], "more"));
  (await server.next()).refuse(410, "Expired");
  const again = await server.next();
  assert.equal(again.query.get("continue"), null);
  again.answer(200, list(20, [widget("a", "1", 3), widget("b", "2", 15)]));
  assert.deepEqual(await told.take(3), ["Added a/1", "Added b/2", "synced"]);
});

for (const [what, restored, version] of [
  [
    "A server that fell back behind us, with a restored backup,",
    (exchange: Exchange) => exchange.answer(200, list(50)),
    50,
  ],
  [
    "A server that was away, and may have had a backup restored whose versions have caught up,",
    (exchange: Exchange) => exchange.refuse(503, "ServiceUnavailable"),
    120,
  ],
] as const)
  test(`${what} is listed and believed`, async () => {
    await using world = await reflecting();
    const { server, told, reflector } = world;
    (await server.next()).answer(200, list(100, [widget("a", "1", 90), widget("b", "2", 95)]));
    (await server.next()).cut();
    restored(await server.next());
    const again = await server.next();
    assert.equal(again.query.get("limit"), "500");
    again.answer(200, list(version, [widget("a", "1", 40)]));
    assert.deepEqual(await told.take(6), [
      "Added a/1",
      "Added b/2",
      "synced",
      "Modified a/1",
      "Deleted b/2",
      "synced",
    ]);
    assert.equal(reflector.store.get("default/a")?.metadata.resourceVersion, "40");
    assert.equal((await server.next()).query.get("resourceVersion"), String(version));
  });

test("A server that fell back behind an own write, and not behind what it has told, is listed and believed", async () => {
  await using world = await reflecting();
  const { server, told, reflector } = world;
  (await server.next()).answer(200, list(100, [widget("a", "1", 90)]));
  const watch = await server.next();
  watch.open();
  assert.ok(reflector.accept(widget("a", "1", 110)));
  watch.cut();
  (await server.next()).answer(200, list(105));
  const again = await server.next();
  assert.equal(again.query.get("limit"), "500");
  again.answer(200, list(105, [widget("a", "1", 90)]));
  assert.deepEqual(await told.take(4), ["Added a/1", "synced", "Modified a/1", "synced"]);
  assert.equal(reflector.store.get("default/a")?.metadata.resourceVersion, "90");
});

test("An own write that a list has not seen is kept", async () => {
  await using world = await reflecting();
  const { server, told, reflector } = world;
  (await server.next()).answer(200, list(100, [widget("a", "1", 90)]));
  (await server.next()).answer(410, { kind: "Status", reason: "Expired" });
  const slow = await server.next();
  assert.ok(reflector.accept(widget("a", "1", 110)));
  slow.answer(200, list(105, [widget("a", "1", 90)]));
  assert.deepEqual(await told.take(3), ["Added a/1", "synced", "synced"]);
  assert.equal(reflector.store.get("default/a")?.metadata.resourceVersion, "110");
});

test("What is asked for anew is listed and believed, without an error", async () => {
  await using world = await reflecting();
  const { server, told, errors, reflector } = world;
  (await server.next()).answer(200, list(100, [widget("a", "1", 90)]));
  const watch = await server.next();
  watch.open();
  watch.send({ type: "ADDED", object: widget("b", "2", 101) });
  assert.deepEqual(await told.take(3), ["Added a/1", "synced", "Added b/2"]);
  reflector.relist();
  await watch.gone();
  (await server.next()).answer(200, list(120, [widget("a", "1", 40)]));
  assert.deepEqual(await told.take(3), ["Modified a/1", "Deleted b/2", "synced"]);
  assert.equal(errors.rest, 0);
});

test("A watch on which nothing comes is given up and resumed", async () => {
  await using world = await reflecting({ inactivityMs: 20 });
  const { server, errors } = world;
  (await server.next()).answer(200, list(10));
  const silent = await server.next();
  silent.open();
  const error = await errors.next();
  assert.ok(error instanceof UnreachableError && error.code === "Silent");
  await silent.gone();
  (await server.next()).answer(200, list(10));
  const watch = await server.next();
  assert.equal(watch.query.get("resourceVersion"), "10");
});

test("Any word keeps a watch alive; silence is counted from the last one", async () => {
  const clock = new ManualClock();
  await using world = await reflecting({ inactivityMs: 1000, clock });
  const { server, told, errors } = world;
  (await server.next()).answer(200, list(10));
  assert.equal(await told.next(), "synced");
  const watch = await server.next();
  watch.open();
  for (let version = 11; version < 15; version += 1) {
    watch.send({ type: "ADDED", object: widget(`w${version}`, "1", version) });
    await told.next();
    await clock.advance(900);
  }
  assert.equal(errors.rest, 0);
  await clock.advance(100);
  assert.ok((await errors.next()) instanceof UnreachableError);
});

test("After a silent watch, idle connections are not trusted either", async () => {
  await using world = await reflecting({ inactivityMs: 20 });
  const { server, errors } = world;
  (await server.next()).answer(200, list(10));
  (await server.next()).open();
  await errors.next();
  const { connections } = server;
  await server.next();
  assert.equal(server.connections, connections + 1);
});

test("A watch that is never answered at all is given up at the deadline", async () => {
  await using server = await ScriptedServer.start();
  await using client = server.client({}, 200);
  const stop = new AbortController();
  const failed = Promise.withResolvers<unknown>();
  const reflector = new Reflector({ client, type: TYPE, maxBackoffMs: 1, onError: failed.resolve });
  const finished = reflector.run(stop.signal);
  (await server.next()).answer(200, list(10));
  const silent = await server.next();
  const error = await failed.promise;
  assert.ok(error instanceof UnreachableError && error.code === "DeadlineExceeded");
  await silent.gone();
  stop.abort();
  await finished;
});

test("Garbage is not believed: what came before it counts, and the watch is resumed", async () => {
  await using world = await reflecting();
  const { server, told, errors } = world;
  (await server.next()).answer(200, list(10));
  let watch = await server.next();
  const kinds = [
    "<html>\n",
    '{"type":"NEWS","object":{}}\n',
    '{"type":"ADDED","object":{"metadata":{}}}\n',
    "null\n",
  ];
  for (const [position, garbage] of kinds.entries()) {
    watch.send({ type: "ADDED", object: widget(`w${position}`, "1", 20 + position) });
    watch.send(garbage);
    const error = await errors.next();
    assert.ok(error instanceof MalformedResponseError, String(error));
    (await server.next()).answer(200, list(30));
    watch = await server.next();
    assert.equal(watch.query.get("resourceVersion"), String(20 + position));
  }
  assert.equal((await told.take(5)).length, 5);
});

test("A place that brings nothing but failures is given up for a new list", async () => {
  await using world = await reflecting();
  const { server } = world;
  (await server.next()).answer(200, list(10));
  for (let failure = 0; failure < 4; failure += 1) {
    (await server.next()).send("garbage\n");
    (await server.next()).answer(200, list(10));
  }
  (await server.next()).send("garbage\n");
  assert.equal((await server.next()).query.get("limit"), "500");
});

test("A place that brings anything at all is kept, however often it fails", async () => {
  await using world = await reflecting();
  const { server } = world;
  (await server.next()).answer(200, list(10));
  for (let failure = 0; failure < 12; failure += 1) {
    const watch = await server.next();
    assert.equal(watch.query.get("watch"), "true");
    if (failure % 3 === 0) watch.send({ type: "ADDED", object: widget("a", "1", 20 + failure) });
    watch.send("garbage\n");
    const verify = await server.next();
    assert.equal(verify.query.get("limit"), "1");
    verify.answer(200, list(99));
  }
});

test("A list that fails is tried again for as long as it takes", async () => {
  await using world = await reflecting();
  const { server, told, errors } = world;
  (await server.next()).refuse(403, "Forbidden");
  (await server.next()).cut();
  (await server.next()).answer(200, "<html>please log in</html>");
  (await server.next()).answer(200, { kind: "Status" });
  (await server.next()).refuse(503, "ServiceUnavailable");
  (await server.next()).answer(200, list(10, [widget("a", "1", 3)]));
  assert.deepEqual(await told.take(2), ["Added a/1", "synced"]);
  const kinds = (await errors.take(5)).map((error) => (error instanceof Error ? error.name : ""));
  assert.deepEqual(kinds, [
    "ApiError",
    "UnreachableError",
    "MalformedResponseError",
    "MalformedResponseError",
    "ApiError",
  ]);
});

test("A server that asks to be left alone is left alone for that long", async () => {
  const pauses: number[] = [];
  const asked = Promise.withResolvers<void>();
  const onError = (_: unknown, retryInMs: number) => {
    pauses.push(retryInMs);
    asked.resolve();
  };
  await using world = await reflecting({ onError });
  (await world.server.next()).refuse(429, "TooManyRequests", { "retry-after": "7" });
  await asked.promise;
  assert.deepEqual(pauses, [7000]);
});

test("Functions of the caller that throw are reported, and nothing else happens", async () => {
  const told: string[] = [];
  const broken = new Error("broken");
  await using world = await reflecting({
    onEvent: ({ object }) => {
      told.push(object.metadata.name);
      throw broken;
    },
    onSync: () => {
      throw broken;
    },
  });
  const { server, errors, reflector } = world;
  (await server.next()).answer(200, list(10, [widget("a", "1", 3), widget("b", "2", 4)]));
  assert.deepEqual(await errors.take(3), [broken, broken, broken]);
  (await server.next()).send({ type: "ADDED", object: widget("c", "3", 11) });
  assert.equal(await errors.next(), broken);
  assert.deepEqual(told, ["a", "b", "c"]);
  assert.equal(reflector.store.size, 3);
});

test("Objects are trimmed as they come; one that cannot be keeps its last known state, and its end is told", async () => {
  const trim = (object: KubernetesObject & { bad?: boolean; big?: string }): KubernetesObject => {
    if (object.bad === true) throw new Error("cannot be trimmed");
    return { metadata: object.metadata };
  };
  await using world = await reflecting({ trim });
  const { server, told, errors, reflector } = world;
  (await server.next()).answer(200, list(10, [{ ...widget("a", "1", 3), big: "x" }]));
  assert.deepEqual(await told.take(2), ["Added a/1", "synced"]);
  assert.deepEqual(reflector.store.get("default/a"), widget("a", "1", 3));
  let watch = await server.next();
  watch.send({ type: "MODIFIED", object: { ...widget("a", "1", 11), bad: true } });
  await errors.next();
  assert.deepEqual(reflector.store.get("default/a"), widget("a", "1", 3));
  watch.send(gone);
  await errors.next();
  (await server.next()).answer(200, list(20, [{ ...widget("a", "1", 11), bad: true }]));
  await errors.next();
  assert.equal(await told.next(), "synced");
  watch = await server.next();
  watch.send({ type: "DELETED", object: { ...widget("a", "1", 21), bad: true } });
  assert.equal(await told.next(), "Deleted a/1");
});

test("A page that is too large is asked for again in smaller pages", async () => {
  await using world = await reflecting();
  const { server, errors } = world;
  const first = await server.next();
  first.open();
  const mebibyte = " ".repeat(2 ** 20);
  for (let sent = 0; sent < 65; sent += 1) first.send(mebibyte);
  const error = await errors.next();
  assert.ok(error instanceof MalformedResponseError && error.problem === "TooLarge");
  assert.equal((await server.next()).query.get("limit"), "125");
});

test("Stopping ends a list, a watch and a pause at once", async () => {
  const pauses = Promise.withResolvers<void>();
  const scripts: Record<string, (server: ScriptedServer) => Promise<void>> = {
    list: async (server) => void (await server.next()),
    watch: async (server) => {
      (await server.next()).answer(200, list(10));
      (await server.next()).open();
    },
    pause: async (server) => {
      (await server.next()).refuse(429, "TooManyRequests", { "retry-after": "1000" });
      await pauses.promise;
    },
  };
  for (const script of Object.values(scripts)) {
    const world = await reflecting({ onError: () => pauses.resolve() });
    await script(world.server);
    await world[Symbol.asyncDispose]();
  }
});

test("Waiting for the first list ends with its signal", async () => {
  await using world = await reflecting();
  const stop = new AbortController();
  const waiting = world.reflector.synced(stop.signal);
  stop.abort(new Error("no more"));
  await assert.rejects(waiting, /no more/);
});
