import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  Affect,
  CallTimeoutError,
  LibvirtError,
  MetadataType,
  Session,
  procedures,
  type Domain,
  type Procedure,
} from "libvirt";
import type { RequestMark } from "../../controller/ports.ts";
import { agentAnswers, agentBootId } from "../../src/hypervisor/agent.ts";
import { bootMark, requestMark } from "../../src/hypervisor/marks.ts";
import type { Libvirtd } from "../support/libvirtd.ts";
import { run } from "../support/run.ts";
import { startGuest } from "../support/start-guest.ts";

/** libvirtd 9.0.0 dies of these where it does not have their driver, as the tests' does not. */
const deadly: ReadonlySet<string> = new Set([procedures.interfaceIsActive.name]);

/** What these would end is still needed by the calls that follow. */
const last: ReadonlySet<string> = new Set([
  procedures.domainDestroyFlags.name,
  procedures.domainUndefineFlags.name,
  procedures.storagePoolDestroy.name,
  procedures.networkDestroy.name,
]);

/** Uses both drivers of a daemon through another socket of its, so that whoever is behind that hears all there is. */
export async function tour(libvirtd: Libvirtd, socket: string): Promise<void> {
  await tourTestDriver(`test+unix:///default?socket=${socket}`);
  await tourQemuDriver(libvirtd, `qemu+unix:///system?socket=${socket}`);
}

async function tourTestDriver(uri: string): Promise<void> {
  await using session = await connected(uri);
  const xml = `<domain type='test'><name>Björn's &lt;web&gt;</name><memory>8192</memory><os><type>hvm</type></os></domain>`;
  const { dom } = await session.call(procedures.domainDefineXmlFlags, { xml, flags: 0 });
  await markAndCycle(session, dom);
  await everyProcedure(session, { ...common, dom, xml });
}

async function tourQemuDriver(libvirtd: Libvirtd, uri: string): Promise<void> {
  await using session = await connected(uri);
  const disk = { path: join(libvirtd.directory, "disk.raw"), format: "raw" } as const;
  await writeFile(disk.path, Buffer.alloc(65_536));
  await startGuest(libvirtd, { name: "talkative", behaviour: "obey", agent: "running", disk });
  const { dom } = await session.call(procedures.domainLookupByName, { name: "talkative" });
  await agentAnswers(session, dom);
  await agentBootId(session, dom);
  await backUp(libvirtd, session);
  const objects = await hostObjects(libvirtd);
  const { xml } = await session.call(procedures.domainGetXmlDesc, { dom, flags: 0 });
  await markAndCycle(session, dom);
  await everyProcedure(session, { ...common, ...objects, dom, xml });
}

/** A session that has all domains and registers for all events. */
async function connected(uri: string): Promise<Session> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const session = new Session(uri, {
    listener: (event) => {
      if (event.type === "Connected") resolve();
      if (event.type === "Disconnected") reject(event.error);
    },
  });
  session.start();
  await promise;
  return session;
}

/** Everything that a controller reads and writes of a domain, over two boots of it. */
async function markAndCycle(session: Session, dom: Domain): Promise<void> {
  const look = async () => {
    for (const uri of [requestMark(mark).uri, bootMark(mark.attempt).uri]) {
      for (const flags of [Affect.Live, Affect.Config]) {
        await heard(
          session.call(procedures.domainGetMetadata, { dom, type: MetadataType.Element, uri, flags }),
        );
      }
    }
    for (const flags of [0, 2]) await session.call(procedures.domainGetXmlDesc, { dom, flags });
    await session.call(procedures.domainGetState, { dom, flags: 0 });
  };
  for (let boot = 1; boot <= 2; boot += 1) {
    await heard(session.call(procedures.domainCreateWithFlags, { dom, flags: 0 }));
    for (const [{ xml, ...element }, flags] of [
      [bootMark(mark.attempt), Affect.Live],
      [requestMark(mark), Affect.Config],
    ] as const) {
      await session.call(procedures.domainSetMetadata, {
        dom,
        type: MetadataType.Element,
        ...element,
        metadata: xml,
        flags,
      });
    }
    await look();
    await heard(session.call(procedures.domainSuspend, { dom }));
    await heard(session.call(procedures.domainResume, { dom }));
    await heard(session.call(procedures.domainReset, { dom, flags: 0 }));
    await session.call(procedures.domainDestroyFlags, { dom, flags: 0 });
    await look();
  }
  await heard(session.call(procedures.domainCreateWithFlags, { dom, flags: 0 }));
}

/** As long as marks get, and with every character that is special to XML. */
const mark: RequestMark = {
  attempt: "0123456789abcdef0123456789abcdef",
  cluster: "5f3c6d0e-6f3b-4c52-9d2e-0c1f6a7f6d10",
  resource: "8a1de0c5-4a86-4a38-8d57-6a4cf7a6b0b2",
  owner: "default/web-1",
  request: {
    restartGeneration: 9_007_199_254_740_991,
    restartToken: `2026-11-22T11:12:13.916Z <&"'> ü 🚀`,
    joinedTokens: ["first", `"second"`],
    mode: "Hard",
    requestedAt: "2026-11-22T11:12:13.916Z",
  },
  servedBefore: { observedRestartGeneration: 1, observedRestartToken: "2026-11-21T11:12:13.916Z" },
  startedAtMs: 1_795_346_000_000,
  wasOff: true,
  inPlace: true,
  bootId: "2c6be101-4a86-4a38-8d57-6a4cf7a6b0b2",
  result: "Succeeded",
  method: "Soft",
};

