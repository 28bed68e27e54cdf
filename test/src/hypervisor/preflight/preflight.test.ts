import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CallTimeoutError, ConnectionError } from "libvirt";
import type { Finding } from "../../../../controller/finding.ts";
import { preflight } from "../../../../src/hypervisor/preflight/preflight.ts";
import { parseXml } from "../../../../src/hypervisor/xml/parse.ts";
import { refusal, scriptedHost, type Answers } from "./scripted-host.ts";

const pool = { name: "p", uuid: "11111111-0000-4000-8000-000000000001" };
const everything = `<domain type='kvm'><name>m</name><memory unit='GiB'>4</memory>
  <os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type><kernel>/k</kernel></os><devices><emulator>/e</emulator>
  <disk type='volume'><source pool='p' volume='v'/><target dev='vda'/></disk>
  <disk type='file'><source file='/f'/><target dev='vdb'/>
    <encryption><secret type='passphrase' uuid='11111111-0000-4000-8000-000000000002'/></encryption></disk>
  <interface type='network'><source network='n'/><filterref filter='clean'/></interface>
  <interface type='bridge'><source bridge='br0'/></interface>
  <hostdev mode='subsystem' type='pci'><source><address domain='0' bus='2' slot='0' function='0'/></source></hostdev>
  <hostdev mode='subsystem' type='mdev'><source><address uuid='11111111-0000-4000-8000-000000000003'/></source></hostdev>
  </devices></domain>`;

const domain = { name: "m", uuid: "11111111-0000-4000-8000-000000000009" };

function look(answers: Answers, xml = everything, live?: string, driver = "test"): Promise<Finding[]> {
  const liveXml = live === undefined ? undefined : parseXml(live);
  return preflight(scriptedHost(answers).caller, parseXml(xml), { driver, domain, liveXml, volumes: [] });
}

const withDevice = (device: string) =>
  `<domain type='kvm'><name>m</name><memory>1024</memory><devices>${device}</devices></domain>`;

describe("a look", () => {
  for (const driver of ["test", "qemu"]) {
    test(`at a ${driver} host that has no driver for anything claims nothing`, async () => {
      assert.deepEqual(await look({}, everything, undefined, driver), []);
    });
  }

  test("that libvirt does not permit claims nothing", async () => {
    const { caller } = scriptedHost({});
    const denied = { ...caller, call: () => Promise.reject(refusal("ACCESS_DENIED")) };
    assert.deepEqual(
      await preflight(denied, parseXml(everything), { driver: "qemu", domain, volumes: [] }),
      [],
    );
  });

  for (const error of [
    new CallTimeoutError("STORAGE_POOL_LOOKUP_BY_NAME", 30_000, Promise.resolve("Answered")),
    new ConnectionError("Disconnected", "gone"),
  ]) {
    test(`that a ${error.name} ends is no finding`, async () => {
      const answers = {
        STORAGE_POOL_LOOKUP_BY_NAME: () => {
          throw error;
        },
      };
      await assert.rejects(look(answers), error);
    });
  }

  test("waits for storage only where no effect on a domain is held up", async () => {
    const kinds = new Set<unknown>();
    const { caller } = scriptedHost({});
    const call: typeof caller.call = (procedure, args, options) => {
      kinds.add(options?.waitsFor);
      return caller.call(procedure, args, options);
    };
    await preflight({ call }, parseXml(everything), { driver: "qemu", domain, volumes: [] });
    assert.deepEqual([...kinds], ["Storage"]);
  });

  test("asks nothing about kinds of devices that the machine does not have", async () => {
    const { caller, asked } = scriptedHost({});
    await preflight(caller, parseXml(withDevice("")), { driver: "qemu", domain, volumes: [] });
    assert.deepEqual(asked, ["CONNECT_GET_DOMAIN_CAPABILITIES", "NODE_GET_MEMORY_STATS"]);
  });

  test("tells everything that is wrong in one order", async () => {
    const absent =
      (code: "NO_NETWORK" | "NO_STORAGE_POOL" | "NO_SECRET" | "NO_NWFILTER" | "NO_NODE_DEVICE") => () => {
        throw refusal(code);
      };
    const found = await look({
      CONNECT_GET_DOMAIN_CAPABILITIES: () => ({
        capabilities: "<domainCapabilities><os><enum name='firmware'/></os></domainCapabilities>",
      }),
      NODE_GET_MEMORY_STATS: () => ({ params: memory({ total: 1n, free: 0n }), nparams: 4 }),
      STORAGE_POOL_LOOKUP_BY_NAME: absent("NO_STORAGE_POOL"),
      SECRET_LOOKUP_BY_UUID: absent("NO_SECRET"),
      NETWORK_LOOKUP_BY_NAME: absent("NO_NETWORK"),
      NWFILTER_LOOKUP_BY_NAME: absent("NO_NWFILTER"),
      NODE_DEVICE_LOOKUP_BY_NAME: absent("NO_NODE_DEVICE"),
      CONNECT_LIST_ALL_NODE_DEVICES: () => ({ devices: [{ name: "net_lo_00_00_00_00_00_00" }], ret: 1 }),
    });
    assert.deepEqual(
      found.map(({ reason, path }) => `${reason} ${path}`),
      [
        "FirmwareMissing os/@firmware",
        "MemoryShort memory",
        "PoolMissing devices/disk[1]/source",
        "SecretMissing devices/disk[2]/encryption/secret",
        "NetworkMissing devices/interface[1]/source",
        "FilterMissing devices/interface[1]/filterref",
        "BridgeMissing devices/interface[2]/source",
        "DeviceMissing devices/hostdev[1]/source",
        "DeviceMissing devices/hostdev[2]/source",
      ],
    );
  });
});

