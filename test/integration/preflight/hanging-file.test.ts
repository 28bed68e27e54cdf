import assert from "node:assert/strict";
import { open } from "node:fs/promises";
import { after, before, test } from "node:test";
import { procedures } from "libvirt";
import { firstBytes } from "../../../src/hypervisor/preflight/image-header.ts";
import { preflight } from "../../../src/hypervisor/preflight/preflight.ts";
import { parseXml } from "../../../src/hypervisor/xml/parse.ts";
import { Heard } from "../../src/libvirt/heard.ts";
import { startLibvirtd, type Libvirtd } from "../../support/libvirtd.ts";
import { run } from "../../support/run.ts";
import { disk, machine, Place } from "./workshop.ts";

let libvirtd: Libvirtd;
let heard: Heard;
before(async () => {
  libvirtd = await startLibvirtd();
  heard = new Heard(libvirtd.uri("qemu"));
  await heard.next("Connected");
});
after(async () => {
  await heard[Symbol.asyncDispose]();
  await libvirtd.close();
});

const look = (name: string, file: string) =>
  preflight(heard.session, parseXml(machine({ name }, disk("vda", file, "raw"))), {
    driver: "qemu",
    domain: { name },
    volumes: [],
  });

test("a file that hangs holds up neither looks at other machines nor effects on them", async () => {
  const place = new Place("other", libvirtd.directory, libvirtd);
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
  const { dom } = await heard.session.call(procedures.domainLookupByName, { name: "other" });
  const effect = { waitsFor: "Domain", timeoutMs: 10_000 } as const;
  await heard.session.call(procedures.domainCreateWithFlags, { dom, flags: 1 }, effect);
  await heard.session.call(procedures.domainDestroyFlags, { dom, flags: 0 }, effect);
  assert.equal(isAnswered, false);
  const writer = await open(pipe, "r+");
  await writer.write(Buffer.alloc(firstBytes));
  assert.deepEqual(await hanging, []);
  await writer.close();
  assert.equal((await libvirtd.virsh("list", "--all", "--name")).trim(), "other", "nothing is left behind");
});
