import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { changesBetween } from "../../src/hypervisor/definition/changes.ts";
import { parseXml } from "../../src/hypervisor/xml/parse.ts";
import {
  corpusDomains,
  layOutImages,
  underAnotherName,
  type CorpusDomain,
} from "../support/domain-corpus.ts";
import { startLibvirtd, type Libvirtd } from "../support/libvirtd.ts";
import { plants, type Plant } from "./corpus/plants.ts";

const domains = await corpusDomains();

let libvirtd: Libvirtd;
before(async () => {
  libvirtd = await startLibvirtd();
  await layOutImages(libvirtd, domains);
});
after(() => libvirtd.close());

/** What a restart would change, by two texts of libvirt's. */
function changes(running: string, next: string): string[] {
  return changesBetween(parseXml(running), parseXml(next));
}

async function define(file: string, xml: string): Promise<void> {
  const path = join(libvirtd.directory, file);
  await writeFile(path, xml);
  await libvirtd.virsh("define", path);
}

/** Defines a text under a name of the moment, and gives what libvirt made of it. */
async function normalised(domain: CorpusDomain): Promise<string> {
  const [name, uuid] = [`momentary-${domain.file}`, randomUUID()];
  await define(`${name}.xml`, underAnotherName(domain, name, uuid));
  const xml = await libvirtd.virsh("dumpxml", "--inactive", name);
  await libvirtd.virsh("undefine", "--nvram", name);
  return xml;
}

/** Starts a domain without running its guest: only what libvirt makes of it is of interest. */
async function start({ name }: CorpusDomain): Promise<void> {
  await libvirtd.virsh("start", "--paused", name);
}

async function end({ name, defineOnly }: CorpusDomain): Promise<void> {
  if (defineOnly === undefined) await libvirtd.virsh("destroy", name);
  await libvirtd.virsh("undefine", "--nvram", name);
}

function planted(inactive: string, { from, to }: Plant): string {
  const xml = inactive.replace(from, to);
  assert.notEqual(xml, inactive, `${String(from)} is not in the domain's XML`);
  return xml;
}

suite("a restart of", { concurrency: 2 }, () => {
  for (const domain of domains) {
    const { file, name, xml, defineOnly } = domain;
    const told = defineOnly === undefined ? file : `${file} (only defined: ${defineOnly})`;
    test(`${told} changes nothing, and what is planted into its configuration`, async () => {
      await define(`${file}.xml`, xml);
      if (defineOnly === undefined) await start(domain);
      const running = await libvirtd.virsh("dumpxml", name);
      const inactive = await libvirtd.virsh("dumpxml", "--inactive", name);
      const copy = await normalised(domain);
      await end(domain);
      assert.deepEqual(changes(running, inactive), [], "its own configuration");
      assert.deepEqual(changes(running, copy), [], "the same definition, read again under another name");
      for (const plant of plants[file] ?? []) {
        assert.deepEqual(changes(running, planted(inactive, plant)), plant.says, `${plant.from}`);
      }
    });
  }

  test("every domain has something planted", () => {
    assert.deepEqual(domains.map(({ file }) => file).sort(), Object.keys(plants).sort());
  });
});

suite("a restart takes back what was done to the running domain alone:", { concurrency: 2 }, () => {
  /** A domain of the corpus that runs, under a name of its own, with a way to see what a restart would change. */
  async function running(file: string, name: string) {
    const original = domains.find((one) => one.file === file);
    assert.ok(original);
    const domain = { ...original, name };
    await define(`${name}.xml`, underAnotherName(original, name, randomUUID()));
    await start(domain);
    return {
      told: async () =>
        changes(await libvirtd.virsh("dumpxml", name), await libvirtd.virsh("dumpxml", "--inactive", name)),
      [Symbol.asyncDispose]: () => end(domain),
    };
  }

  test("disks that were plugged, media that were changed", async () => {
    await using domain = await running("q35-virt-install", "plugged");
    const image = "/var/lib/libvirt/images/thin.overlay.qcow2";
    await libvirtd.virsh("attach-disk", "plugged", image, "vdb", "--subdriver", "qcow2", "--live");
    const iso = "/var/lib/libvirt/images/tools.iso";
    await libvirtd.virsh("change-media", "plugged", "sda", iso, "--insert", "--live");
    assert.deepEqual(await domain.told(), [`disk sda: source ${iso} removed`, "disk vdb removed"]);
  });

  test("processors that were switched on", async () => {
    await using domain = await running("vcpus-current", "tuned-live");
    await libvirtd.virsh("setvcpus", "tuned-live", "2", "--live");
    assert.deepEqual(await domain.told(), ["current vCPUs 2 -> 1"]);
  });

  test("but not what was done to both, nor the balloon", async () => {
    await using domain = await running("q35-virt-install", "both");
    const image = "/var/lib/libvirt/images/thin.overlay.qcow2";
    await libvirtd.virsh("attach-disk", "both", image, "vdb", "--subdriver", "qcow2", "--live", "--config");
    await libvirtd.virsh("setmem", "both", "1G", "--live");
    assert.deepEqual(await domain.told(), []);
  });

  test("nor our own marks, with the actions that go with them", async () => {
    await using domain = await running("pc-minimal", "marked");
    const mark = (uri: string, side: string) =>
      libvirtd.virsh(
        "metadata",
        "marked",
        `https://warmboot.dev/${uri}`,
        "--set",
        "<a/>",
        "--key",
        "w",
        side,
      );
    await mark("boot/0123", "--live");
    await mark("request", "--config");
    await libvirtd.virsh("set-lifecycle-action", "marked", "reboot", "destroy", "--live");
    assert.deepEqual(await domain.told(), []);
  });
});
