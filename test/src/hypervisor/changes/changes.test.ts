import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { additions } from "../../../../src/hypervisor/changes/additions/additions.ts";
import { changesBetween } from "../../../../src/hypervisor/changes/changes.ts";
import { childElements, element, type XmlElement } from "../../../../src/hypervisor/xml/element.ts";
import { formatXml } from "../../../../src/hypervisor/xml/format.ts";
import { parseXml } from "../../../../src/hypervisor/xml/parse.ts";

/** What a restart would change of a domain that consists of little more than what is of interest. */
function changes(running: string, next: string): string[] {
  const [a, b] = [running, next].map((inside) => parseXml(`<domain type='kvm'>${inside}</domain>`));
  assert.ok(a && b);
  return changesBetween(a, b);
}

function devices(inside: string): string {
  return `<devices>${inside}</devices>`;
}

/** A sentence of the test, the two sides, and what is told of them. */
type Case = readonly [sentence: string, running: string, next: string, ...told: string[]];

function check(cases: readonly Case[], wrap = (inside: string) => inside): void {
  for (const [sentence, running, next, ...told] of cases) {
    test(sentence, () => assert.deepEqual(changes(wrap(running), wrap(next)), told));
  }
}

const expanded =
  "<cpu mode='custom' match='exact' check='full'><model fallback='forbid'>EPYC</model><vendor>AMD</vendor>";

describe("the changes of a domain:", () => {
  check([
    [
      "memory is told in the largest unit that is whole",
      "<memory unit='KiB'>2097152</memory>",
      "<memory unit='KiB'>4194304</memory>",
      "memory 2 GiB -> 4 GiB",
    ],
    ["memory without a unit is in KiB", "<memory>2048</memory>", "<memory unit='MiB'>2</memory>"],
    [
      "decimal units are none of the binary ones",
      "<memory unit='MB'>1024</memory>",
      "<memory unit='MiB'>1024</memory>",
      "memory 977 MiB -> 1 GiB",
    ],
    [
      "no unit that is unknown is guessed",
      "<memory unit='cup'>1</memory>",
      "<memory unit='cup'>2</memory>",
      "memory 1 -> 2",
    ],
    [
      "what a balloon did is not told",
      "<memory>2048</memory><currentMemory>1024</currentMemory>",
      "<memory>2048</memory><currentMemory>2048</currentMemory>",
    ],
    [
      "current memory is told when the memory changes, unless it is all of it",
      "<memory>2048</memory><currentMemory>1024</currentMemory>",
      "<memory>4096</memory><currentMemory>3072</currentMemory>",
      "memory 2 MiB -> 4 MiB",
      "current memory 1 MiB -> 3 MiB",
    ],
    [
      "memory is rounded as a start rounds it",
      "<memory unit='KiB'>100352</memory><currentMemory>100352</currentMemory>",
      "<memory unit='KiB'>100001</memory><currentMemory>100001</currentMemory>",
    ],
    [
      "all of the memory is told once",
      "<memory>2048</memory><currentMemory>1024</currentMemory>",
      "<memory>4096</memory><currentMemory>4096</currentMemory>",
      "memory 2 MiB -> 4 MiB",
    ],
    ["processors", "<vcpu>2</vcpu>", "<vcpu>4</vcpu>", "vCPUs 2 -> 4"],
    [
      "processors that were switched on one by one",
      "<vcpu>4</vcpu><vcpus><vcpu id='0' enabled='yes'/></vcpus>",
      "<vcpu current='2'>4</vcpu>",
      "current vCPUs 4 -> 2",
    ],
    [
      "the machine type",
      "<os><type machine='pc-i440fx-7.2'>hvm</type></os>",
      "<os><type machine='pc-q35-7.2'>hvm</type></os>",
      "machine type pc-i440fx-7.2 -> pc-q35-7.2",
    ],
    [
      "the order of booting",
      "<os><boot dev='hd'/></os>",
      "<os><boot dev='network'/><boot dev='hd'/></os>",
      "boot order hd -> network, hd",
    ],
    [
      "a feature",
      "<features><acpi/><apic/></features>",
      "<features><apic/></features>",
      "features/acpi removed",
    ],
    ["a feature, where there is no other", "<features><acpi/></features>", "", "features/acpi removed"],
    ["firmware", "", "<os firmware='efi'/>", "firmware efi added"],
    ["what nobody has heard of", "", "<quantum entangled='yes'><qubit n='1'/></quantum>", "quantum added"],
    [
      "what nobody has heard of, by its path",
      "<quantum><qubit n='1'/></quantum>",
      "<quantum><qubit n='2'/></quantum>",
      "quantum/qubit n 1 -> 2",
    ],
    ["the same thing twice is said once", "<a><b/><b/></a>", "<a/>", "a/b 1 removed", "a/b 2 removed"],
    ["an empty value is a value", "<a b=''/>", "<a b='c'/>", 'a b "" -> c'],
    ["line ends are no part of a sentence", "<a b='1&#10;2'/>", "<a b='1&#9;3'/>", "a b 1 2 -> 1 3"],
  ]);
});

