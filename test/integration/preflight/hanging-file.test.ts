import assert from "node:assert/strict";
import { open } from "node:fs/promises";
import { after, before, test } from "node:test";
import { procedures } from "libvirt";
import { firstBytes } from "../../../src/hypervisor/preflight/image-header.ts";
import { preflight } from "../../../src/hypervisor/preflight/preflight.ts";
import { parseXml } from "../../../src/hypervisor/xml/parse.ts";
import { run } from "../../support/run.ts";
import { disk, machine, Place, startHost, type Host } from "./workshop.ts";

let host: Host;
before(async () => {
  host = await startHost();
});
after(() => host[Symbol.asyncDispose]());

const look = (name: string, file: string) =>
  preflight(host.session, parseXml(machine({ name }, disk("vda", file, "raw"))), {
    driver: "qemu",
    domain: { name },
    volumes: [],
  });

test("a file that hangs holds up neither looks at other machines nor effects on them", async () => {
  const place = new Place("other", host.libvirtd.directory, host.libvirtd);
  const pipe = place.path("pipe");
  await run("mkfifo", [pipe]);
  const other = await place.file("disk");
  await place.define("define", machine(place, disk("vda", other, "raw")));
  let isAnswered = false;
  const hanging = look("hanging", pipe).finally(() => {
    isAnswered = true;
  });
  // The look at the pipe has begun before that at the other file has ended: both go over one connection.
  assert.deepEqual(await look("other", other), []);
  const { dom } = await host.session.call(procedures.domainLookupByName, { name: "other" });
  const effect = { waitsFor: "Domain", timeoutMs: 10_000 } as const;
  await host.session.call(procedures.domainCreateWithFlags, { dom, flags: 1 }, effect);
  await host.session.call(procedures.domainDestroyFlags, { dom, flags: 0 }, effect);
  assert.equal(isAnswered, false);
  const writer = await open(pipe, "r+");
  await writer.write(Buffer.alloc(firstBytes));
  assert.deepEqual(await hanging, []);
  await writer.close();
  assert.equal(
    (await host.libvirtd.virsh("list", "--all", "--name")).trim(),
    "other",
    "nothing is left behind",
  );
});
