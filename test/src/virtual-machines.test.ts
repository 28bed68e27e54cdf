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

const collection = "/apis/warmboot.dev/v1alpha1/virtualmachines";

function resource(index: number, resourceVersion: string, status: unknown = {}) {
  const metadata = {
    namespace: "default",
    name: `vm-${index}`,
    uid: `uid-${index}`,
    resourceVersion,
    generation: 1,
    creationTimestamp: "2026-01-01T00:00:00Z",
  };
  return { metadata, spec: {}, status };
}

/** So many resources as the watched copy has them, of an API server that a test answers for. */
async function watched(count: number) {
  const server = await ScriptedServer.start();
  const client = server.client();
  const stop = new AbortController();
  const recorder = { client, reportingController: "warmboot.dev/controller", reportingInstance: "test" };
  const events = new EventRecorder<NoticeReason>(recorder);
  const queue = new WorkQueue();
  const log = createLog("error", "json");
  const virtualMachines = new ApiVirtualMachines({ client, queue, events, log, onClaim: () => {} });
  const running = virtualMachines.run(stop.signal);
  const list = await server.next();
  assert.equal(list.path, collection);
  const items = Array.from({ length: count }, (_, index) => resource(index, "1"));
  list.answer(200, { metadata: { resourceVersion: "1" }, items });
  (await server.next()).open();
  await virtualMachines.synced(stop.signal);
  return {
    server,
    virtualMachines,
    get: (index: number): VirtualMachine => {
      const found = virtualMachines.get(`default/vm-${index}`);
      assert.ok(found);
      return found;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await events.close(0);
      await client.close();
      await running;
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
  const underWay = await Promise.all(Array.from({ length: 6 }, () => server.next()));
  for (let index = 0; index < 20; index += 1) write(index, 2);
  let arrived = 0;
  const taken: { name: string; generation: unknown }[] = [];
  const later = (async () => {
    while (taken.length < 20) {
      const exchange = await server.next();
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
  take(await server.next());
  await virtualMachines.drained();
  virtualMachines.writeStatus(world.get(0), { observedGeneration: 1, history: undefined });
  await virtualMachines.drained();
  virtualMachines.writeStatus(world.get(0), { observedGeneration: 2 });
  assert.equal(take(await server.next()).generation, 2);
  await virtualMachines.drained();
});