describe("devices are compared by what tells them apart:", () => {
  const disk = (dev: string, file: string) =>
    `<disk type='file' device='disk'><source file='${file}'/><target dev='${dev}'/></disk>`;
  const rng = (rate: number) => `<rng model='virtio'><rate bytes='${rate}'/></rng>`;
  check(
    [
      ["disks by their target", disk("vda", "/a") + disk("vdb", "/b"), disk("vdb", "/b") + disk("vda", "/a")],
      ["a disk more", disk("vda", "/a"), disk("vda", "/a") + disk("vdb", "/b"), "disk vdb added"],
      [
        "a disk less, as one that was plugged",
        disk("vda", "/a") + disk("vdb", "/b"),
        disk("vda", "/a"),
        "disk vdb removed",
      ],
      [
        "another file",
        disk("vda", "/a.qcow2"),
        disk("vda", "/b.qcow2"),
        "disk vda: source /a.qcow2 -> /b.qcow2",
      ],
      [
        "a file that becomes a volume",
        disk("vda", "/a"),
        "<disk type='block' device='disk'><source dev='/dev/b'/><target dev='vda'/></disk>",
        "disk vda: source /a -> /dev/b",
      ],
      [
        "interfaces by their MAC address",
        "<interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/></interface>",
        "<interface type='network'><mac address='52:54:00:00:00:01'/><source network='lab'/></interface>",
        "interface 52:54:00:00:00:01: network default -> lab",
      ],
      ["what is alike is numbered", rng(1) + rng(2), rng(1) + rng(3), "rng 2: rate bytes 2 -> 3"],
      ["the order of what is alike means nothing", rng(1) + rng(2), rng(2) + rng(1)],
      [
        "the order of kinds means nothing",
        `${disk("vda", "/a")}${rng(1)}<hub/>`,
        `<hub/>${rng(1)}${disk("vda", "/a")}`,
      ],
      [
        "screens by their type",
        "<graphics type='vnc' port='1'/>",
        "<graphics type='spice' port='1'/>",
        "graphics spice added",
        "graphics vnc removed",
      ],
      [
        "thousands are compared in their order",
        "<hub/>".repeat(2000),
        `${"<hub/>".repeat(1999)}<hub type='usb'/>`,
        "hub 2000: type usb added",
      ],
      [
        "ports that come with a device are not told",
        "",
        "<controller type='pci' index='1' model='pcie-root-port'/><sound><address type='pci'/></sound>",
        "sound added",
      ],
      [
        "spare ports are told",
        "",
        "<controller type='pci' index='1' model='pcie-root-port'/>",
        "controller pci pcie-root-port added",
      ],
    ],
    devices,
  );
});

