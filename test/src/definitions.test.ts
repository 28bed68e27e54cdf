import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { pino } from "pino";
import type { Definition } from "../../controller/ports.ts";
import { longestDefinition } from "../../crds/machine.ts";
import { Definitions } from "../../src/definitions.ts";
import { ManualClock } from "./kubernetes/manual-clock.ts";
import { type Exchange, ScriptedServer } from "./kubernetes/scripted-server.ts";
import { Told } from "./kubernetes/told.ts";

interface Line {
  level: string;
  msg: string;
}

/** A ConfigMap as the API server sends it. */
function configMap(resourceVersion: string, content: Record<string, unknown>) {
  const metadata = { namespace: "vms", name: "web-1", uid: "u", resourceVersion, labels: {} };
  return { metadata, ...content };
}

const listOf = (...items: unknown[]) => ({ metadata: { resourceVersion: "10" }, items });

/** Definitions of an API server that a test answers for, with what they tell and log. */
async function reading() {
  const server = await ScriptedServer.start();
  const client = server.client();
  const stop = new AbortController();
  const clock = new ManualClock();
  const changed = new Told<string>();
  const logged = new Told<Line>();
  const definitions = new Definitions({
    client,
    namespace: "vms",
    log: pino(
      { base: null, timestamp: false, formatters: { level: (level) => ({ level }) } },
      { write: (line: string) => logged.add(JSON.parse(line) as Line) },
    ),
    onChange: (change) => changed.add(change === "All" ? "All" : change.configMap),
    clock,
  });
  const running = definitions.run(stop.signal);
  return {
    server,
    definitions,
    changed,
    logged,
    /** The next request, for which a pause may have to be over: time passes until it comes. */
    afterPause: async (): Promise<Exchange> => {
      const next = server.next();
      for (;;) {
        const arrived = await Promise.race([next, clock.advance(10_000)]);
        if (arrived !== undefined) return arrived;
      }
    },
    find: (key: string): Definition => definitions.find({ configMap: "vms/web-1", key }),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await client.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

test("only ConfigMaps with the label are asked for, in the namespace of the machines", async () => {
  await using world = await reading();
  const list = await world.server.next();
  assert.equal(list.path, "/api/v1/namespaces/vms/configmaps");
  assert.equal(list.query.get("labelSelector"), "warmboot.dev/definition");
  list.answer(200, listOf());
  const watch = await world.server.next();
  assert.equal(watch.query.get("labelSelector"), "warmboot.dev/definition");
});

describe("what a ConfigMap says is", () => {
  const cases: [sentence: string, content: Record<string, unknown>, definition: RegExp | string][] = [
    ["the definition where it is text", { data: { "domain.xml": "<domain/>" } }, "<domain/>"],
    [
      "no definition under another key",
      { data: { "domain.yaml": "<domain/>" } },
      /^the ConfigMap web-1 has no key domain\.xml: add it, or correct configMapKeyRef\.key$/,
    ],
    ["no definition where it has no data at all", {}, /has no key domain\.xml/],
    [
      "no definition where it is empty",
      { data: { "domain.xml": " \n" } },
      /^the key domain\.xml of the ConfigMap web-1 is empty: put the domain XML there$/,
    ],
    [
      "no definition where it is binary",
      { binaryData: { "domain.xml": "PGRvbWFpbi8+" } },
      /^the key domain\.xml of the ConfigMap web-1 is binary data: put the domain XML under data/,
    ],
    [
      "no definition where it is longer than one may be",
      { data: { "domain.xml": "a".repeat(longestDefinition + 1) } },
      /^the key domain\.xml .* has 262145 characters: a definition may have at most 262144$/,
    ],
    [
      "the longest definition that one may be",
      { data: { "domain.xml": "a".repeat(longestDefinition) } },
      "a".repeat(longestDefinition),
    ],
  ];
  for (const [sentence, content, expected] of cases)
    test(sentence, async () => {
      await using world = await reading();
      (await world.server.next()).answer(200, listOf(configMap("1", content)));
      await world.definitions.tried();
      const definition = world.find("domain.xml");
      if (definition.kind === "Unavailable") assert.match(definition.message, new RegExp(expected));
      else assert.deepEqual(definition, { kind: "Given", xml: expected });
    });
});

test("nothing is known before the first list has ended, and then all is told", async () => {
  await using world = await reading();
  const list = await world.server.next();
  assert.deepEqual(world.find("domain.xml"), {
    kind: "Unavailable",
    message: "the ConfigMaps are not read yet",
  });
  list.answer(200, listOf());
  assert.equal(await world.changed.next(), "All");
  const definition = world.find("domain.xml");
  assert.ok(definition.kind === "Unavailable");
  assert.equal(
    definition.message,
    "there is no ConfigMap web-1 with the label warmboot.dev/definition in the namespace vms: create it, or " +
      "kubectl label configmap web-1 --namespace vms warmboot.dev/definition=",
  );
});

test("what is written, changed and unlabelled is told; what leaves the data alone is not", async () => {
  await using world = await reading();
  const { changed, find } = world;
  (await world.server.next()).answer(200, listOf());
  assert.equal(await changed.next(), "All");
  const watch = await world.server.next();
  const tell = (type: string, version: string, text: string) =>
    watch.send({ type, object: configMap(version, { data: { a: text } }) });
  tell("ADDED", "11", "<a/>");
  assert.equal(await changed.next(), "vms/web-1");
  assert.deepEqual(find("a"), { kind: "Given", xml: "<a/>" });
  tell("MODIFIED", "12", "<a/>");
  tell("MODIFIED", "13", "<b/>");
  assert.equal(await changed.next(), "vms/web-1");
  assert.deepEqual(find("a"), { kind: "Given", xml: "<b/>" });
  // The API server tells of an object that left the selection as of one that was deleted.
  tell("DELETED", "14", "<b/>");
  assert.equal(await changed.next(), "vms/web-1");
  assert.equal(find("a").kind, "Unavailable");
  assert.equal(changed.rest, 0);
});

describe("rights of an older version", () => {
  test("are logged once and told in words that help, and all is told when they are there", async () => {
    await using world = await reading();
    const { server, definitions, afterPause, changed, logged, find } = world;
    (await server.next()).refuse(403, "Forbidden");
    await definitions.tried();
    assert.equal(await changed.next(), "All");
    const { level, msg } = await logged.next();
    assert.equal(level, "warn");
    assert.match(msg, /cannot be read; machines without configMapKeyRef need none: .*deploy\/rbac\.yaml/);
    const refused = find("a");
    assert.ok(refused.kind === "Unavailable");
    assert.match(refused.message, /^its ConfigMap may not be read: as the test says .*deploy\/rbac\.yaml/);
    for (let retry = 0; retry < 5; retry += 1) (await afterPause()).refuse(403, "Forbidden");
    (await afterPause()).answer(200, listOf(configMap("1", { data: { a: "<a/>" } })));
    (await server.next()).open();
    assert.match((await logged.next()).msg, /are read$/, "and nothing about the retries");
    assert.deepEqual(await changed.take(3), ["vms/web-1", "All", "All"]);
    assert.deepEqual(find("a"), { kind: "Given", xml: "<a/>" });
  });

  test("that are taken away while it runs leave no old definition behind", async () => {
    await using world = await reading();
    const { server, afterPause, changed, logged, find } = world;
    (await server.next()).answer(200, listOf(configMap("1", { data: { a: "<a/>" } })));
    const watch = await server.next();
    watch.open();
    assert.deepEqual(await changed.take(2), ["vms/web-1", "All"]);
    watch.end();
    (await afterPause()).refuse(403, "Forbidden");
    assert.equal((await logged.next()).level, "warn");
    assert.equal(await changed.next(), "All");
    assert.equal(find("a").kind, "Unavailable");
  });
});

test("an outage leaves the last known definitions, and is logged once", async () => {
  await using world = await reading();
  const { server, afterPause, changed, logged, find } = world;
  (await server.next()).answer(200, listOf(configMap("1", { data: { a: "<a/>" } })));
  const watch = await server.next();
  watch.open();
  assert.deepEqual(await changed.take(2), ["vms/web-1", "All"]);
  watch.end();
  for (let retry = 0; retry < 3; retry += 1) (await afterPause()).refuse(503, "ServiceUnavailable");
  assert.match((await logged.next()).msg, /503/);
  assert.deepEqual(find("a"), { kind: "Given", xml: "<a/>" });
  (await afterPause()).answer(200, listOf());
  (await afterPause()).open();
  assert.match((await logged.next()).msg, /are read$/);
});
