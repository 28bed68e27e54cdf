import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { inspect } from "node:util";

import {
  ALL_CELLS,
  Affect,
  BLOCK_PEEK_MAX,
  CallTimeoutError,
  Connection,
  CreateFlag,
  DefineFlag,
  HostListFlag,
  LibvirtError,
  LifecycleAction,
  LifecycleTrigger,
  ListNodeDevicesFlag,
  MetadataType,
  SecretUsage,
  ShutdownFlag,
  StoragePoolCreateFlag,
  StoragePoolState,
  StorageVolDeleteFlag,
  StorageVolType,
  XmlFlag,
  decodeState,
  defineProcedure,
  events,
  nameOf,
  procedures,
} from "libvirt";
import type { Domain, ErrorCodeName, HostChange, Network, Secret, StoragePool, StorageVol } from "libvirt";

import { connectionProcedures } from "../../src/libvirt/protocol/procedures.ts";
import { listDomains } from "../../src/libvirt/session/list-domains.ts";
import { Heard } from "../src/libvirt/heard.ts";
import { startLibvirtd } from "../support/libvirtd.ts";
import type { Libvirtd } from "../support/libvirtd.ts";
import { run } from "../support/run.ts";
import { lastLines } from "../support/supervised.ts";

const NS = "urn:libvirt-test";

let libvirtd: Libvirtd;
before(async () => {
  libvirtd = await startLibvirtd();
});
after(() => libvirtd.close());

let names = 0;

/** A name that no other test uses. */
function unusedName(): string {
  names += 1;
  return `vm-${names}`;
}

/** Defines a domain that has nothing but a processor. */
async function define(connection: Connection, type: "test" | "qemu", devices = ""): Promise<Domain> {
  const name = unusedName();
  const machine = type === "qemu" ? " machine='pc'" : "";
  const xml = `<domain type='${type}'><name>${name}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
    <os><type arch='${type === "qemu" ? "x86_64" : "i686"}'${machine}>hvm</type></os>${devices}</domain>`;
  const { dom } = await connection.call(procedures.domainDefineXmlFlags, { xml, flags: 0 });
  return dom;
}

async function start(connection: Connection, dom: Domain): Promise<Domain> {
  const started = await connection.call(procedures.domainCreateWithFlags, { dom, flags: CreateFlag.None });
  return started.dom;
}

/** A guest that libvirtd finds dead when it starts may have been listed before; no event tells of it, so one asks. */
async function untilOff(connection: Connection, dom: Domain): Promise<void> {
  for (;;) {
    const { state, reason } = await connection.call(procedures.domainGetState, { dom, flags: 0 });
    if (decodeState(state, reason).state === "Shutoff") return;
    await delay(20);
  }
}

/** A pool of the files in a directory. */
function poolXml({ name, uuid }: StoragePool, directory: string): string {
  return `<pool type='dir'><name>${name}</name><uuid>${uuid}</uuid><target><path>${directory}</path></target></pool>`;
}

/** A volume in one piece, without a format of its own. */
function volXml(name: string, bytes: number): string {
  return `<volume><name>${name}</name><capacity>${bytes}</capacity><target><format type='raw'/></target></volume>`;
}

/** A secret for a volume of a path that no other test uses. It has no value. */
async function defineSecret(): Promise<Secret> {
  const uuid = crypto.randomUUID();
  const usageId = `/${unusedName()}`;
  const file = join(libvirtd.directory, `${uuid}.xml`);
  await writeFile(
    file,
    `<secret><uuid>${uuid}</uuid><usage type='volume'><volume>${usageId}</volume></usage></secret>`,
  );
  await libvirtd.virsh("secret-define", file);
  return { uuid, usageType: SecretUsage.Volume, usageId };
}

async function destroy(connection: Connection, dom: Domain): Promise<void> {
  await connection.call(procedures.domainDestroyFlags, { dom, flags: 0 });
}

/** A guest whose QEMU does not answer while `during` runs. */
async function whileStopped(dom: Domain, during: () => Promise<void>, daemon = libvirtd): Promise<void> {
  const pid = await daemon.qemuPid(dom.name);
  process.kill(pid, "SIGSTOP");
  try {
    await during();
  } finally {
    process.kill(pid, "SIGCONT");
  }
}

async function refusal(call: Promise<unknown>): Promise<ErrorCodeName> {
  try {
    await call;
  } catch (error) {
    assert.ok(error instanceof LibvirtError, String(error));
    return error.code;
  }
  return assert.fail("libvirt did not refuse");
}

describe("a connection to libvirtd", () => {
  it("tells what is at the other end", async () => {
    await using connection = await Connection.open(libvirtd.uri("test"));
    const [{ type }, { uri }, { libVer }, { hvVer }] = await Promise.all([
      connection.call(procedures.connectGetType, {}),
      connection.call(procedures.connectGetUri, {}),
      connection.call(procedures.connectGetLibVersion, {}),
      connection.call(procedures.connectGetVersion, {}),
    ]);
    assert.equal(type, "TEST");
    assert.equal(uri, "test:///default");
    assert.ok(libVer >= 3_009_000n, "domainSetLifecycleAction came with 3.9.0");
    assert.equal(hvVer, 2n);
  });

  it("finds a domain by name and by UUID", async () => {
    await using connection = await Connection.open(libvirtd.uri("test"));
    const defined = await define(connection, "test");
    const byName = await connection.call(procedures.domainLookupByName, { name: defined.name });
    const byUuid = await connection.call(procedures.domainLookupByUuid, { uuid: defined.uuid });
    assert.deepEqual([byName.dom, byUuid.dom], [defined, defined]);
    assert.equal(defined.id, undefined);
  });

  it("passes libvirt's refusals on by name", async () => {
    await using connection = await Connection.open(libvirtd.uri("test"));
    const dom = await define(connection, "test");
    const missing = { name: "missing", uuid: "00000000-0000-0000-0000-000000000001" };
    const flags = 0;
    assert.deepEqual(
      [
        await refusal(connection.call(procedures.domainLookupByName, missing)),
        await refusal(connection.call(procedures.domainGetState, { dom: missing, flags })),
        await refusal(connection.call(procedures.domainReset, { dom, flags })),
        await refusal(connection.call(procedures.domainShutdownFlags, { dom, flags: 1 << 30 })),
        await refusal(connection.call(procedures.domainDefineXmlFlags, { xml: "<domain", flags })),
        await refusal(
          connection.call(procedures.qemuDomainAgentCommand, { dom, cmd: "{}", timeout: 1, flags }),
        ),
      ],
      ["NO_DOMAIN", "NO_DOMAIN", "OPERATION_INVALID", "INVALID_ARG", "XML_DETAIL", "NO_SUPPORT"],
    );
  });

  it("is refused when the driver does not exist", async () => {
    const opened = Connection.open(`nosuch+unix:///system?socket=${libvirtd.socket}`);
    await assert.rejects(opened, { name: "ConnectionError", kind: "OpenFailed" });
  });

  it("is refused at a socket that speaks another protocol or none", async () => {
    const admin = Connection.open(`test+unix:///default?socket=${libvirtd.directory}/libvirt-admin-sock`);
    await assert.rejects(admin, { name: "ConnectionError" });
    const wrong = Connection.open(`test+unix:///default?socket=${libvirtd.directory}/no-such-sock`);
    await assert.rejects(wrong, { name: "ConnectionError", kind: "NotFound" });
  });

  it("carries a value of a megabyte in both directions", async () => {
    await using connection = await Connection.open(libvirtd.uri("test"));
    const dom = await define(connection, "test");
    const metadata = `<a>${"ä".repeat(512 * 1024)}</a>`;
    const element = { dom, type: MetadataType.Element, uri: NS, flags: Affect.Config };
    await connection.call(procedures.domainSetMetadata, { ...element, key: "t", metadata });
    const read = await connection.call(procedures.domainGetMetadata, element);
    assert.equal(read.metadata, metadata);
  });

  it("keeps many more calls than libvirtd takes at once apart", async () => {
    await using connection = await Connection.open(libvirtd.uri("test"));
    const doms = await Promise.all(Array.from({ length: 20 }, () => define(connection, "test")));
    const found = await Promise.all(
      Array.from({ length: 200 }, (_, index) =>
        connection.call(procedures.domainLookupByName, { name: doms[index % 20]?.name ?? "" }),
      ),
    );
    assert.ok(found.every(({ dom }, index) => dom.uuid === doms[index % 20]?.uuid));
  });
});