describe("nothing is told of what libvirt adds to a domain that runs:", () => {
  check([
    [
      "numbers, names, words for people",
      "<name>a</name><title>b</title>",
      "<name>c</name><metadata><x/></metadata>",
    ],
    [
      "labels",
      "<seclabel type='dynamic' model='selinux' relabel='yes'><label>a</label><imagelabel>b</imagelabel></seclabel>",
      "",
    ],
    ["the default partition", "<resource><partition>/machine</partition></resource>", ""],
    [
      "the actions of a boot that this program ends",
      "<on_reboot>destroy</on_reboot><metadata><w:b xmlns:w='https://warmboot.dev/boot/1'/></metadata>",
      "<on_reboot>restart</on_reboot>",
    ],
    [
      "though other actions are told",
      "<on_reboot>destroy</on_reboot><metadata><w:b xmlns:w='https://warmboot.dev/request'/></metadata>",
      "<on_reboot>restart</on_reboot>",
      "on_reboot destroy -> restart",
    ],
    [
      "selected firmware",
      "<os><loader type='pflash'>/c</loader><nvram template='/t'>/v</nvram></os>",
      "<os firmware='efi'/>",
    ],
    [
      "selected firmware, as later versions tell of it",
      "<os firmware='efi'><firmware><feature enabled='no' name='enrolled-keys'/></firmware><loader type='pflash' format='raw'>/c</loader><nvram>/v</nvram></os>",
      "<os firmware='efi'/>",
    ],
    [
      "what encrypts memory",
      "<launchSecurity type='sev'><cbitpos>47</cbitpos><policy>3</policy></launchSecurity>",
      "<launchSecurity type='sev'><policy>3</policy></launchSecurity>",
    ],
    [
      "enlightenments that are left to the host",
      "<features><hyperv mode='custom'><relaxed state='on'/></hyperv></features>",
      "<features><hyperv mode='passthrough'/></features>",
    ],
    [
      "paths with a name of their own",
      "<name>a</name><os><nvram>/v/a_VARS.fd</nvram></os>",
      "<name>other</name><os><nvram>/v/other_VARS.fd</nvram></os>",
    ],
    [
      "but paths that somebody chose",
      "<name>a</name><os><nvram>/v/a_VARS.fd</nvram></os>",
      "<name>other</name><os><nvram>/v/b_VARS.fd</nvram></os>",
      "NVRAM /v/a_VARS.fd -> /v/b_VARS.fd",
    ],
  ]);
  check(
    [
      [
        "the network's own",
        "<interface type='network'><mac address='a'/><source network='n' portid='1' bridge='virbr0'/><target dev='vnet3'/></interface>",
        "<interface type='network'><mac address='a'/><source network='n'/></interface>",
      ],
      [
        "a network on a bridge",
        "<interface type='bridge'><mac address='a'/><source network='n' portid='1' bridge='br0'/><vlan><tag id='4'/></vlan></interface>",
        "<interface type='network'><mac address='a'/><source network='n'/></interface>",
      ],
      [
        "a network of devices",
        "<interface type='hostdev' managed='yes'><mac address='a'/><driver name='vfio'/><source><address type='pci' bus='1'/></source></interface>",
        "<interface type='network'><mac address='a'/><source network='n'/></interface>",
      ],
      [
        "a socket that qemu.conf asks for",
        "<graphics type='vnc' socket='/vnc.sock'><listen type='socket' socket='/vnc.sock'/></graphics>",
        "<graphics type='vnc' port='-1' autoport='yes'><listen type='address'/></graphics>",
      ],
      [
        "but a bridge that becomes a network",
        "<interface type='bridge'><mac address='a'/><source bridge='br0'/></interface>",
        "<interface type='network'><mac address='a'/><source network='n'/></interface>",
        "interface a: bridge br0 -> network n",
      ],
      [
        "sockets of channels, of older and of newer versions",
        "<channel type='unix'><source mode='bind' path='/run/libvirt/qemu/channel/7-web/org.qemu.guest_agent.0'/><target name='a' state='connected'/></channel>",
        "<channel type='unix'><target name='a'/></channel>",
      ],
      [
        "but a socket that somebody chose",
        "<channel type='unix'><source mode='bind' path='/run/a'/><target name='a'/></channel>",
        "<channel type='unix'><target name='a'/></channel>",
        "channel a: source removed",
      ],
      [
        "where a USB device was found",
        "<hostdev type='usb'><source><vendor id='1'/><product id='2'/><address bus='1' device='3'/></source></hostdev>",
        "<hostdev type='usb'><source><vendor id='1'/><product id='2'/></source></hostdev>",
      ],
      [
        "a device that was optional and is not there",
        "",
        "<hostdev type='usb'><source startupPolicy='optional'><vendor id='1'/><product id='2'/></source></hostdev>",
      ],
      [
        "drivers of devices",
        "<hostdev type='pci'><driver name='vfio'/><source><address bus='1'/></source></hostdev>",
        "<hostdev type='pci'><source><address bus='1'/></source></hostdev>",
      ],
      [
        "a number for sockets",
        "<vsock><cid auto='yes' address='3'/></vsock>",
        "<vsock><cid auto='yes'/></vsock>",
      ],
      [
        "the emulator's profile",
        "<tpm><backend type='emulator'><profile name='default-v1'/></backend></tpm>",
        "<tpm><backend type='emulator'/></tpm>",
      ],
      [
        "encryption that qemu.conf asks for",
        "<serial type='tcp'><source host='a' tls='yes'/></serial>",
        "<serial type='tcp'><source host='a'/></serial>",
      ],
      [
        "a copy that is being made",
        "<disk><target dev='vda'/><mirror type='file'><source file='/c'/></mirror></disk>",
        "<disk><target dev='vda'/></disk>",
      ],
      [
        "the daemon of a directory",
        "<filesystem><binary path='/usr/lib/qemu/virtiofsd'/><target dir='a'/></filesystem>",
        "<filesystem><target dir='a'/></filesystem>",
      ],
    ],
    devices,
  );
});

