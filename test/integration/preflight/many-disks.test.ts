import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { preflight } from "../../../src/hypervisor/preflight/preflight.ts";
import type { Caller } from "../../../src/hypervisor/caller.ts";
import { parseXml } from "../../../src/hypervisor/xml/parse.ts";
import { disk, machine, Place, startHost, type Host } from "./workshop.ts";

const disks = 20;
const chain = 5;
/** A definition and a look at each disk for each level, and some for everything else. */
const mostCalls = 150;

let host: Host;
before(async () => {
  host = await startHost();
});
after(() => host[Symbol.asyncDispose]());

/** A session whose calls are counted. */
function counting(): { caller: Caller; calls: () => number } {
  let calls = 0;
  const call: Caller["call"] = (...args) => {
    calls += 1;
    return host.session.call(...args);
  };
  return { caller: { call }, calls: () => calls };
}

test(`a running machine of ${disks} disks on ${chain} images each costs ${mostCalls} calls at most`, async (t) => {
  const place = new Place("many", host.libvirtd.directory, host.libvirtd);
  const tops = await Promise.all(
    Array.from({ length: disks }, async (_, index) => {
      await place.image(`d${index}-0`);
      for (let level = 1; level < chain; level += 1)
        await place.overlay(`d${index}-${level}`, place.path(`d${index}-${level - 1}`));
      return disk(`vd${String.fromCodePoint(97 + index)}`, place.path(`d${index}-${chain - 1}`));
    }),
  );
  await place.define("define", machine(place, tops.join("")));
  await host.libvirtd.virsh("start", "--paused", place.name);
  const xml = parseXml(await host.libvirtd.virsh("dumpxml", "--inactive", place.name));
  const liveXml = parseXml(await host.libvirtd.virsh("dumpxml", place.name));
  const uuid = (await host.libvirtd.virsh("domuuid", place.name)).trim();
  const { caller, calls } = counting();
  const beganMs = performance.now();
  const context = { driver: "qemu", domain: { name: place.name, uuid }, liveXml, volumes: [] };
  assert.deepEqual(await preflight(caller, xml, context), []);
  t.diagnostic(`${calls()} calls, ${(performance.now() - beganMs).toFixed(0)} ms`);
  assert.ok(calls() <= mostCalls, `${calls()} calls`);
  assert.equal(
    (await host.libvirtd.virsh("list", "--all", "--name")).trim(),
    place.name,
    "nothing is left behind",
  );
  await host.libvirtd.virsh("destroy", place.name);
});
