import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import {
  DomainXmlError,
  parseDomainXml,
  readDomain,
  type DomainXml,
} from "../../../src/hypervisor/domain-xml.ts";

const read = (xml: string): DomainXml => readDomain(parseDomainXml(xml));

const channel = (state: string) =>
  `<channel type='unix'><source mode='bind' path='/run/x'/>
    <target type='virtio' name='org.qemu.guest_agent.0' state='${state}'/><alias name='channel0'/></channel>`;
const disk = (target: string) =>
  `<disk type='file' device='disk'><source file='/a&amp;b' index='1'/><target dev='${target}' bus='virtio'/></disk>`;
const drive = "<disk type='file' device='cdrom'><target dev='hda' bus='ide'/><readonly/></disk>";

function domain(devices: string, rest = ""): string {
  return `<domain type='qemu' id='1'><name>vm</name>
    <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot>${rest}<devices>${devices}</devices></domain>`;
}

describe("the XML of a domain", () => {
  const spice = "<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>";
  const actions = { onReboot: "restart", onPoweroff: "destroy" };
  for (const [sentence, devices, expected] of [
    ["no devices", "", { agent: undefined, disks: [] }],
    ["no channel for an agent", spice + disk("vda"), { agent: undefined, disks: ["vda"] }],
    ["an agent that is connected", spice + channel("connected"), { agent: "Connected", disks: [] }],
    [
      "a channel without a source",
      channel("connected").replace(/<source.*\/>/, ""),
      { agent: "Connected", disks: [] },
    ],
    ["one that is not", channel("disconnected"), { agent: "Disconnected", disks: [] }],
    [
      "several disks and an empty drive",
      disk("vda") + drive + disk("vdb"),
      { agent: undefined, disks: ["vda", "vdb"] },
    ],
    ["elements without content", "<channel/><disk/>" + disk("vda"), { agent: undefined, disks: ["vda"] }],
  ] as const) {
    test(`with ${sentence}`, () => {
      assert.deepEqual(read(domain(devices)), { ...expected, ...actions });
    });
  }

  test("without actions of its own", () => {
    assert.deepEqual(read("<domain type='test'><name>vm</name></domain>"), {
      agent: undefined,
      disks: [],
      onReboot: undefined,
      onPoweroff: undefined,
    });
  });
});

describe("whatever else a domain's owner writes into its XML", () => {
  const plain = read(domain(disk("vda")));
  const metadata = (content: string) => domain(disk("vda"), `<metadata>${content}</metadata>`);
  for (const [sentence, xml] of [
    ["elements with the names of a domain's", metadata(domain(channel("connected") + disk("vdz")))],
    ["elements nested as deep as libvirt lets them be", metadata("<a>".repeat(200) + "</a>".repeat(200))],
    ["names of JavaScript's own", metadata("<__proto__ x='1'><on_reboot>x</on_reboot></__proto__>")],
    ["text that looks like an end", metadata("<![CDATA[</metadata><on_reboot>x</on_reboot>]]>")],
    ["sixty thousand elements", metadata("<a/>".repeat(60_000))],
    ["a comment", domain(disk("vda"), "<!-- <on_reboot>destroy</on_reboot> -->")],
  ]) {
    test(`${sentence}: is not looked at`, () => {
      assert.deepEqual(read(xml ?? ""), plain);
    });
  }

  for (const [sentence, xml, reason] of [
    ["elements nested without end", metadata("<a>".repeat(50_000) + "</a>".repeat(50_000)), /levels/],
    ["more elements than anybody reads", metadata("<a/>".repeat(250_000)), /250\d\d\d elements/],
    ["a megabyte of text", metadata("a".repeat(1_048_576)), /characters/],
    ["entities that it declares", `<!DOCTYPE domain [<!ENTITY e "x">]>${domain("")}`, /document type/],
    ["another document", "<domainsnapshot/>", /<domainsnapshot>/],
  ] as const) {
    test(`${sentence}: is refused with the reason`, () => {
      assert.throws(
        () => parseDomainXml(xml),
        (error) => error instanceof DomainXmlError && reason.test(error.message),
      );
    });
  }

  const word = fc.constantFrom(
    ..."< > / & = ' \" ! ? [ ] - <!-- --> <![CDATA[ ]]> <!DOCTYPE".split(" "),
    ..."<domain> </domain> <devices> </devices> <disk> <channel> <target <source/> __proto__ $ name".split(
      " ",
    ),
    "\0",
    " ",
    "x",
  );
  const soup = fc.array(word, { maxLength: 60 }).map((words) => words.join(""));
  for (const [sentence, text] of [
    ["any text", fc.string({ unit: "binary", maxLength: 200 })],
    ["any soup of XML's pieces", soup],
    ["any soup below a domain's devices", soup.map((inner) => domain(inner))],
  ] as const) {
    test(`${sentence} is read or refused by an error of its own, and changes no prototype`, () => {
      fc.assert(
        fc.property(text, (xml) => {
          try {
            const { disks } = read(xml);
            assert.ok(disks.every((target) => typeof target === "string"));
          } catch (error) {
            assert.ok(error instanceof DomainXmlError, String(error));
          }
          assert.deepEqual(Object.keys(Object.prototype), []);
        }),
        { numRuns: 2000 },
      );
    });
  }
});