describe("the processor of a domain that runs is what became of the configured one:", () => {
  check([
    [
      "of the host's own",
      `${expanded}<feature policy='require' name='aes'/></cpu>`,
      "<cpu mode='host-model'/>",
    ],
    ["of none", `${expanded}</cpu>`, ""],
    [
      "of another model",
      `${expanded}</cpu>`,
      "<cpu mode='custom' match='exact'><model>Nehalem</model></cpu>",
      "cpu model EPYC -> Nehalem",
    ],
    [
      "of the least that will do",
      `${expanded}</cpu>`,
      "<cpu mode='custom' match='minimum'><model>Nehalem</model></cpu>",
    ],
    [
      "passed through",
      `${expanded}</cpu>`,
      "<cpu mode='host-passthrough'/>",
      "cpu mode custom -> host-passthrough",
    ],
    [
      "with a feature that was asked for and is there",
      `${expanded}<feature policy='require' name='aes'/></cpu>`,
      "<cpu mode='host-model'><feature policy='require' name='aes'/></cpu>",
    ],
    [
      "with a feature that is now forbidden",
      `${expanded}<feature policy='require' name='aes'/></cpu>`,
      "<cpu mode='host-model'><feature policy='disable' name='aes'/></cpu>",
      "cpu feature aes policy require -> disable",
    ],
    [
      "without a feature that nobody checks",
      `${expanded}<feature policy='disable' name='aes'/></cpu>`,
      "<cpu mode='host-model' check='none'><feature policy='require' name='aes'/></cpu>",
    ],
    [
      "without a feature that is checked",
      `${expanded}<feature policy='disable' name='aes'/></cpu>`,
      "<cpu mode='host-model' check='full'><feature policy='require' name='aes'/></cpu>",
      "cpu feature aes policy disable -> require",
    ],
    [
      "with another topology",
      `${expanded}<topology cores='2'/></cpu>`,
      "<cpu mode='host-model'><topology cores='4'/></cpu>",
      "cpu topology cores 2 -> 4",
    ],
  ]);
});

describe("a sentence", () => {
  test("has no secret in it", () => {
    const secret = "s3cr3t";
    for (const where of [
      "<devices><graphics type='vnc' passwd='*'/></devices>",
      "<devices><disk><source><cookies><cookie name='a'>*</cookie></cookies></source><target dev='vda'/></disk></devices>",
      "<devices><disk><source query='*'/><target dev='vda'/></disk></devices>",
      "<launchSecurity><session>*</session><dhCert>*</dhCert></launchSecurity>",
      "<sysinfo type='fwcfg'><entry name='a'>*</entry></sysinfo>",
      "<sysinfo type='smbios'><oemStrings><entry>*</entry></oemStrings></sysinfo>",
      "<qemu:commandline><qemu:arg value='*'/></qemu:commandline>",
      "<os><initarg>*</initarg><initenv name='a'>*</initenv></os>",
    ]) {
      const [before, after] = [where.replaceAll("*", secret), where.replaceAll("*", `n3w-${secret}`)];
      const told = changes(before, after);
      assert.notEqual(told.length, 0, where);
      for (const sentence of [...told, ...changes("", after), ...changes(before, "")]) {
        assert.doesNotMatch(sentence, /s3cr3t/);
      }
    }
    assert.deepEqual(
      changes(
        "<devices><graphics type='vnc' passwd='a'/></devices>",
        "<devices><graphics type='vnc' passwd='b'/></devices>",
      ),
      ["graphics vnc: password changed"],
    );
    const commandLine = (token: string) => `<os><cmdline>quiet token=${token}</cmdline></os>`;
    assert.deepEqual(changes(commandLine("a"), commandLine("b")), ["kernel command line changed"]);
  });

  test("is of 256 characters at most and shows where long values differ", () => {
    const line = (end: string) => `<os><kernel>${"/boot".repeat(100)}/${end}</kernel></os>`;
    const [sentence = ""] = changes(line("quiet"), line("debug"));
    assert.ok(sentence.length <= 256, sentence);
    assert.match(sentence, /^kernel ….*quiet -> ….*debug$/);
    const [added = ""] = changes("", line("quiet"));
    assert.ok(added.length <= 256, added);
    assert.match(added, /^kernel \/boot.*… added$/);
  });
});

