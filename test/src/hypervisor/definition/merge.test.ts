import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { DefinitionError, parseDefinition } from "../../../../src/hypervisor/definition/definition-error.ts";
import { mergeDefinition, type Identity } from "../../../../src/hypervisor/definition/merge.ts";
import { withoutMarks } from "../../../../src/hypervisor/metadata.ts";
import { isSameDomain } from "../../../../src/hypervisor/definition/same.ts";
import {
  at,
  attribute,
  childElements,
  element,
  textOf,
  type XmlElement,
} from "../../../../src/hypervisor/xml/element.ts";
import { formatXml } from "../../../../src/hypervisor/xml/format.ts";
import { parseXml } from "../../../../src/hypervisor/xml/parse.ts";

const uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";
const identity = { name: "vm", uuid };

/** Merges two domains, given by what is inside. */
function merge(definition: string, current: string | undefined, as: Identity = identity): XmlElement {
  const domain = (inside: string) => parseDefinition(`<domain type='kvm'>${inside}</domain>`);
  return mergeDefinition(domain(definition), current === undefined ? undefined : domain(current), as);
}

const os = (machine?: string, rest = "", attributes = "") =>
  `<os${attributes}><type${machine === undefined ? "" : ` machine='${machine}'`}>hvm</type>${rest}</os>`;
const devices = (...all: string[]) => `<devices>${all.join("")}</devices>`;
const pci = (bus: number, slot: number) =>
  `<address type='pci' domain='0x0000' bus='0x0${bus}' slot='0x${slot.toString(16).padStart(2, "0")}' function='0x0'/>`;
const disk = (target: string, rest = "", bus = "virtio") =>
  `<disk type='file'><source file='/${target}'/><target dev='${target}' bus='${bus}'/>${rest}</disk>`;
const nic = (mac: string | undefined, bridge = "br0", rest = "") =>
  `<interface type='bridge'>${mac === undefined ? "" : `<mac address='52:54:00:00:00:${mac}'/>`}` +
  `<source bridge='${bridge}'/>${rest}</interface>`;
const port = (index: number, slot: number) =>
  `<controller type='pci' index='${index}' model='pcie-root-port'>${pci(0, slot)}</controller>`;

function deviceOf(domain: XmlElement, kind: string, nth = 0): XmlElement | undefined {
  return childElements(at(domain, "devices"), kind)[nth];
}
function placeOf(device: XmlElement | undefined): string | undefined {
  const address = at(device, "address");
  if (address === undefined) return undefined;
  const parts = ["bus", "slot"].map((name) => Number(attribute(address, name)));
  return parts.join(":");
}
const macs = (domain: XmlElement) =>
  childElements(at(domain, "devices"), "interface").map((one) =>
    attribute(at(one, "mac"), "address")?.slice(-2),
  );

describe("the name and the UUID of a definition", () => {
  test("are the domain's where it has none", () => {
    const merged = merge("", undefined);
    assert.deepEqual([textOf(at(merged, "name")), textOf(at(merged, "uuid"))], ["vm", uuid]);
  });

  test("may be written as libvirt reads them", () => {
    const merged = merge(`<uuid> ${uuid.replaceAll("-", "").toUpperCase()}</uuid><name>vm</name>`, undefined);
    assert.equal(textOf(at(merged, "uuid")), uuid);
  });

  test("count where the domain is not there and was named by the other", () => {
    const named = merge(`<name>vm</name><uuid>${uuid}</uuid>`, undefined, { name: "vm" });
    assert.equal(textOf(at(named, "uuid")), uuid);
    const numbered = merge("<name>vm</name>", undefined, { uuid });
    assert.equal(textOf(at(numbered, "name")), "vm");
    assert.equal(textOf(at(merge("", undefined, { name: "vm" }), "uuid")), undefined);
  });

  for (const [sentence, definition, as, message] of [
    ["another name", "<name>other</name>", identity, /domain other, and this is vm/],
    [
      "another UUID",
      "<uuid>00000000-0000-4000-8000-000000000000</uuid>",
      identity,
      /UUID 0000.*domain has 6695/,
    ],
    ["no name, where nobody gives one", "", { uuid }, /names no domain/],
  ] as const) {
    test(`that are ${sentence}: it cannot be used`, () => {
      assert.throws(
        () => merge(definition, undefined, as),
        (error) => error instanceof DefinitionError && message.test(error.message),
      );
    });
  }
});

