import assert from "node:assert/strict";
import { test } from "node:test";
import type { NoticeReason } from "../../controller/notice.ts";
import type { VirtualMachine } from "../../crds/virtual-machine.ts";
import { EventRecorder } from "../../src/kubernetes/events.ts";
import { WorkQueue } from "../../src/kubernetes/work-queue.ts";
import { createLog } from "../../src/log.ts";
import { ApiVirtualMachines } from "../../src/virtual-machines.ts";
import { turns } from "./kubernetes/manual-clock.ts";
import { type Exchange, ScriptedServer } from "./kubernetes/scripted-server.ts";
import { Told } from "./kubernetes/told.ts";

const collection = "/apis/warmboot.dev/v1alpha1/virtualmachines";

const isWrite = ({ method }: Exchange) => method === "PUT";
const isOfConfigMaps = ({ path }: Exchange) => path === "/api/v1/configmaps";

function resource(index: number, resourceVersion: string, status: unknown = {}, spec: unknown = {}) {
  const metadata = {
    namespace: "default",
    name: `vm-${index}`,
    uid: `uid-${index}`,
    resourceVersion,
    generation: 1,
    creationTimestamp: "2026-01-01T00:00:00Z",
  };
  return { metadata, spec, status };
}

/** So many resources as the watched copy has them, of an API server that a test answers for. */
async function watched(count: number, spec: unknown = {}) {
  const server = await ScriptedServer.start();
  const client = server.client();
  const stop = new AbortController();
  const recorder = { client, reportingController: "warmboot.dev/controller", reportingInstance: "test" };
  const events = new EventRecorder<NoticeReason>(recorder);
  const queue = new WorkQueue();
  const queued = new Told<string>();
  const working = queue.run(1, (key) => Promise.resolve(queued.add(key)), stop.signal);
  const log = createLog("error", "json");
  const virtualMachines = new ApiVirtualMachines({
    client,
    allowDefinitions: true,
    queue,
    events,
    log,
    onClaim: () => {},
  });
  const running = virtualMachines.run(stop.signal);
  const isOfMachines = ({ path }: Exchange) => path === collection;
  const list = await server.next(isOfMachines);
  const items = Array.from({ length: count }, (_, index) => resource(index, "1", {}, spec));
  list.answer(200, { metadata: { resourceVersion: "1" }, items });
  const watch = await server.next(isOfMachines);
  watch.open();
  await virtualMachines.synced(stop.signal);
  return {
    server,
    virtualMachines,
    queued,
    watch,
    get: (index: number): VirtualMachine => {
      const found = virtualMachines.get(`default/vm-${index}`);
      assert.ok(found);
      return found;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await events.close(0);
      await client.close();
      await Promise.all([running, working]);
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Takes a status write as the API server does. */
function take(write: Exchange): { name: string; generation: unknown } {
  const { metadata, status } = JSON.parse(write.body) as ReturnType<typeof resource>;
  const index = Number(metadata.name.split("-")[1]);
  write.answer(200, resource(index, String(Number(metadata.resourceVersion) + 1), status));
  return { name: metadata.name, generation: (status as { observedGeneration?: number }).observedGeneration };
}

test("statuses wait for their turn, and one that waits is replaced by a newer one", async () => {
  await using world = await watched(20);
  const { server, virtualMachines } = world;
  const write = (index: number, observedGeneration: number) =>
    virtualMachines.writeStatus(world.get(index), { observedGeneration });
  for (let index = 0; index < 20; index += 1) write(index, 1);
  const underWay = await Promise.all(Array.from({ length: 6 }, () => server.next(isWrite)));
  for (let index = 0; index < 20; index += 1) write(index, 2);
  let arrived = 0;
  const taken: { name: string; generation: unknown }[] = [];
  const later = (async () => {
    while (taken.length < 20) {
      const exchange = await server.next(isWrite);
      arrived += 1;
      taken.push(take(exchange));
    }
  })();
  await turns();
  assert.equal(arrived, 0, "a seventh write does not begin before one of the six has ended");
  const first = underWay.map(take);
  assert.deepEqual(
    first,
    Array.from({ length: 6 }, (_, index) => ({ name: `vm-${index}`, generation: 1 })),
  );
  await later;
  await virtualMachines.drained();
  assert.deepEqual(
    taken.toSorted((one, other) => Number(one.name.slice(3)) - Number(other.name.slice(3))),
    Array.from({ length: 20 }, (_, index) => ({ name: `vm-${index}`, generation: 2 })),
  );
  for (let index = 0; index < 20; index += 1) assert.equal(world.get(index).status.observedGeneration, 2);
});

test("a status that the watched copy has already is not written", async () => {
  await using world = await watched(1);
  const { server, virtualMachines } = world;
  virtualMachines.writeStatus(world.get(0), { observedGeneration: 1, history: undefined });
  take(await server.next(isWrite));
  await virtualMachines.drained();
  virtualMachines.writeStatus(world.get(0), { observedGeneration: 1, history: undefined });
  await virtualMachines.drained();
  virtualMachines.writeStatus(world.get(0), { observedGeneration: 2 });
  assert.equal(take(await server.next(isWrite)).generation, 2);
  await virtualMachines.drained();
});

const configMapKeyRef = { name: "definitions", key: "domain.xml" };

function configMap(name: string, resourceVersion: string, text: string) {
  const metadata = { namespace: "default", name, uid: `uid-${name}`, resourceVersion };
  return { metadata, data: { "domain.xml": text } };
}

test("a resource without a definition has none, and one with XML has that, whatever ConfigMaps there are", async () => {
  await using none = await watched(1);
  assert.deepEqual(none.virtualMachines.definition(none.get(0)), { kind: "None" });
  await using inline = await watched(1, { definition: { xml: "<domain/>" } });
  assert.deepEqual(inline.virtualMachines.definition(inline.get(0)), { kind: "Given", xml: "<domain/>" });
});

test("resources are read without waiting for ConfigMaps, of which nothing is known until then", async () => {
  await using world = await watched(1, { definition: { configMapKeyRef } });
  const definition = world.virtualMachines.definition(world.get(0));
  assert.deepEqual(definition, { kind: "Unavailable", message: "the ConfigMaps are not read yet" });
});

test("a change of a ConfigMap queues the resources that refer to it, and no other", async () => {
  await using world = await watched(3, { definition: { configMapKeyRef } });
  const { server, virtualMachines, queued } = world;
  assert.deepEqual(await queued.take(3), ["default/vm-0", "default/vm-1", "default/vm-2"]);
  const list = await server.next(isOfConfigMaps);
  list.answer(200, { metadata: { resourceVersion: "1" }, items: [configMap("definitions", "1", "<a/>")] });
  assert.deepEqual(await queued.take(3), ["default/vm-0", "default/vm-1", "default/vm-2"], "all is read");
  assert.deepEqual(virtualMachines.definition(world.get(1)), { kind: "Given", xml: "<a/>" });

  const elsewhere = { definition: { configMapKeyRef: { ...configMapKeyRef, name: "elsewhere" } } };
  const moved = resource(1, "2", {}, elsewhere);
  world.watch.send({
    type: "MODIFIED",
    object: { ...moved, metadata: { ...moved.metadata, generation: 2 } },
  });
  assert.equal(await queued.next(), "default/vm-1");
  const { kind } = virtualMachines.definition(world.get(1));
  assert.equal(kind, "Unavailable", "it refers to another one now");

  const changes = await server.next(isOfConfigMaps);
  changes.send({ type: "MODIFIED", object: configMap("definitions", "3", "<b/>") });
  assert.deepEqual(await queued.take(2), ["default/vm-0", "default/vm-2"]);
  changes.send({ type: "MODIFIED", object: configMap("definitions", "4", "<b/>") });
  changes.send({ type: "ADDED", object: configMap("elsewhere", "5", "<c/>") });
  assert.equal(await queued.next(), "default/vm-1", "a change of anything but the data is none");
  changes.send({ type: "DELETED", object: configMap("definitions", "6", "<b/>") });
  assert.deepEqual(await queued.take(2), ["default/vm-0", "default/vm-2"]);
  const kinds = [0, 1, 2].map((index) => virtualMachines.definition(world.get(index)).kind);
  assert.deepEqual(kinds, ["Unavailable", "Given", "Unavailable"]);
});