describe("virtualisation", () => {
  const refused = ({ virttype }: { virttype?: string }) => {
    if (virttype === "kvm") throw refusal("INVALID_ARG");
    return { capabilities: "<domainCapabilities/>" };
  };

  test("that the host has not is told, and not the machine type with it", async () => {
    const [finding] = await look({ CONNECT_GET_DOMAIN_CAPABILITIES: refused });
    assert.deepEqual([finding?.reason, finding?.path], ["VirtualizationUnsupported", "@type"]);
  });
});

describe("a PCI device", () => {
  const device = (managed: string) =>
    withDevice(`<hostdev mode='subsystem' type='pci' managed='${managed}'>
      <source><address domain='0' bus='2' slot='0' function='0'/></source></hostdev>`);
  const bound = (driver: string): Answers => ({
    NODE_DEVICE_LOOKUP_BY_NAME: ({ name }: { name: string }) => ({ dev: { name } }),
    NODE_DEVICE_GET_XML_DESC: ({ name }: { name: string }) => ({
      xml: `<device><name>${name}</name><driver><name>${driver}</name></driver><capability type='pci'/></device>`,
    }),
  });

  test("that a driver of the host has is told where libvirt may not take it", async () => {
    const [finding, ...others] = await look(bound("e1000e"), device("no"));
    assert.deepEqual(others, []);
    assert.equal(finding?.reason, "DeviceNotDetached");
    assert.match(finding.message, /0000:02:00\.0 is in use by the host's driver e1000e/);
    assert.match(finding.remedy, /virsh nodedev-detach pci_0000_02_00_0/);
  });

  test("is fine where libvirt takes it, or where it is detached", async () => {
    assert.deepEqual(await look(bound("e1000e"), device("yes")), []);
    assert.deepEqual(await look(bound("vfio-pci"), device("no")), []);
    assert.deepEqual(await look(bound("vfio-pci"), device("yes")), []);
  });

  test("that the machine's own running boot has is fine", async () => {
    const xml = device("yes");
    const found = await look({ ...bound("vfio-pci"), ...running([{ ...domain, id: 1 }], xml) }, xml);
    assert.deepEqual(found, []);
  });

  test("that another running domain has is told", async () => {
    const xml = device("yes");
    const other = { name: "other", uuid: pool.uuid, id: 2 };
    const [finding] = await look({ ...bound("vfio-pci"), ...running([other], xml) }, xml);
    assert.equal(finding?.reason, "DeviceInUse");
  });

  function running(domains: readonly object[], xml: string): Answers {
    return {
      CONNECT_LIST_ALL_DOMAINS: () => ({ domains, ret: domains.length }),
      DOMAIN_GET_XML_DESC: () => ({ xml }),
    };
  }
});

describe("a mediated device that is defined and not active", () => {
  test("can be started", async () => {
    const name = "mdev_11111111_0000_4000_8000_000000000003_0000_00_02_0";
    const inactive = 0x4000_0000;
    const found = await look(
      {
        CONNECT_LIST_ALL_NODE_DEVICES: ({ flags }: { flags: number }) => ({
          devices: flags >= inactive && flags < 2 * inactive ? [{ name }] : [],
          ret: 1,
        }),
      },
      withDevice(`<hostdev mode='subsystem' type='mdev'><source><address uuid='11111111-0000-4000-8000-000000000003'/></source>
        </hostdev>`),
    );
    assert.deepEqual(
      found.map(({ reason, repair }) => ({ reason, repair })),
      [{ reason: "DeviceInactive", repair: { kind: "StartDevice", device: name } }],
    );
  });
});

function memory({ total, free, cached = 0n }: { total: bigint; free: bigint; cached?: bigint }) {
  return Object.entries({ total, free, buffers: 0n, cached }).map(([field, value]) => ({ field, value }));
}

describe("memory", () => {
  const machine = (mib: number, more = "") =>
    `<domain type='kvm'><name>m</name><memory unit='MiB'>${mib}</memory>${more}</domain>`;
  const atOnce = "<memoryBacking><allocation mode='immediate'/></memoryBacking>";
  const host = (totalMib: number, freeMib: number, cachedMib = 0): Answers => {
    const kib = (mib: number) => BigInt(mib) * 1024n;
    const params = memory({ total: kib(totalMib), free: kib(freeMib), cached: kib(cachedMib) });
    return { NODE_GET_MEMORY_STATS: () => ({ params, nparams: 4 }) };
  };

  for (const [sentence, found, answers, xml, live] of [
    ["more than the host has is told", 1, host(1000, 900), machine(1001)],
    ["more than is free is not, where it is taken as it is touched", 0, host(1000, 10), machine(900)],
    ["more than is free is told where it is taken at once", 1, host(1000, 10), machine(900, atOnce)],
    ["what caches give back is free", 0, host(1000, 10, 900), machine(900, atOnce)],
    ["what the running boot holds is free", 0, host(1000, 10), machine(900, atOnce), machine(900)],
    ["what it holds is no more than it has", 1, host(1000, 10), machine(900, atOnce), machine(800)],
    [
      "huge pages are counted elsewhere",
      0,
      host(10, 1),
      machine(900, "<memoryBacking><hugepages/></memoryBacking>"),
    ],
  ] as const) {
    test(sentence, async () => {
      assert.equal((await look(answers, xml, live)).length, found);
    });
  }

  for (const [unit, value] of [
    ["KiB", 2_097_152],
    ["MB", 2_148],
    ["M", 2_048],
    ["GiB", 2],
    ["bytes", 2_147_483_648],
  ] as const) {
    test(`is read in ${unit}`, async () => {
      const xml = `<domain><memory unit='${unit}'>${value}</memory></domain>`;
      assert.equal((await look(host(2047, 0), xml)).length, 1);
      assert.equal((await look(host(2049, 0), xml)).length, 0);
    });
  }
});
