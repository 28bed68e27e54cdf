import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { procedures } from "libvirt";
import { preflight } from "../../../src/hypervisor/preflight/preflight.ts";
import { performRepair } from "../../../src/hypervisor/preflight/repair.ts";
import { parseXml } from "../../../src/hypervisor/xml/parse.ts";
import { declaredVolume } from "../../../crds/machine.ts";
import type { DeclaredVolume } from "../../../crds/machine.ts";
import { Heard } from "../../src/libvirt/heard.ts";
import { startLibvirtd, type Libvirtd } from "../../support/libvirtd.ts";

/** What libvirt's own in-memory hypervisor has: devices and networks, none of which is the host's. */
const files: Readonly<Record<string, string>> = {
  "holder.xml": `<domain type='test'><name>holder</name><memory>1000</memory><os><type>hvm</type></os><devices>
    <hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='2' slot='0' function='1'/></source></hostdev>
    <hostdev mode='subsystem' type='usb'><source><address bus='1' device='4'/></source></hostdev></devices></domain>`,
  "network.xml": `<network><name>lan</name><forward/><bridge name='virbr7'/>
    <ip address='192.168.7.1' netmask='255.255.255.0'/></network>`,
  "pool.xml": "<pool type='dir'><name>images</name><target><path>/images</path></target></pool>",
  "computer.xml": `<device><name>computer</name><capability type='system'><hardware>
    <uuid>4c4c4544-0000-4000-8000-000000000001</uuid></hardware><firmware/></capability></device>`,
  "pci0.xml": pciXml(0),
  "pci1.xml": pciXml(1),
  "usb.xml": `<device><name>usb_1_4</name><parent>computer</parent><capability type='usb_device'><bus>1</bus><device>4</device>
    <product id='0x0002'>x</product><vendor id='0x1d6b'>y</vendor></capability></device>`,
  "br0.xml": netXml("br0"),
  "eth.xml": netXml("eth0.7"),
  "mdev.xml": `<device><name>mdev_c60cc60c_c60c_c60c_c60c_c60cc60cc60c</name><parent>computer</parent>
    <capability type='mdev'><type id='x'/><iommuGroup number='1'/></capability></device>`,
  "scsi.xml": `<device><name>scsi_2_0_1_0</name><parent>computer</parent><capability type='scsi'>
    <host>2</host><bus>0</bus><target>1</target><lun>0</lun><type>disk</type></capability></device>`,
};

function pciXml(fn: number): string {
  return `<device><name>pci_0000_02_00_${fn}</name><parent>computer</parent><capability type='pci'><domain>0</domain><bus>2</bus>
    <slot>0</slot><function>${fn}</function><product id='0x1'>x</product><vendor id='0x8086'>y</vendor></capability></device>`;
}

function netXml(name: string): string {
  const told = `net_${name.replaceAll(".", "_")}_52_54_00_11_22_33`;
  return `<device><name>${told}</name><parent>computer</parent><capability type='net'><interface>${name}</interface>
    <address>52:54:00:11:22:33</address></capability></device>`;
}

const kindOf = (file: string) =>
  /^(holder|network|pool)/.exec(file)?.[1]?.replace("holder", "domain") ?? "device";

let libvirtd: Libvirtd;
let heard: Heard;
before(async () => {
  libvirtd = await startLibvirtd();
  for (const [file, xml] of Object.entries(files)) await writeFile(join(libvirtd.directory, file), xml);
  const parts = Object.keys(files).map(
    (file) => `<${kindOf(file)} file='${join(libvirtd.directory, file)}'/>`,
  );
  const node = join(libvirtd.directory, "node.xml");
  await writeFile(node, `<node>${parts.join("")}</node>`);
  heard = new Heard(`test+unix://${node}?socket=${libvirtd.socket}`);
  await heard.next("Connected");
});
after(async () => {
  await heard[Symbol.asyncDispose]();
  await libvirtd.close();
});

const hostdev = (type: string, source: string, attributes = "managed='yes'") =>
  `<hostdev mode='subsystem' type='${type}' ${attributes}><source>${source}</source></hostdev>`;
const pci = (fn: number, bus = 2) => `<address domain='0' bus='${bus}' slot='0' function='${fn}'/>`;
const nic = (type: string, source: string) => `<interface type='${type}'>${source}</interface>`;

function look(devices: string, volumes: readonly DeclaredVolume[] = []) {
  const xml = parseXml(`<domain type='test'><name>m</name><memory>1000</memory><os><type>hvm</type></os>
    <devices>${devices}</devices></domain>`);
  const domain = { name: "m", uuid: "11111111-0000-4000-8000-000000000001" };
  return preflight(heard.session, xml, { driver: "test", domain, volumes });
}

/** Devices with the reason, the path and words of the one finding about them; without those where there is none. */
const table: Readonly<
  Record<string, readonly [devices: string, reason?: string, path?: string, says?: string]>