describe("metadata of a running domain", () => {
  it("of this boot and of the configuration are apart, and this boot's ends with it", async () => {
    await using connection = await Connection.open(libvirtd.uri("test"));
    const dom = await start(connection, await define(connection, "test"));
    const set = (uri: string, flags: number) =>
      connection.call(procedures.domainSetMetadata, {
        dom,
        type: MetadataType.Element,
        metadata: "<mark/>",
        key: "t",
        uri,
        flags,
      });
    const get = (uri: string, flags: number) =>
      connection.call(procedures.domainGetMetadata, { dom, type: MetadataType.Element, uri, flags }).then(
        ({ metadata }) => metadata,
        (error: LibvirtError) => error.code,
      );
    await set(`${NS}:live`, Affect.Live);
    await set(`${NS}:config`, Affect.Config);
    const look = () =>
      Promise.all([
        get(`${NS}:live`, Affect.Live),
        get(`${NS}:live`, Affect.Config),
        get(`${NS}:config`, Affect.Live),
        get(`${NS}:config`, Affect.Config),
      ]);
    const none = "NO_DOMAIN_METADATA";
    assert.deepEqual(await look(), ["<mark/>", none, none, "<mark/>"]);
    await destroy(connection, dom);
    await start(connection, dom);
    assert.deepEqual(await look(), [none, none, "<mark/>", "<mark/>"]);
  });
});

describe("events of the test driver", () => {
  it("follow start, shutdown, destroy and metadata, each with its detail", async () => {
    await using heard = new Heard(libvirtd.uri("test"));
    await heard.next("Connected");
    await using connection = await Connection.open(libvirtd.uri("test"));
    const calledAtMs = performance.now();
    const dom = await define(connection, "test");
    const defined = await heard.next("Lifecycle");
    assert.deepEqual([defined.event, defined.detail, defined.domain.uuid], ["Defined", "Added", dom.uuid]);
    assert.ok(defined.receivedAtMs > calledAtMs && defined.receivedAtMs < performance.now());

    const { id } = await start(connection, dom);
    const started = await heard.next("Lifecycle");
    assert.deepEqual([started.event, started.detail, started.domain.id], ["Started", "Booted", id]);

    await connection.call(procedures.domainSetMetadata, {
      dom,
      type: MetadataType.Element,
      metadata: "<a/>",
      key: "t",
      uri: NS,
      flags: Affect.Live,
    });
    const { kind, nsUri } = await heard.next("MetadataChange");
    assert.deepEqual({ kind, nsUri }, { kind: "Element", nsUri: NS });

    await connection.call(procedures.domainShutdownFlags, { dom, flags: ShutdownFlag.Default });
    const shutDown = await heard.next("Lifecycle");
    assert.deepEqual([shutDown.event, shutDown.detail], ["Stopped", "Shutdown"]);

    await start(connection, dom);
    await heard.next("Lifecycle");
    await destroy(connection, dom);
    const destroyed = await heard.next("Lifecycle");
    assert.deepEqual([destroyed.event, destroyed.detail], ["Stopped", "Destroyed"]);

    await connection.call(procedures.domainUndefineFlags, { dom, flags: 0 });
    assert.equal((await heard.next("Lifecycle")).event, "Undefined");
  });

  it("stop when they are deregistered", async () => {
    await using connection = await Connection.open(libvirtd.uri("test"));
    const heard: number[] = [];
    connection.onEvent(events.lifecycle, ({ event }) => heard.push(event));
    const { callbackId } = await connection.call(procedures.connectDomainEventCallbackRegisterAny, {
      eventId: events.lifecycle.eventId,
    });
    const dom = await define(connection, "test");
    await connection.call(procedures.connectDomainEventCallbackDeregisterAny, { callbackId });
    await start(connection, dom);
    await connection.call(procedures.connectGetHostname, {});
    assert.deepEqual(heard, [0]);
  });
});

describe("listing domains", () => {
  it("gives the same list in one call and one by one", async () => {
    await using connection = await Connection.open(libvirtd.uri("test"));
    const off = await define(connection, "test");
    const running = await start(connection, await define(connection, "test"));
    const inOne = await listDomains(connection);
    const oneByOne = await listDomains({
      call: (procedure, args, options) =>
        procedure.name === procedures.connectGetAllDomainStats.name
          ? Promise.reject(new LibvirtError(procedure.name, 3, 12, "no support"))
          : connection.call(procedure, args, options),
    });
    const byName = (list: typeof inOne) => list.toSorted((a, b) => a.name.localeCompare(b.name));
    assert.deepEqual(byName(oneByOne), byName(inOne));
    const find = (dom: Domain) => inOne.find(({ uuid }) => uuid === dom.uuid);
    assert.deepEqual(find(off), { ...off, state: "Shutoff", reason: "Unknown" });
    assert.deepEqual(find(running), { ...running, state: "Running", reason: "Booted" });
  });
});