for (const [sentence, text, message] of [
  ["no XML", "<domain>", /cannot be read: the XML is not well-formed/],
  ["another document", "<network/>", /<network> instead of <domain>/],
  ["a document type", "<!DOCTYPE domain><domain/>", /document type/],
] as const) {
  test(`a definition that is ${sentence} cannot be used`, () => {
    assert.throws(
      () => parseDefinition(text),
      (error) => error instanceof DefinitionError && message.test(error.message),
    );
  });
}

describe("the machine type", () => {
  const machine = (definition: string | undefined, current: string) =>
    attribute(at(merge(os(definition), os(current)), "os", "type"), "machine");
  for (const [definition, current, expected] of [
    ["pc", "pc-i440fx-7.2", "pc-i440fx-7.2"],
    ["q35", "pc-q35-7.2", "pc-q35-7.2"],
    ["q35", "pc-q35-rhel9.4.0", "pc-q35-rhel9.4.0"],
    ["q35", "pc-q35-jammy", "pc-q35-jammy"],
    ["virt", "virt-7.2", "virt-7.2"],
    [undefined, "pc-q35-7.2", "pc-q35-7.2"],
    ["pc", "pc-q35-7.2", "pc"],
    ["q35", "pc-i440fx-7.2", "q35"],
    ["pc-q35-8.0", "pc-q35-7.2", "pc-q35-8.0"],
    ["microvm", "pc-q35-7.2", "microvm"],
  ] as const) {
    test(`${definition ?? "nothing"} of a domain that has ${current} is ${expected}`, () => {
      assert.equal(machine(definition, current), expected);
    });
  }

  test("of another processor is not kept", () => {
    const merged = merge(
      "<os><type arch='aarch64'>hvm</type></os>",
      "<os><type arch='x86_64' machine='pc-q35-7.2'/></os>",
    );
    assert.equal(attribute(at(merged, "os", "type"), "machine"), undefined);
  });
});

describe("the MAC address of an interface without one", () => {
  test("is that of the interface on the same network, wherever it is in the list", () => {
    const current = os("pc") + devices(nic("01", "br0"), nic("02", "br1"), nic("03", "br1"));
    const definition =
      os("pc") + devices(nic(undefined, "br1"), nic(undefined, "br1"), nic(undefined, "br0"));
    assert.deepEqual(macs(merge(definition, current)), ["02", "03", "01"]);
  });

  test("is that of the next one that is left where no network fits", () => {
    const current = os("pc") + devices(nic("01", "br0"), nic("02", "br1"));
    const definition =
      os("pc") + devices(nic(undefined, "br9"), nic(undefined, "br0"), nic(undefined, "br8"));
    assert.deepEqual(macs(merge(definition, current)), ["02", "01", undefined]);
  });

  test("is never that of one which the definition names elsewhere", () => {
    const current = os("pc") + devices(nic("01"), nic("02"));
    const definition = os("pc") + devices(nic(undefined), nic("01"));
    assert.deepEqual(macs(merge(definition, current)), ["02", "01"]);
  });

  test("is kept on another machine type, too", () => {
    const merged = merge(os("q35") + devices(nic(undefined)), os("pc-i440fx-7.2") + devices(nic("01")));
    assert.deepEqual(macs(merged), ["01"]);
  });
});

