import assert from "node:assert/strict";
import { readFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { KubernetesClient } from "../../src/kubernetes/client.ts";
import { ApiError, hasReason, UnreachableError } from "../../src/kubernetes/errors.ts";
import { EventRecorder } from "../../src/kubernetes/events.ts";
import { Reflector, type ReflectorOptions } from "../../src/kubernetes/reflector.ts";
import type { KubernetesObject } from "../../src/kubernetes/resource.ts";
import { writeStatus } from "../../src/kubernetes/status.ts";
import { CRD, CRDS, NAMESPACES, TYPE, type Widget } from "../src/kubernetes/widget.ts";
import { TcpProxy } from "../support/proxies/tcp-proxy.ts";
import { type ApiServer, startApiServer } from "../support/apiserver.ts";

let api: ApiServer;
let client: KubernetesClient;

before(async () => {
  api = await startApiServer({ users: { nobody: [] } });
  client = await KubernetesClient.load({ path: api.kubeconfig });
  await client.create(CRDS, CRD);
  await api.kubectl("wait", "--for=condition=established", "crd/widgets.test.warmboot.dev");
});

after(async () => {
  await client.close();
  await api.close();
});

let namespaces = 0;

/** A namespace of its own for each test. */
async function namespaced(): Promise<string> {
  namespaces += 1;
  const name = `test-${namespaces}`;
  await client.create(NAMESPACES, { metadata: { name } });
  return name;
}

const widget = (namespace: string, name: string, size = 1): Widget => ({
  metadata: { namespace, name },
  spec: { size },
});

const resized = (namespace: string, name: string, size: number) =>
  client.mergePatch<Widget>(TYPE, { namespace, name }, { spec: { size } });

/** A client whose connections go through a proxy, or to another server, or with another token. */
async function clientOf(changes: { server?: string; token?: string; caFile?: string }, connections = 8) {
  const config = JSON.parse(await readFile(api.kubeconfig, "utf8"));
  if (changes.server !== undefined) config.clusters[0].cluster.server = changes.server;
  if (changes.caFile !== undefined) config.clusters[0].cluster["certificate-authority"] = changes.caFile;
  if (changes.token !== undefined) config.users[0].user.token = changes.token;
  const directory = await mkdtemp(join(tmpdir(), "kubeconfig-"));
  try {
    const path = join(directory, "config");
    await writeFile(path, JSON.stringify(config));
    return await KubernetesClient.load({ path, connections });
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** A running reflector of the widgets in a namespace, and what it told. */
function reflecting(namespace: string, options: Partial<ReflectorOptions<Widget>> = {}) {
  const told: string[] = [];
  const errors: unknown[] = [];
  let changed = Promise.withResolvers<void>();
  const tell = (event: string) => {
    told.push(event);
    changed.resolve();
    changed = Promise.withResolvers();
  };
  const reflector: Reflector<Widget> = new Reflector<Widget>({
    client,
    type: TYPE,
    namespace,
    maxBackoffMs: 500,
    onEvent: ({ type, object }) => tell(`${type} ${object.metadata.name} ${object.spec.size}`),
    onSync: () => tell("synced"),
    onError: (error) => {
      errors.push(error);
      tell("error");
    },
    ...options,
  });
  const stop = new AbortController();
  const finished = reflector.run(stop.signal);
  return {
    reflector,
    told,
    errors,
    /** Resolves once the store is as it should be. */
    async until(condition: () => boolean) {
      while (!condition()) await changed.promise;
    },
    get news(): string[] {
      return told.splice(0).filter((event) => event !== "error");
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await finished;
    },
  };
}

const sizeOf = (world: ReturnType<typeof reflecting>, key: string) =>
  world.reflector.store.get(key)?.spec.size;

test("A collection of several pages is listed completely, and its changes are told as they happen", async () => {
  const namespace = await namespaced();
  const names = Array.from({ length: 1100 }, (_, number) => `w${number}`);
  const creating = names[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (const name of creating) await client.create(TYPE, widget(namespace, name));
    }),
  );
  const trim = (object: KubernetesObject): Widget => {
    const { metadata, spec } = object as Widget;
    const { name, uid, resourceVersion } = metadata;
    return { metadata: { namespace, name, uid, resourceVersion }, spec };
  };
  await using world = reflecting(namespace, {
    trim,
    indexes: { size: (object) => [String(object.spec.size)] },
  });
  await world.reflector.synced();
  assert.equal(world.reflector.store.size, 1100);
  assert.equal(world.reflector.store.byIndex("size", "1").length, 1100);
  world.told.splice(0);
  await resized(namespace, "w7", 2);
  await client.create(TYPE, widget(namespace, "new", 3));
  await client.delete(TYPE, { namespace, name: "w8" });
  await world.until(() => world.told.length === 3);
  assert.deepEqual(world.news, ["Modified w7 2", "Added new 3", "Deleted w8 1"]);
  assert.deepEqual(
    world.reflector.store.byIndex("size", "2").map(({ metadata }) => metadata.name),
    ["w7"],
  );
  assert.deepEqual(world.errors, []);
});

test("A watch that the server ends is resumed, and tells nothing twice", async () => {
  const namespace = await namespaced();
  await client.create(TYPE, widget(namespace, "a"));
  const opened: string[] = [];
  const counting = new Proxy(client, {
    get(target, property) {
      if (property === "stream") opened.push(property);
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  await using world = reflecting(namespace, { client: counting, watchSeconds: 1, random: () => 0 });
  await world.reflector.synced();
  for (let size = 2; opened.length < 4; size += 1) {
    await resized(namespace, "a", size);
    await world.until(() => sizeOf(world, `${namespace}/a`) === size);
  }
  const sizes = world.news.filter((event) => event.startsWith("Modified"));
  assert.deepEqual(
    sizes,
    sizes.map((_, position) => `Modified a ${position + 2}`),
  );
  assert.deepEqual(world.errors, []);
});

test("Connections that are reset lose nothing", async () => {
  const namespace = await namespaced();
  await using proxy = await TcpProxy.start(api.url);
  await using proxied = await clientOf({ server: proxy.url });
  await client.create(TYPE, widget(namespace, "a"));
  await using world = reflecting(namespace, { client: proxied });
  await world.reflector.synced();
  for (let size = 2; size < 12; size += 1) {
    proxy.cut();
    await resized(namespace, "a", size);
    await world.until(() => sizeOf(world, `${namespace}/a`) === size);
  }
  assert.equal(world.news.filter((event) => event === "synced").length, 1, "it was never listed again");
  assert.ok(world.errors.every((error) => error instanceof UnreachableError));
});

test("A connection that stalls without a word is noticed and replaced", async () => {
  const namespace = await namespaced();
  await using proxy = await TcpProxy.start(api.url);
  await using proxied = await clientOf({ server: proxy.url });
  await using world = reflecting(namespace, { client: proxied, inactivityMs: 300 });
  await world.reflector.synced();
  await client.create(TYPE, widget(namespace, "a"));
  await world.until(() => sizeOf(world, `${namespace}/a`) === 1);
  proxy.stall();
  await resized(namespace, "a", 2);
  await world.until(() => sizeOf(world, `${namespace}/a`) === 2);
  const codes = world.errors.map((error) => (error instanceof UnreachableError ? error.code : error));
  assert.ok(codes.includes("Silent"), String(codes));
});

/**
 * Deletes one of two resources and creates the other one anew while a reflector is cut off, `meanwhile` something happens,
 * and resolves once the reflector knows. Only its later news are left.
 */
async function replacedBehind(undo: AsyncDisposableStack, meanwhile: () => Promise<void>) {
  const namespace = await namespaced();
  const proxy = undo.use(await TcpProxy.start(api.url));
  const proxied = undo.use(await clientOf({ server: proxy.url }));
  await client.create(TYPE, widget(namespace, "a", 1));
  await client.create(TYPE, widget(namespace, "b", 1));
  const world = undo.use(reflecting(namespace, { client: proxied }));
  await world.reflector.synced();
  assert.deepEqual(world.news, ["Added a 1", "Added b 1", "synced"]);
  proxy.refuse();
  await client.delete(TYPE, { namespace, name: "a" });
  await client.create(TYPE, widget(namespace, "a", 2));
  await client.delete(TYPE, { namespace, name: "b" });
  await meanwhile();
  proxy.heal();
  await world.until(() => sizeOf(world, `${namespace}/a`) === 2 && world.reflector.store.size === 1);
  return world;
}

test("What is deleted and created again while nobody watches is told as both", async () => {
  await using undo = new AsyncDisposableStack();
  const world = await replacedBehind(undo, async () => {});
  assert.deepEqual(world.news.toSorted(), ["Added a 2", "Deleted a 1", "Deleted b 1"]);
});

test("An API server that is restarted, and one that is killed, is found again with nothing lost", async () => {
  const namespace = await namespaced();
  await client.create(TYPE, widget(namespace, "a"));
  await using world = reflecting(namespace);
  await world.reflector.synced();
  let size = 1;
  const ends = {
    restarted: () => api.stopApiServer(),
    killed: () => api.kill("KILL").then(() => api.apiServer.exited()),
  };
  for (const [how, end] of Object.entries(ends)) {
    await end();
    await world.until(() => !world.reflector.watching && world.errors.length > 0);
    await api.startApiServer();
    size += 1;
    await resized(namespace, "a", size);
    await world.until(() => sizeOf(world, `${namespace}/a`) === size);
    assert.equal(world.reflector.store.size, 1, how);
  }
  assert.deepEqual(
    world.news.filter((event) => event.startsWith("Modified")),
    ["Modified a 2", "Modified a 3"],
  );
});

test("An API server that was away, and remembers no changes from before, is listed anew", async () => {
  await using undo = new AsyncDisposableStack();
  // A restarted API server remembers no changes from before its start.
  const world = await replacedBehind(undo, () => api.restart());
  await world.until(() => world.told.includes("synced"));
  assert.deepEqual(world.news, ["Deleted a 1", "Added a 2", "Deleted b 1", "synced"]);
});

test("A status write replaces the status and leaves everything else alone", async () => {
  const namespace = await namespaced();
  const original = {
    ...widget(namespace, "a", 3),
    metadata: {
      namespace,
      name: "a",
      labels: { app: "x" },
      annotations: { note: "kept" },
      finalizers: ["test.warmboot.dev/kept"],
    },
  };
  const created = await client.create<Widget>(TYPE, original, { fieldManager: "kubectl" });
  // As out of a trimmed cache, with a spec that is not even valid.
  const { name, uid, resourceVersion } = created.metadata;
  const cached = { metadata: { namespace, name, uid, resourceVersion }, spec: { size: -1 } };
  const status = { phase: "A", observedGeneration: 1 };
  const written = await writeStatus<Widget>(client, TYPE, cached, status, { fieldManager: "warmboot" });
  assert.equal(written.kind, "Written");
  const now = await client.get<Widget>(TYPE, { namespace, name: "a" });
  const without = (object: Widget) => ({
    ...object,
    status: undefined,
    metadata: { ...object.metadata, resourceVersion: undefined, managedFields: undefined },
  });
  assert.deepEqual(without(now), without(created));
  assert.deepEqual(now.status, status);
  const { managedFields } = now.metadata as { managedFields?: { manager: string; subresource?: string }[] };
  assert.deepEqual(
    managedFields?.map(({ manager, subresource }) => ({ manager, subresource })),
    [
      { manager: "kubectl", subresource: undefined },
      { manager: "warmboot", subresource: "status" },
    ],
  );
  const again = await writeStatus<Widget>(client, TYPE, now, status, { fieldManager: "warmboot" });
  assert.ok(again.kind === "Written");
  assert.equal(again.object.metadata.resourceVersion, now.metadata.resourceVersion, "no change is no write");
});

test("A status write says Conflict, Gone or Rejected as it ought to", async () => {
  const namespace = await namespaced();
  const first = await client.create<Widget>(TYPE, widget(namespace, "a"));
  const write = (object: KubernetesObject, phase = "A") =>
    writeStatus<Widget>(client, TYPE, object, { phase }).then((outcome) => outcome.kind);
  assert.equal(await write(first, "C"), "Rejected");
  await resized(namespace, "a", 2);
  assert.equal(await write(first), "Conflict");
  await client.delete(TYPE, { namespace, name: "a" });
  assert.equal(await write(first), "Gone");
  const second = await client.create<Widget>(TYPE, widget(namespace, "a"));
  const mixed = { metadata: { ...second.metadata, uid: first.metadata.uid } };
  assert.equal(await write(mixed), "Conflict", "another object under its name");
  assert.equal(await write(second), "Written");
});

test("A stricter schema does not keep the status of an older object from being written", async () => {
  const namespace = await namespaced();
  const created = await client.create<Widget>(TYPE, widget(namespace, "a", 1));
  const path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size/minimum";
  const refuses = () =>
    client.create(TYPE, widget(namespace, "b", 1)).then(
      () => client.delete(TYPE, { namespace, name: "b" }).then(() => false),
      (error: unknown) => hasReason(error, "Invalid"),
    );
  const setMinimum = async (value: number) => {
    const patch = JSON.stringify([{ op: "replace", path, value }]);
    await api.kubectl("patch", "crd", CRD.metadata.name, "--type=json", "-p", patch);
    // No event tells when a schema comes into force; the next answer does.
    while ((await refuses()) !== value > 1) continue;
  };
  await setMinimum(100);
  try {
    assert.equal((await writeStatus<Widget>(client, TYPE, created, { phase: "B" })).kind, "Written");
  } finally {
    await setMinimum(1);
  }
});

test("One's own write can be seen in the store before the watch tells of it, and is told to nobody", async () => {
  const namespace = await namespaced();
  const created = await client.create<Widget>(TYPE, widget(namespace, "a"));
  await using world = reflecting(namespace);
  await world.reflector.synced();
  const outcome = await writeStatus<Widget>(client, TYPE, created, { phase: "A" });
  assert.ok(outcome.kind === "Written");
  world.reflector.accept(outcome.object);
  assert.equal(world.reflector.store.get(`${namespace}/a`)?.status?.phase, "A");
  await resized(namespace, "a", 2);
  await world.until(() => sizeOf(world, `${namespace}/a`) === 2);
});

test("Events are shown by kubectl, and repetitions are counted in one of them", async () => {
  const namespace = await namespaced();
  const { metadata } = await client.create<Widget>(TYPE, widget(namespace, "a"));
  const recorder = new EventRecorder<"GuestShutdownTimedOut" | "GuestRestarted">({
    client,
    reportingController: "warmboot.dev/controller",
    reportingInstance: "test",
    onDrop: (_, error) => assert.ifError(error),
  });
  const regarding = { type: TYPE, metadata };
  const timedOut = {
    regarding,
    type: "Warning",
    reason: "GuestShutdownTimedOut",
    action: "Restart",
    note: "the guest did not shut down in 120 s",
  } as const;
  recorder.record(timedOut);
  recorder.record({ ...timedOut, type: "Normal", reason: "GuestRestarted", note: "ü".repeat(1000) });
  assert.equal(await recorder.flush(5000), true);
  for (let repetition = 0; repetition < 3; repetition += 1) recorder.record(timedOut);
  assert.equal(await recorder.flush(5000), true);
  await recorder.close(0);
  const listed = await api.kubectl("get", "events", "-n", namespace);
  assert.match(listed, /Warning +GuestShutdownTimedOut +widget\/a +the guest did not shut down in 120 s/);
  assert.match(listed, /Normal +GuestRestarted +widget\/a/);
  const shown = await api.kubectl("events", "-n", namespace, "--for", "widget.test.warmboot.dev/a");
  assert.match(shown, /\(x4 over .*GuestShutdownTimedOut/);
  assert.equal(recorder.dropped, 0);
});

test("An API server that is not there, not trusted or not willing is told apart", async () => {
  const namespace = await namespaced();
  const failure = async (changes: Parameters<typeof clientOf>[0]): Promise<unknown> => {
    await using other = await clientOf(changes);
    return await other.list(TYPE, { namespace }).then(
      () => undefined,
      (error: unknown) => error,
    );
  };
  const stranger = await failure({ token: "hunter2" });
  assert.ok(stranger instanceof ApiError && stranger.reason === "Unauthorized");
  assert.doesNotMatch(stranger.message, /hunter2/);
  const nobody = await failure({ token: api.tokenFor("nobody") });
  assert.ok(nobody instanceof ApiError && nobody.reason === "Forbidden");
  assert.match(nobody.message, /User "nobody" cannot list resource "widgets"/);
  await using proxy = await TcpProxy.start(api.url);
  proxy.refuse();
  const unreachable = await failure({ server: proxy.url });
  assert.ok(unreachable instanceof UnreachableError && unreachable.code === "ECONNRESET");
  const wrongName = await failure({ server: api.url.replace("127.0.0.1", "127.0.0.2") });
  assert.ok(wrongName instanceof UnreachableError, String(wrongName));
  const { rootCertificates } = await import("node:tls");
  const directory = await mkdtemp(join(tmpdir(), "ca-"));
  try {
    const caFile = join(directory, "ca.crt");
    await writeFile(caFile, rootCertificates[0] ?? "");
    const untrusted = await failure({ caFile });
    assert.ok(untrusted instanceof UnreachableError);
    assert.match(untrusted.message, /not signed by the certificate authority of the kubeconfig/);
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("A thousand requests at once share the connections that were allowed", async () => {
  const namespace = await namespaced();
  await client.create(TYPE, widget(namespace, "a"));
  await using proxy = await TcpProxy.start(api.url);
  await using proxied = await clientOf({ server: proxy.url }, 4);
  await Promise.all(Array.from({ length: 1000 }, () => proxied.get(TYPE, { namespace, name: "a" })));
  assert.equal(proxy.connections, 4);
});