/** A job that ends and is told of, with the most statistics that there are. */
async function backUp(libvirtd: Libvirtd, session: Session): Promise<void> {
  const disk = join(libvirtd.directory, "copied.qcow2");
  await run("qemu-img", ["create", "-q", "-f", "qcow2", disk, "1M"]);
  const xml = `<domain type='qemu'><name>copied</name><memory unit='MiB'>16</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>
    <devices><disk type='file'><driver name='qemu' type='qcow2'/><source file='${disk}'/><target dev='vda'/></disk></devices></domain>`;
  const { dom } = await session.call(procedures.domainDefineXmlFlags, { xml, flags: 0 });
  await session.call(procedures.domainCreateWithFlags, { dom, flags: 0 });
  const ended = session.call(procedures.domainGetJobStats, { dom, flags: 0 });
  await libvirtd.virsh("backup-begin", "copied");
  await ended;
  await libvirtd.virsh("domjobinfo", "copied", "--completed", "--keep-completed");
  await session.call(procedures.domainDestroyFlags, { dom, flags: 0 });
  await session.call(procedures.domainUndefineFlags, { dom, flags: 0 });
}

/** A network, a pool with a volume, and a secret: what calls about the host need to be answered. */
async function hostObjects(libvirtd: Libvirtd): Promise<Record<string, unknown>> {
  const uuid = (digit: number) => `00000000-0000-4000-8000-00000000000${digit}`;
  const define = async (what: string, xml: string) => {
    const file = join(libvirtd.directory, `${what}.xml`);
    await writeFile(file, xml);
    await libvirtd.virsh(`${what}-define`, file);
  };
  await define("net", `<network><name>isolated</name><uuid>${uuid(1)}</uuid></network>`);
  await define(
    "pool",
    `<pool type='dir'><name>images</name><uuid>${uuid(2)}</uuid><target><path>${libvirtd.directory}/images</path></target></pool>`,
  );
  await libvirtd.virsh("pool-build", "images");
  await libvirtd.virsh("pool-start", "images");
  await libvirtd.virsh("vol-create-as", "images", "disk", "4096");
  await define(
    "secret",
    `<secret><uuid>${uuid(3)}</uuid><usage type='volume'><volume>/disk</volume></usage></secret>`,
  );
  await libvirtd.virsh("secret-set-value", uuid(3), "--base64", "c2VjcmV0");
  const vol = { pool: "images", name: "disk", key: `${libvirtd.directory}/images/disk` };
  return {
    net: { name: "isolated", uuid: uuid(1) },
    pool: { name: "images", uuid: uuid(2) },
    secret: { uuid: uuid(3), usageType: 1, usageId: "/disk" },
    vol,
    clonevol: vol,
  };
}

/** What a call's arguments of these names are given. */
const common: Readonly<Record<string, unknown>> = {
  flags: 0,
  needResults: 1,
  name: "isolated",
  path: "vda",
  uuid: "00000000-0000-4000-8000-000000000003",
  usageType: 1,
  usageId: "/disk",
  eventId: 0,
  callbackId: 1000,
  feature: 10,
  offset: 0n,
  capacity: 4096n,
  size: 512,
  maxErrors: 8,
  nparams: 4,
  cellNum: -1,
  timeout: 1,
  cmd: `{"execute":"guest-info"}`,
  type: 0,
  action: 0,
  stats: 0,
  doms: [],
  net: { name: "none", uuid: "00000000-0000-4000-8000-000000000009" },
  pool: { name: "none", uuid: "00000000-0000-4000-8000-000000000009" },
  vol: { pool: "none", name: "none", key: "none" },
  clonevol: { pool: "none", name: "none", key: "none" },
  iface: { name: "lo", mac: "00:00:00:00:00:00" },
  xmlDesc: "<domain/>",
};

/** What a name, a path and an XML are of, by the first word of a call's name. */
const ofKind: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  NETWORK: { xml: "<network><name>another</name></network>" },
  STORAGE: {
    name: "images",
    xml: "<volume><name>another</name><capacity>4096</capacity></volume>",
  },
};

/** Makes every call once; what libvirt refuses is an answer too. */
async function everyProcedure(session: Session, words: Readonly<Record<string, unknown>>): Promise<void> {
  const all = Object.values(procedures) as unknown as Procedure<unknown, unknown>[];
  const inOrder = [...all.filter(({ name }) => !last.has(name)), ...all.filter(({ name }) => last.has(name))];
  for (const procedure of inOrder) {
    if (deadly.has(procedure.name)) continue;
    const kind = ofKind[procedure.name.split("_")[0] ?? ""];
    await heard(
      session.call(procedure, argumentsOf(procedure, { ...words, ...kind }), { timeoutMs: 10_000 }),
    );
  }
}

function argumentsOf(
  { args }: Procedure<unknown, unknown>,
  words: Readonly<Record<string, unknown>>,
): unknown {
  if (args.shape.type !== "struct") throw new Error("the arguments of a call are a struct");
  return Object.fromEntries([...args.shape.fields.keys()].map((name) => [name, words[name]]));
}

/** A refusal is recorded like any other answer. */
async function heard(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (error instanceof LibvirtError || error instanceof CallTimeoutError) return;
    throw error;
  }
}