describe("the address of a device without one", () => {
  test("is that of the disk with the same target", () => {
    const current = os("pc") + devices(disk("vda", pci(0, 4)), disk("vdb", pci(0, 5)));
    const merged = merge(os("pc") + devices(disk("vdb"), disk("vdc")), current);
    assert.equal(placeOf(deviceOf(merged, "disk")), "0:5");
    assert.equal(placeOf(deviceOf(merged, "disk", 1)), undefined);
  });

  test("is that of the controller with the same type and index, with the index where it has none", () => {
    const scsi = (index: string, rest = "") =>
      `<controller type='scsi'${index} model='virtio-scsi'>${rest}</controller>`;
    const current = os("pc") + devices(scsi(" index='0'", pci(0, 4)), scsi(" index='1'", pci(0, 5)));
    const merged = merge(os("pc") + devices(scsi(" index='1'"), scsi("")), current);
    const controllers = [0, 1].map((nth) => deviceOf(merged, "controller", nth));
    assert.deepEqual(controllers.map(placeOf), ["0:5", "0:4"]);
    assert.equal(attribute(controllers[1], "index"), "0");
  });

  test("is that of the same host device, however its numbers are written", () => {
    const host = (bus: string, rest = "") =>
      `<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='${bus}' slot='0'/></source>${rest}</hostdev>`;
    const current = os("pc") + devices(host("0x01", pci(0, 6)), host("0x0a", pci(0, 7)));
    assert.equal(placeOf(deviceOf(merge(os("pc") + devices(host("10")), current), "hostdev")), "0:7");
  });

  test("is that of another device of its kind and type, by position", () => {
    const rng = (rest = "") =>
      `<rng model='virtio'><backend model='random'>/dev/random</backend>${rest}</rng>`;
    const current = os("pc") + devices(rng(pci(0, 4)), rng(pci(0, 5)));
    const merged = merge(os("pc") + devices(rng(), rng()), current);
    assert.deepEqual(
      [0, 1].map((nth) => placeOf(deviceOf(merged, "rng", nth))),
      ["0:4", "0:5"],
    );
  });

  for (const [sentence, definition, current] of [
    [
      "the definition gives it to another device",
      os("pc") + devices(disk("vda"), nic("09", "b", pci(0, 4))),
      os("pc") + devices(disk("vda", pci(0, 4))),
    ],
    [
      "the machine is of another family",
      os("q35") + devices(disk("vda")),
      os("pc-i440fx-7.2") + devices(disk("vda", pci(0, 4))),
    ],
    [
      "the disk is on another bus now",
      os("pc") + devices(disk("vda", "", "sata")),
      os("pc") + devices(disk("vda", pci(0, 4))),
    ],
    [
      "its PCI controller is not what it was",
      os("q35") + devices("<controller type='pci' index='1' model='pcie-to-pci-bridge'/>", disk("vda")),
      os("q35") + devices(port(1, 2), disk("vda", pci(1, 0))),
    ],
    [
      "its PCI controller has lost its place",
      os("q35") + devices(nic("09", "b", pci(0, 2)), disk("vda")),
      os("q35") + devices(port(1, 2), disk("vda", pci(1, 0))),
    ],
  ] as const) {
    test(`is left to libvirt where ${sentence}`, () => {
      assert.equal(placeOf(deviceOf(merge(definition, current), "disk")), undefined);
    });
  }

  test("stays what the definition says", () => {
    const merged = merge(
      os("pc") + devices(disk("vda", pci(0, 9))),
      os("pc") + devices(disk("vda", pci(0, 4))),
    );
    assert.equal(placeOf(deviceOf(merged, "disk")), "0:9");
  });
});

describe("PCI controllers", () => {
  const current = os("pc-q35-7.2") + devices(port(1, 1), port(2, 2), port(3, 3), disk("vda", pci(2, 0)));
  const indexes = (domain: XmlElement) =>
    childElements(at(domain, "devices"), "controller").map((one) => attribute(one, "index"));

  test("are all kept where the definition names none", () => {
    assert.deepEqual(indexes(merge(os("q35") + devices(), current)), ["1", "2", "3"]);
  });

  test("are kept up to the last that a kept address needs where it names some", () => {
    const definition =
      os("q35") + devices("<controller type='pci' index='1' model='pcie-root-port'/>", disk("vda"));
    const merged = merge(definition, current);
    assert.deepEqual(indexes(merged), ["1", "2"]);
    assert.equal(placeOf(deviceOf(merged, "controller")), "0:1");
  });

  test("of another machine type are not kept", () => {
    assert.deepEqual(indexes(merge(os("pc") + devices(disk("vda")), current)), []);
  });
});