describe("every procedure", () => {
  it("is understood by libvirtd, and its result by this client", async () => {
    await using connection = await Connection.open(libvirtd.uri("qemu"));
    const dom = await start(connection, await define(connection, "qemu"));
    const flags = 0;
    const element = { dom, type: MetadataType.Element, uri: NS, flags };
    const { xml } = await connection.call(procedures.domainGetXmlDesc, { dom, flags });
    const transient = xml.replace(dom.name, unusedName()).replace(dom.uuid, crypto.randomUUID());
    const device = {
      dom,
      flags: Affect.Config,
      xml: "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
    };
    const list = { needResults: 1, flags };
    const net: Network = { name: "none", uuid: crypto.randomUUID() };
    const pool: StoragePool = { name: unusedName(), uuid: crypto.randomUUID() };
    const directory = join(libvirtd.directory, pool.name);
    const vol: StorageVol = { pool: pool.name, name: "disk", key: join(directory, "disk") };
    const secret = await defineSecret();
    const asked: Record<keyof typeof procedures, () => Promise<unknown>> = {
      connectGetType: () => connection.call(procedures.connectGetType, {}),
      connectGetVersion: () => connection.call(procedures.connectGetVersion, {}),
      connectGetHostname: () => connection.call(procedures.connectGetHostname, {}),
      connectSupportsFeature: () => connection.call(procedures.connectSupportsFeature, { feature: 1 }),
      connectGetUri: () => connection.call(procedures.connectGetUri, {}),
      connectGetLibVersion: () => connection.call(procedures.connectGetLibVersion, {}),
      connectListAllDomains: () =>
        connection.call(procedures.connectListAllDomains, { needResults: 1, flags }),
      connectDomainEventCallbackRegisterAny: () =>
        connection.call(procedures.connectDomainEventCallbackRegisterAny, { eventId: 0, dom }),
      connectDomainEventCallbackDeregisterAny: () =>
        connection.call(procedures.connectDomainEventCallbackDeregisterAny, { callbackId: 0 }),
      connectGetAllDomainStats: () =>
        connection.call(procedures.connectGetAllDomainStats, { doms: [dom], stats: 0, flags }),
      domainLookupByName: () => connection.call(procedures.domainLookupByName, { name: dom.name }),
      domainLookupByUuid: () => connection.call(procedures.domainLookupByUuid, { uuid: dom.uuid }),
      domainGetXmlDesc: () => connection.call(procedures.domainGetXmlDesc, { dom, flags }),
      domainGetState: () => connection.call(procedures.domainGetState, { dom, flags }),
      domainIsPersistent: () => connection.call(procedures.domainIsPersistent, { dom }),
      domainHasManagedSaveImage: () => connection.call(procedures.domainHasManagedSaveImage, { dom, flags }),
      domainManagedSaveRemove: () => connection.call(procedures.domainManagedSaveRemove, { dom, flags }),
      domainGetJobInfo: () => connection.call(procedures.domainGetJobInfo, { dom }),
      domainGetJobStats: () => connection.call(procedures.domainGetJobStats, { dom, flags }),
      domainAbortJob: () => connection.call(procedures.domainAbortJob, { dom }),
      domainGetBlockJobInfo: () =>
        connection.call(procedures.domainGetBlockJobInfo, { dom, path: "vda", flags }),
      domainGetBlockInfo: () => connection.call(procedures.domainGetBlockInfo, { dom, path: "vda", flags }),
      domainGetDiskErrors: () =>
        connection.call(procedures.domainGetDiskErrors, { dom, maxErrors: 8, flags }),
      domainBlockPeek: () =>
        connection.call(procedures.domainBlockPeek, { dom, path: "vda", offset: 0n, size: 512, flags }),
      domainAttachDeviceFlags: () => connection.call(procedures.domainAttachDeviceFlags, device),
      domainDetachDeviceFlags: () => connection.call(procedures.domainDetachDeviceFlags, device),
      domainCreateXml: () => connection.call(procedures.domainCreateXml, { xmlDesc: transient, flags }),
      domainCreateWithFlags: () => connection.call(procedures.domainCreateWithFlags, { dom, flags }),
      domainDefineXmlFlags: () => connection.call(procedures.domainDefineXmlFlags, { xml, flags }),
      domainShutdownFlags: () => connection.call(procedures.domainShutdownFlags, { dom, flags: 1 }),
      domainReboot: () => connection.call(procedures.domainReboot, { dom, flags: 1 }),
      domainReset: () => connection.call(procedures.domainReset, { dom, flags }),
      domainSuspend: () => connection.call(procedures.domainSuspend, { dom }),
      domainResume: () => connection.call(procedures.domainResume, { dom }),
      domainPmWakeup: () => connection.call(procedures.domainPmWakeup, { dom, flags }),
      domainSetMetadata: () =>
        connection.call(procedures.domainSetMetadata, { ...element, key: "t", metadata: "<a/>" }),
      domainGetMetadata: () => connection.call(procedures.domainGetMetadata, element),
      domainSetLifecycleAction: () =>
        connection.call(procedures.domainSetLifecycleAction, {
          dom,
          type: LifecycleTrigger.Reboot,
          // With another one the reset above, of which QEMU may tell only now, would end the domain.
          action: LifecycleAction.Restart,
          flags: Affect.Live,
        }),
      domainGetTime: () => connection.call(procedures.domainGetTime, { dom, flags }),
      domainAgentSetResponseTimeout: () =>
        connection.call(procedures.domainAgentSetResponseTimeout, { dom, timeout: 1, flags }),
      qemuDomainAgentCommand: () =>
        connection.call(procedures.qemuDomainAgentCommand, { dom, cmd: "{}", timeout: 1, flags }),
      domainDestroyFlags: () => connection.call(procedures.domainDestroyFlags, { dom, flags }),
      domainUndefineFlags: () => connection.call(procedures.domainUndefineFlags, { dom, flags }),

      connectGetCapabilities: () => connection.call(procedures.connectGetCapabilities, {}),
      connectGetDomainCapabilities: () => connection.call(procedures.connectGetDomainCapabilities, { flags }),
      nodeGetInfo: () => connection.call(procedures.nodeGetInfo, {}),
      nodeGetMemoryStats: () =>
        connection.call(procedures.nodeGetMemoryStats, { nparams: 0, cellNum: ALL_CELLS, flags }),
      nodeGetMemoryParameters: () =>
        connection.call(procedures.nodeGetMemoryParameters, { nparams: 0, flags }),
      nodeGetFreeMemory: () => connection.call(procedures.nodeGetFreeMemory, {}),

      connectListAllNetworks: () => connection.call(procedures.connectListAllNetworks, list),
      networkLookupByName: () => connection.call(procedures.networkLookupByName, { name: "none" }),
      networkGetXmlDesc: () => connection.call(procedures.networkGetXmlDesc, { net, flags }),
      // Without the driver it would end libvirtd.
      networkIsActive: async () => {
        const found = await connection.call(procedures.networkLookupByName, { name: "none" });
        await connection.call(procedures.networkIsActive, found);
      },
      networkCreate: () => connection.call(procedures.networkCreate, { net }),
      networkDestroy: () => connection.call(procedures.networkDestroy, { net }),
      networkDefineXml: () => connection.call(procedures.networkDefineXml, { xml: "<network/>" }),
      networkDefineXmlFlags: () =>
        connection.call(procedures.networkDefineXmlFlags, { xml: "<network/>", flags }),
      connectNetworkEventRegisterAny: () =>
        connection.call(procedures.connectNetworkEventRegisterAny, { eventId: 0, net }),
      connectNetworkEventDeregisterAny: () =>
        connection.call(procedures.connectNetworkEventDeregisterAny, { callbackId: 0 }),

      storagePoolDefineXml: () =>
        connection.call(procedures.storagePoolDefineXml, { xml: poolXml(pool, directory), flags }),
      storagePoolCreate: () =>
        connection.call(procedures.storagePoolCreate, { pool, flags: StoragePoolCreateFlag.WithBuild }),
      connectListAllStoragePools: () => connection.call(procedures.connectListAllStoragePools, list),
      storagePoolLookupByName: () => connection.call(procedures.storagePoolLookupByName, { name: pool.name }),
      storagePoolGetInfo: () => connection.call(procedures.storagePoolGetInfo, { pool }),
      storagePoolGetXmlDesc: () => connection.call(procedures.storagePoolGetXmlDesc, { pool, flags }),
      storagePoolIsActive: () => connection.call(procedures.storagePoolIsActive, { pool }),
      storagePoolRefresh: () => connection.call(procedures.storagePoolRefresh, { pool, flags }),
      storageVolCreateXml: () =>
        connection.call(procedures.storageVolCreateXml, { pool, xml: volXml("disk", 4096), flags }),
      storageVolCreateXmlFrom: () =>
        connection.call(procedures.storageVolCreateXmlFrom, {
          pool,
          xml: volXml("clone", 4096),
          clonevol: vol,
          flags,
        }),
      storagePoolListAllVolumes: () =>
        connection.call(procedures.storagePoolListAllVolumes, { pool, ...list }),
      storageVolLookupByName: () =>
        connection.call(procedures.storageVolLookupByName, { pool, name: vol.name }),
      storageVolLookupByPath: () => connection.call(procedures.storageVolLookupByPath, { path: vol.key }),
      storageVolGetInfo: () => connection.call(procedures.storageVolGetInfo, { vol }),
      storageVolGetXmlDesc: () => connection.call(procedures.storageVolGetXmlDesc, { vol, flags }),
      storageVolGetPath: () => connection.call(procedures.storageVolGetPath, { vol }),
      storageVolResize: () => connection.call(procedures.storageVolResize, { vol, capacity: 8192n, flags }),
      storageVolDelete: () => connection.call(procedures.storageVolDelete, { vol, flags }),
      connectStoragePoolEventRegisterAny: () =>
        connection.call(procedures.connectStoragePoolEventRegisterAny, { eventId: 0, pool }),
      connectStoragePoolEventDeregisterAny: () =>
        connection.call(procedures.connectStoragePoolEventDeregisterAny, { callbackId: 0 }),
      storagePoolDestroy: () => connection.call(procedures.storagePoolDestroy, { pool }),

      connectListAllInterfaces: () => connection.call(procedures.connectListAllInterfaces, list),
      interfaceLookupByName: () => connection.call(procedures.interfaceLookupByName, { name: "lo" }),
      // Without the driver it would end libvirtd.
      interfaceIsActive: async () => {
        const found = await connection.call(procedures.interfaceLookupByName, { name: "lo" });
        await connection.call(procedures.interfaceIsActive, found);
      },
      nwfilterLookupByName: () => connection.call(procedures.nwfilterLookupByName, { name: "none" }),

      connectListAllNodeDevices: () => connection.call(procedures.connectListAllNodeDevices, list),
      nodeDeviceLookupByName: () => connection.call(procedures.nodeDeviceLookupByName, { name: "none" }),
      nodeDeviceGetXmlDesc: () => connection.call(procedures.nodeDeviceGetXmlDesc, { name: "none", flags }),
      nodeDeviceReAttach: () => connection.call(procedures.nodeDeviceReAttach, { name: "none" }),
      nodeDeviceCreate: () => connection.call(procedures.nodeDeviceCreate, { name: "none", flags }),
      connectNodeDeviceEventRegisterAny: () =>
        connection.call(procedures.connectNodeDeviceEventRegisterAny, { eventId: 0 }),
      connectNodeDeviceEventDeregisterAny: () =>
        connection.call(procedures.connectNodeDeviceEventDeregisterAny, { callbackId: 0 }),

      secretLookupByUuid: () => connection.call(procedures.secretLookupByUuid, { uuid: secret.uuid }),
      secretLookupByUsage: () => connection.call(procedures.secretLookupByUsage, secret),
      connectSecretEventRegisterAny: () =>
        connection.call(procedures.connectSecretEventRegisterAny, { eventId: 0, secret }),
      connectSecretEventDeregisterAny: () =>
        connection.call(procedures.connectSecretEventDeregisterAny, { callbackId: 0 }),
    };
    const refused: string[] = [];
    for (const [name, ask] of Object.entries(asked)) {
      await ask().catch((error: unknown) => {
        assert.ok(error instanceof LibvirtError, `${name}: ${String(error)}`);
        assert.notEqual(error.code, "RPC", `${name}: ${error.message}`);
        refused.push(name);
      });
    }
    // There is nothing of the kind to act on; the codes depend on libvirt's version.
    assert.deepEqual(refused, [
      "domainManagedSaveRemove",
      "domainAbortJob",
      "domainGetBlockJobInfo",
      "domainGetBlockInfo",
      "domainBlockPeek",
      "domainCreateWithFlags",
      "domainPmWakeup",
      "domainGetTime",
      "qemuDomainAgentCommand",
      // There is no such network, and no driver for the host's own interfaces and devices.
      "networkLookupByName",
      "networkGetXmlDesc",
      "networkIsActive",
      "networkCreate",
      "networkDestroy",
      "networkDefineXml",
      "networkDefineXmlFlags",
      "connectListAllInterfaces",
      "interfaceLookupByName",
      "interfaceIsActive",
      "nwfilterLookupByName",
      "connectListAllNodeDevices",
      "nodeDeviceLookupByName",
      "nodeDeviceGetXmlDesc",
      "nodeDeviceReAttach",
      "nodeDeviceCreate",
      "connectNodeDeviceEventRegisterAny",
      "connectNodeDeviceEventDeregisterAny",
    ]);
  });
});

