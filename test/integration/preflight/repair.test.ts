import assert from "node:assert/strict";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { LibvirtError } from "libvirt";
import { declaredVolume } from "../../../crds/machine.ts";
import { performRepair } from "../../../src/hypervisor/preflight/repair.ts";
import { run } from "../../support/run.ts";
import { Place, startHost, type Host } from "./workshop.ts";

let host: Host;
let pool: string;
let directory: string;
before(async () => {
  host = await startHost();
  const place = new Place("repair", host.libvirtd.directory, host.libvirtd);
  ({ pool, directory } = await place.pool());
  await host.libvirtd.virsh("vol-create-as", pool, "golden", "2M", "--format", "qcow2");
});
after(() => host[Symbol.asyncDispose]());

const create = (volume: object) =>
  performRepair(host.session, { kind: "CreateVolume", volume: declaredVolume.parse({ pool, ...volume }) });

interface ImageInfo {
  format: string;
  "virtual-size": number;
  "full-backing-filename"?: string;
  "backing-filename-format"?: string;
}

async function info(name: string): Promise<ImageInfo> {
  return JSON.parse(await run("qemu-img", ["info", "--output=json", join(directory, name)])) as ImageInfo;
}

suite("a volume that is created", () => {
  test("is empty, of its format and its capacity", async () => {
    await create({ name: "empty.qcow2", capacity: "3Mi" });
    const { format, "virtual-size": size } = await info("empty.qcow2");
    assert.deepEqual({ format, size }, { format: "qcow2", size: 3 * 2 ** 20 });
  });

  test("takes no space yet where it is raw", async () => {
    await create({ name: "empty.raw", capacity: "1Ti", format: "raw" });
    const { size, blocks } = await stat(join(directory, "empty.raw"));
    assert.equal(size, 2 ** 40);
    assert.ok(blocks < 1000);
  });

  for (const [sentence, capacity, size] of [
    ["of the capacity of its source", undefined, 2 * 2 ** 20],
    ["of its own capacity", "4Mi", 4 * 2 ** 20],
  ] as const) {
    test(`is an overlay ${sentence}`, async () => {
      const name = `overlay-${size}`;
      await create({ name, capacity, source: { backing: { name: "golden" } } });
      const found = await info(name);
      assert.equal(found["full-backing-filename"], join(directory, "golden"));
      assert.equal(found["backing-filename-format"], "qcow2");
      assert.equal(found["virtual-size"], size);
    });

    test(`is a copy ${sentence}`, async () => {
      const name = `copy-${size}`;
      await create({ name, capacity, source: { clone: { name: "golden" } } });
      const found = await info(name);
      assert.equal(found["full-backing-filename"], undefined);
      assert.equal(found["virtual-size"], size);
    });
  }
});

suite("a volume is never overwritten", () => {
  test("where the pool lists it: it is there, and that is all", async () => {
    await create({ name: "kept", capacity: "1Mi" });
    const before = await readFile(join(directory, "kept"));
    await create({ name: "kept", capacity: "2Mi", format: "raw" });
    assert.deepEqual(await readFile(join(directory, "kept")), before);
  });

  for (const [sentence, volume] of [
    ["with an empty qcow2 image", { capacity: "1Mi" }],
    ["with an empty raw file", { capacity: "1Mi", format: "raw" }],
    ["with an overlay", { source: { backing: { name: "golden" } } }],
    ["with a copy", { source: { clone: { name: "golden" } } }],
  ] as const) {
    test(`${sentence}, where the pool does not list it: libvirt refuses`, async () => {
      const name = sentence.replaceAll(" ", "-");
      await writeFile(join(directory, name), "somebody's data");
      await assert.rejects(create({ name, ...volume }), LibvirtError);
      assert.equal(await readFile(join(directory, name), "utf8"), "somebody's data");
    });
  }
});

suite("a repair of what is not there", () => {
  for (const repair of [
    { kind: "StartPool", pool: "none" },
    { kind: "RefreshPool", pool: "none" },
    { kind: "StartNetwork", network: "none" },
    { kind: "StartDevice", device: "none" },
  ] as const) {
    test(`${repair.kind} is refused`, async () => {
      await assert.rejects(performRepair(host.session, repair), LibvirtError);
    });
  }

  test("CreateVolume from a source that does not exist is refused", async () => {
    await assert.rejects(create({ name: "orphan", source: { backing: { name: "none" } } }), LibvirtError);
  });
});