describe("the file of the firmware's variables", () => {
  const loader = (path: string) => `<loader readonly='yes' type='pflash'>${path}</loader>`;
  const nvram = "<nvram template='/t'>/vm_VARS.fd</nvram>";
  const current = os("q35", loader("/code") + nvram);
  const variables = (definition: string, of = current) => {
    const found = at(merge(definition, of), "os", "nvram");
    return [textOf(found), attribute(found, "template")];
  };
  test("is kept with its template for the same loader", () => {
    assert.deepEqual(variables(os("q35", loader("/code"))), ["/vm_VARS.fd", "/t"]);
  });
  test("is kept under the definition's template", () => {
    assert.deepEqual(variables(os("q35", `${loader("/code")}<nvram template='/u'/>`)), ["/vm_VARS.fd", "/u"]);
  });
  test("is kept with the loader that libvirt has chosen", () => {
    const chosen = os("q35", loader("/code") + nvram, " firmware='efi'");
    const merged = merge(os("q35", "", " firmware='efi'"), chosen);
    assert.equal(textOf(at(merged, "os", "loader")), "/code");
    assert.equal(textOf(at(merged, "os", "nvram")), "/vm_VARS.fd");
  });
  for (const [sentence, definition] of [
    ["another loader", os("q35", loader("/other"))],
    ["no firmware at all", os("q35")],
    [
      "firmware with features",
      os("q35", "<firmware><feature name='secure-boot' enabled='yes'/></firmware>", " firmware='efi'"),
    ],
  ] as const) {
    test(`is not kept for ${sentence}`, () =>
      assert.deepEqual(variables(definition), [undefined, undefined]));
  }
  test("stays what the definition says", () => {
    assert.deepEqual(variables(os("q35", `${loader("/code")}<nvram>/mine</nvram>`)), ["/mine", undefined]);
  });
});

describe("a generation ID", () => {
  const generation = (definition: string) => textOf(at(merge(definition, "<genid>1-2</genid>"), "genid"));
  test("that the definition leaves open is the domain's", () => assert.equal(generation("<genid/>"), "1-2"));
  test("that it gives counts", () => assert.equal(generation("<genid>3-4</genid>"), "3-4"));
  test("that it does not have is none", () => assert.equal(generation(""), undefined));
});

describe("metadata", () => {
  const metadata = (...all: string[]) => `<metadata>${all.join("")}</metadata>`;
  const entry = (uri: string, text: string) => `<x:e xmlns:x='${uri}'>${text}</x:e>`;
  const mark = entry("https://warmboot.dev/request", "mark");
  const texts = (domain: XmlElement) => childElements(at(domain, "metadata")).map(textOf);

  test("of other programs is kept, and the definition's counts", () => {
    const merged = merge(
      metadata(entry("urn:own", "new")),
      metadata(entry("urn:own", "old"), entry("urn:kept", "kept")),
    );
    assert.deepEqual(texts(merged), ["new", "kept"]);
  });

  test("of this program is the domain's and never the definition's", () => {
    const leaked = metadata(entry("https://warmboot.dev/boot/1", "leaked"), mark.replace("mark", "leaked"));
    assert.deepEqual(texts(merge(leaked, metadata(mark))), ["mark"]);
    assert.deepEqual(texts(merge(leaked, "")), []);
    assert.deepEqual(texts(merge(leaked, undefined)), []);
  });

  test("of this program does not get in by a prefix that is declared further up", () => {
    const definition = "<metadata xmlns:w='https://warmboot.dev/request'><w:request/></metadata>";
    assert.equal(at(merge(definition, undefined), "metadata"), undefined);
  });
});