describe("what the test driver has for its domains", () => {
  it("is found, started and stopped, and each change is told", async () => {
    await using heard = new Heard(libvirtd.uri("test"));
    await heard.next("Connected");
    await using connection = await Connection.open(libvirtd.uri("test"));
    const told = async (object: HostChange["object"]) => {
      const { name, event } = await heard.until("HostChange", (change) => change.object === object);
      return `${name} ${event}`;
    };
    const flags = 0;

    const name = unusedName();
    const xml = `<network><name>${name}</name><forward/><ip address='10.1.2.1' netmask='255.255.255.0'/></network>`;
    const { net } = await connection.call(procedures.networkDefineXmlFlags, {
      xml,
      flags: DefineFlag.Validate,
    });
    assert.deepEqual([net.name, await told("Network")], [name, `${name} Defined`]);
    const active = async () => (await connection.call(procedures.networkIsActive, { net })).active;
    assert.equal(await active(), 0);
    await connection.call(procedures.networkCreate, { net });
    assert.deepEqual([await active(), await told("Network")], [1, `${name} Started`]);
    await connection.call(procedures.networkDestroy, { net });
    assert.deepEqual([await active(), await told("Network")], [0, `${name} Stopped`]);
    const byName = await connection.call(procedures.networkLookupByName, { name });
    assert.deepEqual(byName.net, net);
    const described = await connection.call(procedures.networkGetXmlDesc, { net, flags });
    assert.match(described.xml, new RegExp(`<uuid>${net.uuid}</uuid>`));
    const { nets, ret } = await connection.call(procedures.connectListAllNetworks, {
      needResults: 1,
      flags: HostListFlag.Inactive,
    });
    assert.deepEqual([nets, ret], [[net], 1]);
    const again = await connection.call(procedures.networkDefineXml, { xml: described.xml });
    assert.deepEqual(again.net, net);

    const { ifaces } = await connection.call(procedures.connectListAllInterfaces, {
      needResults: 1,
      flags: HostListFlag.Active,
    });
    const { iface } = await connection.call(procedures.interfaceLookupByName, { name: "eth1" });
    assert.deepEqual(ifaces, [iface]);
    assert.match(iface.mac, /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    assert.equal((await connection.call(procedures.interfaceIsActive, { iface })).active, 1);

    const { devices } = await connection.call(procedures.connectListAllNodeDevices, {
      needResults: 1,
      flags: ListNodeDevicesFlag.All,
    });
    const { dev } = await connection.call(procedures.nodeDeviceLookupByName, { name: "computer" });
    assert.ok(devices.some((device) => device.name === dev.name));
    const device = await connection.call(procedures.nodeDeviceGetXmlDesc, { name: dev.name, flags });
    assert.match(device.xml, /<name>computer<\/name>/);
    const file = join(libvirtd.directory, `${unusedName()}.xml`);
    await writeFile(
      file,
      `<device><parent>scsi_host1</parent><capability type='scsi_host'><capability type='fc_host'>
        <wwnn>2000000012341234</wwnn><wwpn>1000000012341234</wwpn></capability></capability></device>`,
    );
    await libvirtd.virshTest("nodedev-create", file);
    const { name: created, event } = await heard.until("HostChange", ({ object }) => object === "NodeDevice");
    assert.equal(event, "Created");
    await connection.call(procedures.nodeDeviceLookupByName, { name: created });
  });

  it("is refused where there is none of that name", async () => {
    await using connection = await Connection.open(libvirtd.uri("test"));
    const name = "missing";
    const uuid = crypto.randomUUID();
    assert.deepEqual(
      [
        await refusal(connection.call(procedures.networkLookupByName, { name })),
        await refusal(connection.call(procedures.storagePoolLookupByName, { name })),
        await refusal(connection.call(procedures.storageVolLookupByPath, { path: "/missing" })),
        await refusal(connection.call(procedures.interfaceLookupByName, { name })),
        await refusal(connection.call(procedures.nodeDeviceLookupByName, { name })),
        await refusal(connection.call(procedures.nwfilterLookupByName, { name })),
        await refusal(connection.call(procedures.secretLookupByUuid, { uuid })),
      ],
      [
        "NO_NETWORK",
        "NO_STORAGE_POOL",
        "NO_STORAGE_VOL",
        "NO_INTERFACE",
        "NO_NODE_DEVICE",
        "NO_SUPPORT",
        "NO_SUPPORT",
      ],
    );
  });
});

describe("what the host of QEMU guests has for them", () => {
  it("is told of: its processors, its memory, and what guests can have", async () => {
    await using connection = await Connection.open(libvirtd.uri("qemu"));
    const { capabilities } = await connection.call(procedures.connectGetCapabilities, {});
    assert.match(capabilities, /<guest>[^]*<arch name='x86_64'>/);
    const ofDomains = await connection.call(procedures.connectGetDomainCapabilities, {
      arch: "x86_64",
      machine: "q35",
      virttype: "qemu",
      flags: 0,
    });
    assert.match(ofDomains.capabilities, /<machine>pc-q35-[^<]+<\/machine>/);
    const info = await connection.call(procedures.nodeGetInfo, {});
    assert.equal(info.model, "x86_64");
    assert.ok(info.cpus > 0 && info.memory > 0n, inspect(info));
    const memory = { cellNum: ALL_CELLS, flags: 0 };
    const { nparams } = await connection.call(procedures.nodeGetMemoryStats, { ...memory, nparams: 0 });
    const { params } = await connection.call(procedures.nodeGetMemoryStats, { ...memory, nparams });
    const stats = Object.fromEntries(params.map(({ field, value }) => [field, value]));
    assert.deepEqual(Object.keys(stats).toSorted(), ["buffers", "cached", "free", "total"]);
    const total = stats["total"] ?? 0n;
    assert.ok(total >= (stats["free"] ?? total), inspect(stats));
    const { freeMem } = await connection.call(procedures.nodeGetFreeMemory, {});
    assert.ok(freeMem > 0n && freeMem < total * 1024n, `${freeMem} bytes`);
  });

  it("is a pool with its volumes, of which libvirt tells what it did itself and finds the rest when asked", async () => {
    await using heard = new Heard(libvirtd.uri("qemu"));
    await heard.next("Connected");
    await using connection = await Connection.open(libvirtd.uri("qemu"));
    const flags = 0;
    const list = { needResults: 1, flags };
    const wanted: StoragePool = { name: unusedName(), uuid: crypto.randomUUID() };
    const told = async () => {
      const change = await heard.until("HostChange", ({ name }) => name === wanted.name);
      return `${change.object} ${change.event}`;
    };
    const directory = join(libvirtd.directory, wanted.name);
    const xml = poolXml(wanted, directory);
    const { pool } = await connection.call(procedures.storagePoolDefineXml, { xml, flags });
    assert.deepEqual([pool, await told()], [wanted, "StoragePool Defined"]);
    const state = async () => {
      const info = await connection.call(procedures.storagePoolGetInfo, { pool });
      return nameOf(StoragePoolState, info.state);
    };
    assert.equal(await state(), "Inactive");
    // The directory is not there yet.
    assert.equal(
      await refusal(connection.call(procedures.storagePoolCreate, { pool, flags })),
      "SYSTEM_ERROR",
    );
    await connection.call(procedures.storagePoolCreate, { pool, flags: StoragePoolCreateFlag.WithBuild });
    assert.deepEqual([await told(), await state()], ["StoragePool Started", "Running"]);
    const { active } = await connection.call(procedures.storagePoolIsActive, { pool });
    assert.equal(active, 1);
    const { pools } = await connection.call(procedures.connectListAllStoragePools, {
      needResults: 1,
      flags: HostListFlag.Active,
    });
    assert.ok(pools.some(({ uuid }) => uuid === pool.uuid));

    const disk = join(directory, "disk");
    const content = Buffer.alloc(8192, "libvirt ");
    await writeFile(disk, content);
    const lookUp = () => connection.call(procedures.storageVolLookupByName, { pool, name: "disk" });
    assert.equal(await refusal(lookUp()), "NO_STORAGE_VOL");
    await connection.call(procedures.storagePoolRefresh, { pool, flags });
    assert.equal(await told(), "StoragePool Refreshed");
    const { vol } = await lookUp();
    assert.deepEqual(vol, { pool: pool.name, name: "disk", key: disk });
    const byPath = await connection.call(procedures.storageVolLookupByPath, { path: disk });
    assert.deepEqual(byPath.vol, vol);
    const path = await connection.call(procedures.storageVolGetPath, { vol });
    assert.equal(path.name, disk);
    const info = await connection.call(procedures.storageVolGetInfo, { vol });
    assert.deepEqual([nameOf(StorageVolType, info.type), info.capacity], ["File", 8192n]);
    const described = await connection.call(procedures.storageVolGetXmlDesc, { vol, flags });
    assert.match(described.xml, /<format type='raw'\/>/);

    const clone = await connection.call(procedures.storageVolCreateXmlFrom, {
      pool,
      xml: volXml("clone", 8192),
      clonevol: vol,
      flags,
    });
    assert.deepEqual(await readFile(clone.vol.key), content);
    const blank = await connection.call(procedures.storageVolCreateXml, {
      pool,
      xml: volXml("blank", 4096),
      flags,
    });
    assert.deepEqual(await readFile(blank.vol.key), Buffer.alloc(4096));
    await connection.call(procedures.storageVolDelete, { vol, flags: StorageVolDeleteFlag.Normal });
    const { vols } = await connection.call(procedures.storagePoolListAllVolumes, { pool, ...list });
    assert.deepEqual(vols.map(({ name }) => name).toSorted(), ["blank", "clone"]);

    await connection.call(procedures.storagePoolDestroy, { pool });
    assert.deepEqual([await told(), await state()], ["StoragePool Stopped", "Inactive"]);
    await libvirtd.virsh("pool-undefine", pool.name);
    assert.equal(await told(), "StoragePool Undefined");
  });

  it("is secrets, which are found by what they are for, and whose values are told of but not told", async () => {
    await using heard = new Heard(libvirtd.uri("qemu"));
    await heard.next("Connected");
    await using connection = await Connection.open(libvirtd.uri("qemu"));
    const wanted = await defineSecret();
    const told = async () => {
      const change = await heard.until("HostChange", ({ name }) => name === wanted.uuid);
      return `${change.object} ${change.event}`;
    };
    assert.equal(await told(), "Secret Defined");
    const byUsage = await connection.call(procedures.secretLookupByUsage, wanted);
    const byUuid = await connection.call(procedures.secretLookupByUuid, { uuid: wanted.uuid });
    assert.deepEqual([byUsage.secret, byUuid.secret], [wanted, wanted]);
    await libvirtd.virsh("secret-set-value", wanted.uuid, "--base64", "c2VjcmV0");
    assert.equal(await told(), "Secret ValueChanged");
    await libvirtd.virsh("secret-undefine", wanted.uuid);
    assert.equal(await told(), "Secret Undefined");
    const { uuid } = wanted;
    assert.equal(await refusal(connection.call(procedures.secretLookupByUuid, { uuid })), "NO_SECRET");
  });

  it("is the first bytes of a raw disk, whether its guest runs or not", async () => {
    await using connection = await Connection.open(libvirtd.uri("qemu"));
    const disk = join(libvirtd.directory, `${unusedName()}.raw`);
    const content = Buffer.alloc(BLOCK_PEEK_MAX, "boot sector ");
    await writeFile(disk, content);
    const diskXml = (format: string) =>
      `<devices><disk type='file'><driver name='qemu' type='${format}'/><source file='${disk}'/><target dev='vda'/></disk></devices>`;
    const dom = await define(connection, "qemu", diskXml("raw"));
    const peek = async (path: string, offset: number, size: number, of = dom) => {
      const at = { dom: of, path, offset: BigInt(offset), size, flags: 0 };
      const { buffer } = await connection.call(procedures.domainBlockPeek, at);
      return Buffer.from(buffer);
    };
    assert.deepEqual(await peek("vda", 0, 512), content.subarray(0, 512));
    assert.deepEqual(await peek(disk, 511, 3), content.subarray(511, 514));
    assert.deepEqual(await peek("vda", 0, BLOCK_PEEK_MAX), content);
    await start(connection, dom);
    assert.deepEqual(await peek("vda", 0, 512), content.subarray(0, 512));
    await destroy(connection, dom);
    const qcow2 = await define(connection, "qemu", diskXml("qcow2"));
    assert.deepEqual(
      [
        await refusal(peek("vda", BLOCK_PEEK_MAX - 1, 2)),
        await refusal(peek("vdb", 0, 512)),
        await refusal(peek("vda", 0, 512, qcow2)),
      ],
      ["INVALID_ARG", "INVALID_ARG", "OPERATION_UNSUPPORTED"],
    );
  });

  it("is devices that a domain gets for its next start and loses again", async () => {
    await using connection = await Connection.open(libvirtd.uri("qemu"));
    const dom = await define(connection, "qemu");
    const device = {
      dom,
      flags: Affect.Config,
      xml: "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
    };
    const hasIt = async () => {
      const { xml } = await connection.call(procedures.domainGetXmlDesc, { dom, flags: XmlFlag.Inactive });
      return xml.includes("<rng model='virtio'>");
    };
    await connection.call(procedures.domainAttachDeviceFlags, device);
    assert.equal(await hasIt(), true);
    await connection.call(procedures.domainDetachDeviceFlags, device);
    assert.equal(await hasIt(), false);
  });
});

describe("events of the QEMU driver", () => {
  it("tell of a reset, a suspension and a save", async () => {
    await using heard = new Heard(libvirtd.uri("qemu"));
    await heard.next("Connected");
    await using connection = await Connection.open(libvirtd.uri("qemu"));
    const dom = await start(connection, await define(connection, "qemu"));
    await connection.call(procedures.domainReset, { dom, flags: 0 });
    assert.equal((await heard.until("Reboot")).domain.uuid, dom.uuid);

    await connection.call(procedures.domainSuspend, { dom });
    await heard.until("Lifecycle", ({ event, detail }) => event === "Suspended" && detail === "Paused");
    await connection.call(procedures.domainResume, { dom });
    await heard.until("Lifecycle", ({ event, detail }) => event === "Resumed" && detail === "Unpaused");

    await libvirtd.virsh("managedsave", dom.name);
    const stopped = await heard.until("Lifecycle", ({ event }) => event === "Stopped");
    assert.equal(stopped.detail, "Saved");
    const { result } = await connection.call(procedures.domainHasManagedSaveImage, { dom, flags: 0 });
    assert.equal(result, 1);
  });

  it("tell of a backup that has ended", async () => {
    await using heard = new Heard(libvirtd.uri("qemu"));
    await heard.next("Connected");
    await using connection = await Connection.open(libvirtd.uri("qemu"));
    const disk = join(libvirtd.directory, `${unusedName()}.qcow2`);
    await run("qemu-img", ["create", "-q", "-f", "qcow2", disk, "1M"]);
    const dom = await start(
      connection,
      await define(
        connection,
        "qemu",
        `<devices><disk type='file'><driver name='qemu' type='qcow2'/><source file='${disk}'/><target dev='vda'/></disk></devices>`,
      ),
    );
    await libvirtd.virsh("backup-begin", dom.name);
    const { domain, stats } = await heard.until("JobCompleted");
    assert.equal(domain.uuid, dom.uuid);
    const BACKUP = 9;
    const operation = stats.find(({ field }) => field === "operation");
    assert.deepEqual(operation?.value, { type: "int", value: BACKUP });
    await destroy(connection, dom);
  });
});

describe("calls that hang", () => {
  const keepalive = { intervalMs: 100, count: 5 };

  it("make a further one wait, and leave room for keepalive", async () => {
    await using connection = await Connection.open(libvirtd.uri("qemu"), { keepalive });
    const dom = await start(connection, await define(connection, "qemu"));
    let hung: Promise<unknown>[] = [];
    await whileStopped(dom, async () => {
      const flags = ShutdownFlag.AcpiPowerButton;
      hung = Array.from({ length: 4 }, () => connection.call(procedures.domainShutdownFlags, { dom, flags }));
      // Three times as long as it takes to lose a connection whose pings are not answered.
      const fifth = connection.call(procedures.connectGetHostname, {}, { timeoutMs: 2_000 });
      await assert.rejects(fifth, (error) => error instanceof CallTimeoutError && !error.sent);
      assert.equal(connection.state.status, "Open");
    });
    await Promise.all(hung);
    await connection.call(procedures.connectGetHostname, {});
    await destroy(connection, dom);
  });

  it("end the connection when they are as many as libvirtd takes, which is why this client sends fewer", async () => {
    await using other = await Connection.open(libvirtd.uri("qemu"));
    const dom = await start(other, await define(other, "qemu"));
    await using connection = await Connection.open(libvirtd.uri("qemu"), { keepalive, maxInFlight: 5 });
    await whileStopped(dom, async () => {
      const flags = ShutdownFlag.AcpiPowerButton;
      const hung = Array.from({ length: 5 }, () =>
        connection.call(procedures.domainShutdownFlags, { dom, flags }),
      );
      const results = await Promise.allSettled(hung);
      assert.ok(results.every(({ status }) => status === "rejected"));
      assert.equal((await connection.closed).kind, "KeepaliveTimeout");
    });
    await destroy(other, dom);
  });
});

describe("a daemon all of whose workers hang", () => {
  it("still tells each domain, because libvirt keeps workers for calls that cannot hang", async () => {
    await using daemon = await startLibvirtd({ config: ["min_workers = 1", "max_workers = 1"] });
    await using connection = await Connection.open(daemon.uri("qemu"));
    const dom = await start(connection, await define(connection, "qemu"));
    await whileStopped(
      dom,
      async () => {
        const flags = ShutdownFlag.AcpiPowerButton;
        const hung = connection.call(procedures.domainShutdownFlags, { dom, flags }, { timeoutMs: 1 });
        await assert.rejects(hung, CallTimeoutError);
        const stuck = connection.call(procedures.domainGetXmlDesc, { dom, flags: 0 }, { timeoutMs: 50 });
        await assert.rejects(stuck, CallTimeoutError);
        await assert.rejects(listDomains(connection, 50), CallTimeoutError);
        const { dom: found } = await connection.call(procedures.domainLookupByName, { name: dom.name });
        assert.deepEqual(found, dom);
        const state = await connection.call(procedures.domainGetState, { dom, flags: 0 });
        assert.deepEqual(state, { state: 1, reason: 1 });
      },
      daemon,
    );
  });

  it("answers the calls that are declared to have priority, and no other", async () => {
    await using daemon = await startLibvirtd({ config: ["min_workers = 1", "max_workers = 1"] });
    await using connections = new AsyncDisposableStack();
    const open = async () => connections.use(await Connection.open(daemon.uri("qemu")));
    const connection = await open();
    const dom = await start(connection, await define(connection, "qemu"));
    // Without arguments, each does nothing and is refused; that is an answer.
    const bare = Object.values(procedures)
      .filter(({ program }) => program === procedures.connectGetType.program)
      .map(({ name, number }) => defineProcedure(name, number, {}, {}));
    const answered: string[] = [];
    const ask = async (on: Connection, procedure: (typeof bare)[number]) => {
      await on.call(procedure, {}, { timeoutMs: 600_000 }).catch(() => undefined);
      answered.push(procedure.name);
    };
    const ordinary = bare.filter(({ hasPriority }) => !hasPriority);
    const withPriority = bare.filter(({ hasPriority }) => hasPriority);
    const asked: Promise<void>[] = [];
    await whileStopped(
      dom,
      async () => {
        const flags = ShutdownFlag.AcpiPowerButton;
        asked.push(connection.call(procedures.domainShutdownFlags, { dom, flags }).then(() => undefined));
        for (let index = 0; index < ordinary.length; index += 4) {
          const on = await open();
          asked.push(...ordinary.slice(index, index + 4).map((procedure) => ask(on, procedure)));
        }
        for (const procedure of withPriority) await ask(connection, procedure);
        assert.deepEqual(
          answered,
          withPriority.map(({ name }) => name),
        );
      },
      daemon,
    );
    await Promise.all(asked);
    assert.equal(answered.length, bare.length);
  });
});

describe("a daemon that is restarted", () => {
  it("is connected to again, and what happened meanwhile is in the list", async () => {
    await using daemon = await startLibvirtd();
    await using heard = new Heard(daemon.uri("qemu"));
    await heard.next("Connected");
    await using connection = await Connection.open(daemon.uri("qemu"));
    const survivor = await start(connection, await define(connection, "qemu"));
    const victim = await start(connection, await define(connection, "qemu"));
    await heard.until("Lifecycle", ({ event, domain }) => event === "Started" && domain.uuid === victim.uuid);
    const victimPid = await daemon.qemuPid(victim.name);

    await daemon.stop();
    const lost = await heard.until("Disconnected");
    assert.deepEqual([lost.stage, lost.error.kind], ["Lost", "Disconnected"]);
    assert.equal((await connection.closed).kind, "Disconnected");
    process.kill(victimPid, "SIGKILL");
    await daemon.start();

    const { domains } = await heard.until("Connected");
    assert.equal(domains?.find(({ uuid }) => uuid === survivor.uuid)?.state, "Running");
    await using again = await Connection.open(daemon.uri("qemu"));
    await untilOff(again, victim);
    const { state, reason } = await again.call(procedures.domainGetState, { dom: survivor, flags: 0 });
    assert.equal(decodeState(state, reason).state, "Running", lastLines(daemon.logFile));
    await destroy(again, survivor);
    await heard.until(
      "Lifecycle",
      ({ event, domain }) => event === "Stopped" && domain.uuid === survivor.uuid,
    );
  });

  it("gives no wrong picture when domains start and stop while it is listed", async () => {
    await using worker = await Connection.open(libvirtd.uri("test"));
    const doms = await Promise.all(Array.from({ length: 10 }, () => define(worker, "test")));
    for (let round = 0; round < 10; round++) {
      const flipped = doms.map(async (dom) => {
        await start(worker, dom);
        if (round % 2 === 0) {
          await destroy(worker, dom);
        }
      });
      await using heard = new Heard(libvirtd.uri("test"));
      const { domains } = await heard.next("Connected");
      await Promise.all(flipped);
      await heard.session.call(procedures.connectGetHostname, {});
      const running = new Map((domains ?? []).map(({ uuid, state }) => [uuid, state === "Running"]));
      for (const event of heard.pending) {
        if (event.type === "Lifecycle") {
          running.set(event.domain.uuid, event.event === "Started");
        }
      }
      for (const dom of doms) {
        assert.equal(running.get(dom.uuid), round % 2 === 1, `round ${round}`);
      }
      if (round % 2 === 1) {
        await Promise.all(doms.map((dom) => destroy(worker, dom)));
      }
    }
  });
});

describe("a daemon that is stopped in mid-air", () => {
  it("is noticed by keepalive and by the deadline for opening, and found again", async () => {
    await using daemon = await startLibvirtd();
    await using heard = new Heard(daemon.uri("test"), {
      keepalive: { intervalMs: 100, count: 3 },
      openTimeoutMs: 200,
      reconnect: { initialDelayMs: 10, maxDelayMs: 10 },
    });
    await heard.next("Connected");
    const ask = () => heard.session.call(connectionProcedures.connectSupportsFeature, { feature: 1 });
    await ask();
    await daemon.signal("STOP");
    // Its connection is found dead, or is closed because that of the events was.
    await assert.rejects(ask(), { name: "ConnectionError", sent: true });
    const lost = await heard.next("Disconnected");
    assert.deepEqual([lost.stage, lost.error.kind], ["Lost", "KeepaliveTimeout"]);
    const retried = await heard.next("Disconnected");
    assert.deepEqual([retried.stage, retried.error.kind], ["Reconnect", "OpenTimeout"]);
    await daemon.signal("CONT");
    await heard.until("Connected");
  });
});

describe("the README's example", () => {
  it("runs as it stands", async () => {
    await using connection = await Connection.open(libvirtd.uri("test"));
    const dom = await define(connection, "test");
    const readme = await readFile(join(import.meta.dirname, "../../src/libvirt/README.md"), "utf8");
    const example = /^```ts\n(.*?)^```$/ms.exec(readme)?.[1] ?? assert.fail("there is no example");
    // The code takes its place as argv[1], which --eval leaves out.
    const node = ["--input-type=module-typescript", "--eval", example, "example.ts", libvirtd.uri("test")];
    const output = await run(process.execPath, node, { cwd: import.meta.dirname });
    assert.match(output, /^connected to .+, libvirt \d+\.\d+\.\d+$/m);
    assert.match(output, new RegExp(`^${dom.name} is Shutoff \\(Unknown\\)$`, "m"));
    assert.match(output, new RegExp(`^${dom.name}: Started \\(Booted\\)$`, "m"));
  });
});