describe("the table of what libvirt adds", () => {
  test("gives a reason for each place, and names none twice", () => {
    assert.ok(additions.every(({ because }) => because.length > 5));
    const places = additions.map(({ where, only }) => `${where} ${only}`);
    assert.equal(new Set(places).size, places.length);
  });
});

/** Trees of names that mean nothing to libvirt. */
const name = fc.stringMatching(/^x[a-z]{1,3}$/);
const word = fc.stringMatching(/^[a-z0-9 ]{0,6}$/);
const { tree } = fc.letrec<{ tree: XmlElement }>((tie) => ({
  tree: fc.record(
    {
      name,
      attributes: fc.dictionary(name, word, { maxKeys: 3, noNullPrototype: true }),
      children: fc.array(fc.oneof({ depthSize: "small" }, word, tie("tree")), { maxLength: 4 }),
    },
    { noNullPrototype: true },
  ),
}));
/** As they are, and as devices. */
const domain = fc
  .tuple(fc.array(tree, { minLength: 1, maxLength: 4 }), fc.array(tree, { maxLength: 6 }))
  .map(([top, inside]) => element("domain", {}, [...top, element("devices", {}, inside)]));

/** One change anywhere in a tree: the path to an element, and what becomes of it. */
const edits: readonly ((node: XmlElement) => XmlElement)[] = [
  (node) => ({ ...node, attributes: { ...node.attributes, fresh: "value" } }),
  (node) => ({ ...node, children: [...node.children, element("fresh")] }),
  (node) => ({ ...node, children: [...node.children, "fresh"] }),
  (node) => {
    const [first, ...others] = Object.entries(node.attributes);
    if (first === undefined) return { ...node, attributes: { fresh: "" } };
    return { ...node, attributes: Object.fromEntries([[first[0], `${first[1]}fresh`], ...others]) };
  },
];

function elementsOf(node: XmlElement): number {
  return childElements(node).reduce((count, child) => count + elementsOf(child), 1);
}

/** The tree with its element at `index`, counted in the order of the document, replaced. */
function replaceAt(node: XmlElement, index: number, edit: (node: XmlElement) => XmlElement): XmlElement {
  if (index === 0) return edit(node);
  let before = 1;
  return {
    ...node,
    children: node.children.map((child) => {
      if (typeof child === "string") return child;
      const at = index - before;
      const size = elementsOf(child);
      before += size;
      return at >= 0 && at < size ? replaceAt(child, at, edit) : child;
    }),
  };
}

describe("any two trees", () => {
  test("that are the same have no changes, in whichever order their devices are", () => {
    fc.assert(
      fc.property(domain, (one) => {
        assert.deepEqual(changesBetween(one, one), []);
        const reversed = { ...one, children: one.children.map((node) => reverseDevices(node)) };
        assert.deepEqual(changesBetween(one, reversed), []);
      }),
    );
  });

  test("of which one was changed anywhere have changes, each of 256 characters at most", () => {
    fc.assert(
      fc.property(domain, fc.nat(), fc.constantFrom(...edits), (one, where, edit) => {
        const other = replaceAt(one, where % elementsOf(one), edit);
        for (const told of [changesBetween(one, other), changesBetween(other, one)]) {
          assert.notEqual(told.length, 0, formatXml(other));
          assert.ok(told.every((sentence) => sentence.length > 0 && sentence.length <= 256));
        }
      }),
    );
  });

  test("are compared in bounded time although they are as large as can be read", { timeout: 30_000 }, () => {
    const large = parseXml(
      `<domain>${"<a><b c='1'/></a>".repeat(10_000)}<devices>${"<rng/>".repeat(10_000)}</devices></domain>`,
    );
    assert.deepEqual(changesBetween(large, large), []);
  });
});

function reverseDevices(node: XmlElement["children"][number]): XmlElement["children"][number] {
  return typeof node === "string" || node.name !== "devices"
    ? node
    : { ...node, children: node.children.toReversed() };
}