/** What no program knows: libvirt has many elements, and later ones have more. */
const name = fc.stringMatching(/^unknown-[a-z]{1,5}$/);
const text = fc.stringMatching(/^[ -~]{1,9}$/);
const { tree } = fc.letrec<{ tree: XmlElement }>((tie) => ({
  tree: fc
    .record({
      name,
      attributes: fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), text, {
        maxKeys: 3,
        noNullPrototype: true,
      }),
      children: fc.oneof(
        { depthSize: "small" },
        text.map((one) => [one]),
        fc.array(tie("tree"), { maxLength: 3 }),
      ),
    })
    .map((one) => element(one.name, one.attributes, one.children)),
}));
const unknown = fc.array(tree, { maxLength: 3 }).map((all) => all.map(formatXml).join(""));
const place = fc.option(
  fc.tuple(fc.constantFrom(0, 0, 1, 2), fc.integer({ min: 2, max: 9 })).map(([bus, slot]) => pci(bus, slot)),
  { nil: "" },
);
/** A device, and what no other one in its domain has; undefined where others may be the same. */
type AnyDevice = [key: string | undefined, xml: string];
const anyDisk = fc
  .tuple(fc.constantFrom("vda", "vdb", "vdc"), place, unknown, fc.constantFrom("virtio", "sata"))
  .map(([target, address, rest, bus]): AnyDevice => [target, disk(target, address + rest, bus)]);
const anyNic = fc
  .tuple(
    fc.option(fc.constantFrom("01", "02", "03"), { nil: undefined }),
    fc.constantFrom("br0", "br1"),
    place,
    unknown,
  )
  .map(([mac, bridge, address, rest]): AnyDevice => [mac, nic(mac, bridge, address + rest)]);
const anyPort = fc
  .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 2, max: 9 }))
  .map(([index, slot]): AnyDevice => [`port ${index}`, port(index, slot)]);
const anyOther = fc
  .tuple(fc.constantFrom("rng", "sound", "input"), place)
  .map(([kind, address]): AnyDevice => [undefined, `<${kind}>${address}</${kind}>`]);
const anyDevices = fc
  .uniqueArray(fc.oneof(anyDisk, anyNic, anyPort, anyOther), {
    maxLength: 8,
    selector: ([key]) => key ?? Symbol("another"),
  })
  .map((all) => devices(...all.map(([, xml]) => xml)));
const anyMetadata = fc
  .uniqueArray(fc.constantFrom("urn:a", "urn:b", "https://warmboot.dev/request"))
  .map((uris) => `<metadata>${uris.map((uri) => `<x:e xmlns:x='${uri}'/>`).join("")}</metadata>`);
const domain = fc
  .tuple(
    fc.constantFrom("q35", "pc", "pc-q35-7.2", "pc-i440fx-7.2").map((machine) => os(machine)),
    anyDevices,
    anyMetadata,
    unknown,
    fc.constantFrom("", "<genid/>", "<genid>1-2</genid>"),
  )
  .map(([system, all, metadata, rest, genid]) => system + all + metadata + rest + genid);

describe("any definition and any domain", () => {
  test("are merged to what merging again does not change", () => {
    fc.assert(
      fc.property(domain, domain, (definition, current) => {
        const merged = merge(definition, current);
        const inside = (one: XmlElement) => formatXml({ ...one, name: "x" }).replace(/^<x[^>]*>|<\/x>$/g, "");
        assert.ok(isSameDomain(merge(inside(merged), current), merged), "as the definition");
        assert.ok(isSameDomain(merge(definition, inside(merged)), merged), "as the domain");
      }),
    );
  });

  test("are merged without a loss: what the definition says stays, unknown elements and all", () => {
    fc.assert(
      fc.property(domain, domain, (definition, current) => {
        const given = withoutMarks(parseXml(`<domain>${definition}</domain>`));
        assertContains(merge(definition, current), given);
      }),
    );
  });
});

/** Whether all that an element says is said by another at the same place, which may say more. */
function assertContains(merged: XmlElement, given: XmlElement): void {
  assert.equal(merged.name, given.name);
  for (const [key, value] of Object.entries(given.attributes)) {
    if (key !== "machine") assert.equal(merged.attributes[key], value);
  }
  const rest = [...childElements(merged)];
  for (const child of childElements(given)) {
    const index = rest.findIndex((one) => isContained(one, child));
    assert.ok(index >= 0, `${formatXml(child)} is not in ${formatXml(merged)}`);
    rest.splice(index, 1);
  }
}

function isContained(merged: XmlElement, given: XmlElement): boolean {
  try {
    assertContains(merged, given);
    return (
      given.name !== "unknown" &&
      (!given.name.startsWith("unknown-") || formatXml(merged) === formatXml(given))
    );
  } catch {
    return false;
  }
}
