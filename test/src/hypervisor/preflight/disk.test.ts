import assert from "node:assert/strict";
import { test } from "node:test";
import { disksOf, sparable } from "../../../../src/hypervisor/preflight/disk.ts";
import { parseXml } from "../../../../src/hypervisor/xml/parse.ts";

const disk = (target: string, device = "disk", order?: number) =>
  `<disk type='file' device='${device}'><source file='/${target}'/><target dev='${target}'/>
   ${order === undefined ? "" : `<boot order='${order}'/>`}</disk>`;
const domain = (devices: string, os = "") =>
  parseXml(`<domain><os><type>hvm</type>${os}</os><devices>${devices}</devices></domain>`);

const table: Readonly<Record<string, [domain: ReturnType<typeof domain>, sparable: string[]]>> = {
  "the first one, where nothing is said": [domain(disk("vda") + disk("vdb")), ["vdb"]],
  "the first hard disk, behind a CD-ROM": [domain(disk("sda", "cdrom") + disk("vda")), ["sda"]],
  "the one with the lowest boot order": [
    domain(disk("vda", "disk", 3) + disk("vdb", "disk", 1) + disk("vdc", "disk", 2)),
    ["vda", "vdc"],
  ],
  "a CD-ROM that comes first, and the hard disk that comes next": [
    domain(disk("vda") + disk("vdb", "disk", 2) + disk("sda", "cdrom", 1)),
    ["vda"],
  ],
  "a CD-ROM that comes first, and the first hard disk": [
    domain(disk("vda") + disk("vdb") + disk("sda", "cdrom", 1)),
    ["vdb"],
  ],
  "the first one, where the network comes first": [
    domain(`${disk("vda") + disk("vdb")}<interface><boot order='1'/></interface>`),
    ["vdb"],
  ],
  "a CD-ROM, where no hard disk is named, and the first hard disk": [
    domain(disk("vda") + disk("vdb") + disk("sda", "cdrom"), "<boot dev='cdrom'/>"),
    ["vdb"],
  ],
  "not a CD-ROM that is tried before the hard disk": [
    domain(disk("vda") + disk("sda", "cdrom"), "<boot dev='cdrom'/><boot dev='hd'/>"),
    ["sda"],
  ],
  "the first one, where libvirt loads the kernel": [
    domain(disk("vda") + disk("vdb"), "<kernel>/k</kernel>"),
    ["vdb"],
  ],
};

for (const [sentence, [xml, expected]] of Object.entries(table)) {
  test(`a machine boots from ${sentence}`, () => {
    assert.deepEqual(
      disksOf(xml).flatMap((one) => sparable(one) ?? []),
      expected,
    );
  });
}

test("a disk keeps its place among all disks, also behind a drive without a medium", () => {
  const empty = "<disk type='file' device='cdrom'><target dev='sda'/></disk>";
  assert.deepEqual(
    disksOf(domain(empty + disk("vda"))).map(({ path, target }) => ({ path, target })),
    [{ path: "devices/disk[2]", target: "vda" }],
  );
});