> = {
  "a network that is active": [nic("network", "<source network='lan'/>")],
  "a network that does not exist": [
    nic("network", "<source network='wan'/>"),
    "NetworkMissing",
    "devices/interface[1]/source",
    "network wan does not exist",
  ],
  "a bridge of the host": [nic("bridge", "<source bridge='br0'/>")],
  "a bridge that does not exist": [
    nic("network", "<source network='lan'/>") + nic("bridge", "<source bridge='br1'/>"),
    "BridgeMissing",
    "devices/interface[2]/source",
    "the host has no bridge br1",
  ],
  "a bridge of Open vSwitch": [nic("bridge", "<source bridge='ovs'/><virtualport type='openvswitch'/>")],
  "an interface of the host": [nic("direct", "<source dev='eth0.7' mode='bridge'/>")],
  "an interface that does not exist": [
    nic("direct", "<source dev='eth0' mode='bridge'/>"),
    "InterfaceMissing",
    "devices/interface[1]/source",
    "the host has no interface eth0",
  ],
  "a PCI device": [hostdev("pci", pci(0))],
  "a PCI device that does not exist": [
    hostdev("pci", pci(0, 3)),
    "DeviceMissing",
    "devices/hostdev[1]/source",
    "the host has no PCI device 0000:03:00.0",
  ],
  "a PCI device for its interface that does not exist": [
    nic("hostdev", `<source><address type='pci' domain='0' bus='3' slot='0' function='0'/></source>`),
    "DeviceMissing",
    "devices/interface[1]/source",
    "the host has no PCI device 0000:03:00.0",
  ],
  "a PCI device that another domain has": [
    hostdev("pci", pci(1)),
    "DeviceInUse",
    "devices/hostdev[1]/source",
    "PCI device 0000:02:00.1 is in use by domain holder",
  ],
  "a USB device by its model": [hostdev("usb", "<vendor id='0x1d6b'/><product id='0x0002'/>")],
  "a USB device by its model that does not exist": [
    hostdev("usb", "<vendor id='0x1d6b'/><product id='0x0003'/>"),
    "DeviceMissing",
    "devices/hostdev[1]/source",
    "the host has no USB device 1d6b:0003",
  ],
  "a USB device by its place that does not exist": [
    hostdev("usb", "<address bus='1' device='5'/>"),
    "DeviceMissing",
    "devices/hostdev[1]/source",
    "the host has no USB device 5 on bus 1",
  ],
  "a USB device by its place that another domain has": [
    hostdev("usb", "<address bus='1' device='4'/>"),
    "DeviceInUse",
    "devices/hostdev[1]/source",
    "USB device 4 on bus 1 is in use by domain holder",
  ],
  "a USB device that is optional and does not exist": [
    `<hostdev mode='subsystem' type='usb'><source startupPolicy='optional'><vendor id='0x1'/><product id='0x2'/></source></hostdev>`,
  ],
  "a mediated device": [hostdev("mdev", "<address uuid='c60cc60c-c60c-c60c-c60c-c60cc60cc60c'/>")],
  "a mediated device that does not exist": [
    hostdev("mdev", "<address uuid='d60cc60c-c60c-c60c-c60c-c60cc60cc60c'/>"),
    "DeviceMissing",
    "devices/hostdev[1]/source",
    "the host has no mediated device d60cc60c-c60c-c60c-c60c-c60cc60cc60c",
  ],
  "a SCSI device": [hostdev("scsi", "<adapter name='scsi_host2'/><address bus='0' target='1' unit='0'/>")],
  "a SCSI device that does not exist": [
    hostdev("scsi", "<adapter name='scsi_host2'/><address bus='0' target='2' unit='0'/>"),
    "DeviceMissing",
    "devices/hostdev[1]/source",
    "the host has no SCSI device 2:0:2:0",
  ],
};

suite("a look at a machine with", () => {
  for (const [sentence, [devices, reason, path, says = ""]] of Object.entries(table)) {
    test(`${sentence} ${reason === undefined ? "finds nothing" : `finds ${reason}`}`, async () => {
      const found = await look(devices);
      const expected = reason === undefined ? [] : [{ reason, path }];
      assert.deepEqual(
        found.map((one) => ({ reason: one.reason, path: one.path })),
        expected,
      );
      const message = found[0]?.message ?? "";
      assert.ok(message.includes(says), message);
    });
  }
});

suite("a repair", () => {
  const storage = { waitsFor: "Storage" } as const;

  test("starts a network, and one that is active already", async () => {
    const { net } = await heard.session.call(procedures.networkLookupByName, { name: "lan" }, storage);
    await heard.session.call(procedures.networkDestroy, { net }, storage);
    const devices = nic("network", "<source network='lan'/>");
    const [finding] = await look(devices);
    assert.equal(finding?.reason, "NetworkInactive");
    assert.deepEqual(finding.repair, { kind: "StartNetwork", network: "lan" });
    await performRepair(heard.session, finding.repair);
    assert.deepEqual(await look(devices), []);
    await performRepair(heard.session, finding.repair);
  });

  test("starts a pool and creates a declared volume in it, and both once more", async () => {
    const { pool } = await heard.session.call(
      procedures.storagePoolLookupByName,
      { name: "images" },
      storage,
    );
    await heard.session.call(procedures.storagePoolDestroy, { pool }, storage);
    const volumes = [declaredVolume.parse({ pool: "images", name: "v", capacity: "1Mi" })];
    const devices = `<disk type='volume' device='disk'><source pool='images' volume='v'/><target dev='vda'/></disk>`;
    for (const kind of ["StartPool", "CreateVolume"] as const) {
      const found = await look(devices, volumes);
      assert.deepEqual(
        found.map(({ path, repair }) => ({ path, kind: repair?.kind })),
        [{ path: "devices/disk[1]/source", kind }],
      );
      const [{ repair } = {}] = found;
      assert.ok(repair);
      await performRepair(heard.session, repair);
      await performRepair(heard.session, repair);
    }
    assert.deepEqual(await look(devices, volumes), []);
  });
});
