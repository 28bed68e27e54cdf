import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { changesBetween } from "../../src/hypervisor/changes/changes.ts";
import type { XmlElement } from "../../src/hypervisor/xml/element.ts";
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
async function normalised(domain: CorpusDomain, prefix = "momentary"): Promise<string> {
  const [name, uuid] = [`${prefix}-${domain.file}`, randomUUID()];
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

/** A domain's XML with one value of it changed, for each text and each attribute. */
function* changesOfOneValue(node: XmlElement, path = ""): Generator<{ where: string; changed: XmlElement }> {
  const other = (value: string) => (/^\d+$/.test(value) ? String(BigInt(value) + 1n) : `${value}x`);
  for (const [name, value] of Object.entries(node.attributes)) {
    const attributes = { ...node.attributes, [name]: other(value) };
    yield { where: `${path}@${name}`, changed: { ...node, attributes } };
  }
  for (const [index, child] of node.children.entries()) {
    if (typeof child === "string") {
      if (child.trim() === "") continue;
      yield { where: `${path}#`, changed: { ...node, children: node.children.with(index, other(child)) } };
      continue;
    }
    const below = path === "" ? child.name : `${path}/${child.name}`;
    for (const { where, changed } of changesOfOneValue(child, below)) {
      yield { where, changed: { ...node, children: node.children.with(index, changed) } };
    }
  }
}

function planted(inactive: string, { from, to }: Plant): string {
  const xml = inactive.replace(from, to);
  assert.notEqual(xml, inactive, `${String(from)} is not in the domain's XML`);
  return xml;
}

/** What libvirt told of each domain. */
const told = new Map<string, { running: XmlElement; inactive: XmlElement }>();

suite("a restart of", { concurrency: 4 }, () => {
  for (const domain of domains) {
    const { file, name, xml, defineOnly } = domain;
    const title = defineOnly === undefined ? file : `${file} (only defined: ${defineOnly})`;
    test(`${title} changes nothing, and what is planted into its configuration`, async () => {
      await define(`${file}.xml`, xml);
      if (defineOnly === undefined) await start(domain);
      const running = await libvirtd.virsh("dumpxml", name);
      const inactive = await libvirtd.virsh("dumpxml", "--inactive", name);
      const copy = await normalised(domain);
      await end(domain);
      told.set(file, { running: parseXml(running), inactive: parseXml(inactive) });
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

/** Places at which a changed value is not told, each for a reason in the table of what libvirt adds. */
const untold = new Set([
  "@xmlns:qemu",
  "cpu/model@fallback",
  "cpu@check",
  "currentMemory#",
  "currentMemory@unit",
  "description#",
  "devices/*/address@bus",
  "devices/*/address@controller",
  "devices/*/address@domain",
  "devices/*/address@function",
  "devices/*/address@multifunction",
  "devices/*/address@port",
  "devices/*/address@slot",
  "devices/*/address@target",
  "devices/*/address@unit",
  "devices/controller/target@chassis",
  "devices/controller/target@port",
  "devices/disk/address@domain",
  "devices/disk/address@function",
  "devices/disk/address@port",
  "devices/disk/address@slot",
  "devices/graphics@listen",
  "devices/graphics@socket",
  "genid#",
  "metadata",
  "name#",
  "uuid#",
]);

test("each value of any domain is told when it changes, but at the places that are known", () => {
  const places = new Map<string, boolean>();
  for (const { file } of domains) {
    const { running, inactive } = told.get(file) ?? assert.fail(`${file} was not seen`);
    for (const { where, changed } of changesOfOneValue(inactive)) {
      const place = where
        .replace(/^devices\/(?!disk\/|panic\/)[^/]+\/address@/, "devices/*/address@")
        .replace(/^metadata.*/, "metadata");
      // What is known not to be told is tried once.
      if (places.get(place) === true || (places.has(place) && untold.has(place))) continue;
      const sentences = changesBetween(running, changed);
      for (const sentence of sentences) assert.ok(sentence.length <= 256, sentence);
      places.set(place, sentences.length > 0);
    }
  }
  const silent = [...places].flatMap(([place, isTold]) => (isTold ? [] : place));
  assert.deepEqual(silent.sort(), [...untold].sort());
  assert.ok(places.size > 400, `${places.size} places`);
});

suite("a definition that is written anew", { concurrency: 2 }, () => {
  const disk = "<disk type='file'><source file='/data.img'/><target dev='vdz' bus='virtio'/></disk>";
  for (const [file, from, to, ...expected] of [
    ["q35-uefi-explicit", "</devices>", `${disk}</devices>`, "disk vdz added"],
    ["q35-virt-install", "<rng ", `${disk}<rng `, "disk vdz added"],
    [
      "scsi-virtio",
      "</devices>",
      `${disk}<sound model='es1370'/></devices>`,
      "disk vdz added",
      "sound added",
    ],
    ["pc-windows-2008", /<sound .*>/, disk, "disk vdz added", "sound removed"],
    [
      "watchdog-panic-pm",
      "machine='pc'",
      "machine='q35'",
      "machine type pc-i440fx-7.2 -> pc-q35-7.2",
      "controller sata 0 added",
      "controller usb 0: model piix3-uhci -> qemu-xhci",
    ],
    ["q35-windows-11", /<tpm .*>/, "", "tpm removed"],
    [
      "interfaces-emulated",
      "<boot order='2'/>",
      "<boot order='3'/>",
      "interface 52:54:00:20:00:01: boot order 2 -> 3",
    ],
  ] as const) {
    test(`of ${file}: ${expected.join(", ")}`, async () => {
      const domain = domains.find((one) => one.file === file);
      assert.ok(domain);
      const xml = domain.xml.replace(from, to);
      assert.notEqual(xml, domain.xml);
      const before = await normalised(domain, "before");
      assert.deepEqual(changes(before, await normalised({ ...domain, xml }, "after")), expected);
    });
  }
});

suite("a restart takes back what was done to the running domain alone:", () => {
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
