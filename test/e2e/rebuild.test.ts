import assert from "node:assert/strict";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { VirtualMachineStatus } from "../../crds/virtual-machine.ts";
import type { ControllerProcess } from "../support/controller.ts";
import { run } from "../support/run.ts";
import { startSite, type Site } from "../support/site.ts";
import { readVirtualMachine, virtualMachine, waitForCondition, waitForStatus } from "../support/warmboot.ts";

/** Deaf guests are power-cycled: how a guest goes down is not what these restarts are about. */
const hard = { mode: "Hard" };

describe("what a restart makes sure of, and what it rebuilds", { concurrency: 3 }, () => {
  let site: Site;
  let controller: ControllerProcess;
  before(async () => {
    site = await startSite();
    controller = await site.startController("--allow-definitions");
  });
  after(async () => {
    await controller.stop();
    await site[Symbol.asyncDispose]();
  });

  const statusOf = async (name: string): Promise<VirtualMachineStatus> =>
    (await readVirtualMachine(site.api, name)).status;

  /** Applies a spec with another generation, and gives the status once that has been served. */
  const restarted = async (
    name: string,
    spec: object,
    restartGeneration = 1,
  ): Promise<VirtualMachineStatus> => {
    await site.api.apply(virtualMachine(name, { restartPolicy: hard, ...spec, restartGeneration }));
    await waitForStatus(site.api, name, "observedRestartGeneration", restartGeneration);
    return statusOf(name);
  };

  const waitsFor = (name: string, reason: string) =>
    waitForStatus(site.api, name, "conditions[?(@.type=='Stalled')].reason", reason);

  const restartRequired = (name: string, status: "True" | "False" | "Unknown") =>
    waitForCondition(site.api, name, `RestartRequired=${status}`);

  /** An image of its own in the daemon's directory. */
  const image = async (name: string): Promise<string> => {
    const path = join(site.libvirtd.directory, `${name}.qcow2`);
    await run("qemu-img", ["create", "-q", "-f", "qcow2", path, "16M"]);
    return path;
  };

  /** Something of the host changes that no guest needs: what waits for its host is looked at again. */
  const hostChanges = async (pool: string): Promise<void> => {
    const target = join(site.libvirtd.directory, pool);
    await mkdir(target);
    await site.libvirtd.virsh("pool-create-as", pool, "dir", "--target", target);
  };

  const scsiDisk = (target: string, path: string) =>
    `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${path}'/>` +
    `<target dev='${target}' bus='scsi'/></disk>`;

  const definitionOf = (name: string) =>
    site.libvirtd.virsh("dumpxml", name, "--inactive", "--security-info");

  test("a disk that is gone: the guest keeps its power and the reason names the disk; when it is back, it restarts", async () => {
    const path = await image("gone");
    const guest = await site.startMachine({
      name: "gone",
      behaviour: "deaf",
      disk: { path, format: "qcow2" },
    });
    const id = await site.libvirtd.virsh("domid", "gone");
    await rename(path, `${path}.away`);
    await site.api.apply(virtualMachine("gone", { restartPolicy: hard, restartGeneration: 1 }));
    await waitsFor("gone", "PreflightFailed");
    const { findings } = await statusOf("gone");
    assert.equal(findings?.length, 1);
    assert.equal(findings[0]?.reason, "DiskMissing");
    assert.equal(findings[0].path, "devices/disk[1]/source");
    assert.ok(findings[0].message.includes(path));
    assert.equal(await site.libvirtd.virsh("domid", "gone"), id);
    await rename(`${path}.away`, path);
    // A changed spec is looked at; by itself the file would be looked for within a minute.
    const spec = { restartPolicy: { ...hard, deadlineSeconds: 600 } };
    const { lastRestart, findings: none } = await restarted("gone", spec);
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(none, undefined);
    await guest.ready(2);
  });

  test("a domain that is off stays off while its kernel is missing, and is started when libvirt tells of a change", async () => {
    const { libvirtd } = site;
    const kernel = join(libvirtd.directory, "kernel-off");
    const guest = await site.startMachine({ name: "kernel-off", behaviour: "deaf" });
    await libvirtd.virsh("destroy", "kernel-off");
    const xml = await definitionOf("kernel-off");
    const original = /<kernel>(.*)<\/kernel>/.exec(xml)?.[1] ?? "";
    const file = join(libvirtd.directory, "kernel-off.edited.xml");
    await writeFile(file, xml.replace(original, kernel));
    await libvirtd.virsh("define", file);
    await site.api.apply(virtualMachine("kernel-off", { restartPolicy: hard, restartGeneration: 1 }));
    await waitsFor("kernel-off", "PreflightFailed");
    assert.equal((await statusOf("kernel-off")).findings?.[0]?.reason, "KernelMissing");
    assert.equal((await libvirtd.virsh("domstate", "kernel-off")).trim(), "shut off");
    await run("cp", [original, kernel]);
    await hostChanges("told");
    await waitForStatus(site.api, "kernel-off", "observedRestartGeneration", 1);
    assert.equal((await statusOf("kernel-off")).lastRestart?.method, "Start");
    await guest.ready(2);
  });

  test("a missing volume is created from its backing volume, and never touched when it is there", async () => {
    const { libvirtd } = site;
    const target = join(libvirtd.directory, "volumes");
    await libvirtd.virsh("pool-define-as", "volumes", "dir", "--target", target);
    await libvirtd.virsh("pool-build", "volumes");
    await libvirtd.virsh("pool-start", "volumes");
    await libvirtd.virsh("vol-create-as", "volumes", "template", "16M", "--format", "qcow2");
    await libvirtd.virsh("vol-create-as", "volumes", "data", "32M", "--format", "qcow2");
    const devices =
      "<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>" +
      "<source pool='volumes' volume='data'/><target dev='vda' bus='virtio'/></disk>";
    const guest = await site.startMachine({ name: "volume", behaviour: "deaf", devices });
    await libvirtd.virsh("vol-delete", "data", "--pool", "volumes");
    const volumes = [{ pool: "volumes", name: "data", source: { backing: { name: "template" } } }];
    const { lastRestart } = await restarted("volume", { volumes });
    assert.equal(lastRestart?.result, "Succeeded");
    assert.deepEqual(lastRestart.repairs, ["created volume data in pool volumes"]);
    assert.match(await libvirtd.virsh("vol-dumpxml", "data", "volumes"), /<path>.*\/template<\/path>/);
    await guest.ready(2);
    const again = await restarted("volume", { volumes }, 2);
    assert.equal(again.lastRestart?.repairs, undefined);
    assert.equal(again.lastRestart?.result, "Succeeded");
  });

  test("a data disk that cannot be had is left out where the policy allows it, and plugged in when it is back", async () => {
    const { libvirtd } = site;
    const [system, data] = await Promise.all([image("detach-system"), image("detach-data")]);
    const devices = `<controller type='scsi' index='0' model='virtio-scsi'/>${scsiDisk("sda", system)}${scsiDisk("sdb", data)}`;
    const guest = await site.startMachine({ name: "detach", behaviour: "deaf", devices });
    await rename(data, `${data}.away`);
    const policy = { restartPolicy: { ...hard, onUnavailableVolume: "Detach" } };
    const { lastRestart, detachedVolumes } = await restarted("detach", policy);
    assert.equal(lastRestart?.result, "Succeeded");
    assert.deepEqual(
      detachedVolumes?.map(({ disk, reason }) => [disk, reason]),
      [["sdb", "DiskMissing"]],
    );
    await waitForCondition(site.api, "detach", "VolumesDegraded");
    await guest.ready(2);
    const isPersistent = (await libvirtd.virsh("dominfo", "detach")).includes("Persistent:     yes");
    assert.ok(isPersistent);
    assert.match(await definitionOf("detach"), /sdb/);
    await rename(`${data}.away`, data);
    await hostChanges("told-too");
    await restartRequired("detach", "False");
    assert.equal((await statusOf("detach")).detachedVolumes, undefined);
    assert.match(await libvirtd.virsh("domblklist", "detach"), /sdb/);
    assert.equal((await guest.boots()).length, 2);
  });

  test("the boot disk is never left out", async () => {
    const path = await image("boot-disk");
    const disk = { path, format: "qcow2" } as const;
    await site.startMachine({ name: "boot-disk", behaviour: "deaf", disk });
    const id = await site.libvirtd.virsh("domid", "boot-disk");
    await rm(path);
    const restartPolicy = { ...hard, onUnavailableVolume: "Detach" };
    await site.api.apply(virtualMachine("boot-disk", { restartPolicy, restartGeneration: 1 }));
    await waitsFor("boot-disk", "PreflightFailed");
    assert.equal(await site.libvirtd.virsh("domid", "boot-disk"), id);
  });

  test("a definition: what it would change is listed, a restart applies it, and what the guest depends on stays", async () => {
    const devices = "<interface type='user'><model type='virtio'/></interface>";
    const guest = await site.startMachine({ name: "defined", behaviour: "deaf", devices });
    const before = await definitionOf("defined");
    const xml = before
      .replace(/<uuid>.*<\/uuid>/, "")
      .replace(/<mac address=.*\/>/, "")
      .replace(/<(memory|currentMemory) unit='KiB'>98304</g, "<$1 unit='MiB'>112<");
    await site.api.apply(virtualMachine("defined", { restartPolicy: hard, definition: { xml } }));
    await restartRequired("defined", "True");
    assert.deepEqual((await statusOf("defined")).pendingChanges, ["memory 96 MiB -> 112 MiB"]);
    const { lastRestart, pendingChanges } = await restarted("defined", { definition: { xml } });
    assert.equal(lastRestart?.result, "Succeeded");
    assert.deepEqual(pendingChanges, []);
    await restartRequired("defined", "False");
    const now = await definitionOf("defined");
    for (const kept of [/<uuid>.*<\/uuid>/, /<mac address=.*\/>/])
      assert.equal(kept.exec(now)?.[0], kept.exec(before)?.[0]);
    assert.match(now, /<memory unit='KiB'>114688</);
    await guest.ready(2);
  });

  test("a definition in a ConfigMap, of a domain that is not there: it is defined and started when a restart is requested", async () => {
    const { libvirtd, api } = site;
    const guest = await site.startMachine({ name: "from-map", behaviour: "deaf" });
    const xml = await definitionOf("from-map");
    await libvirtd.virsh("destroy", "from-map");
    await libvirtd.virsh("undefine", "from-map");
    const definition = { configMapKeyRef: { name: "from-map", key: "domain.xml" } };
    await api.apply(virtualMachine("from-map", { restartPolicy: hard, definition, restartGeneration: 1 }));
    await waitsFor("from-map", "DomainNotFound");
    const configMap = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "from-map", labels: { "warmboot.dev/definition": "" } },
      data: { "domain.xml": xml },
    };
    await api.apply(JSON.stringify(configMap));
    await waitForStatus(api, "from-map", "observedRestartGeneration", 1);
    const { lastRestart } = await statusOf("from-map");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Start");
    await guest.ready(2);
  });

  test("a definition that libvirt refuses is told in its words, and nothing is done", async () => {
    await site.startMachine({ name: "refused", behaviour: "deaf" });
    const id = await site.libvirtd.virsh("domid", "refused");
    const xml = (await definitionOf("refused")).replace(
      "<memballoon model='none'/>",
      "<memballoon model='warp'/>",
    );
    const spec = { restartPolicy: hard, definition: { xml }, restartGeneration: 1 };
    await site.api.apply(virtualMachine("refused", spec));
    await waitsFor("refused", "PreflightFailed");
    await restartRequired("refused", "Unknown");
    const { findings } = await statusOf("refused");
    assert.equal(findings?.[0]?.reason, "DefinitionInvalid");
    assert.match(findings[0].message, /^libvirt refuses the definition: /);
    assert.equal(await site.libvirtd.virsh("domid", "refused"), id);
  });

  test("a definition that libvirt takes and cannot start makes way for the one before", async () => {
    const guest = await site.startMachine({ name: "rolled-back", behaviour: "deaf" });
    const before = await definitionOf("rolled-back");
    const xml = before.replaceAll(guest.serialLog, "/nowhere/serial.log");
    const { lastRestart } = await restarted("rolled-back", { definition: { xml } });
    assert.equal(lastRestart?.result, "Failed");
    assert.equal(lastRestart.reason, "DefinitionRolledBack");
    assert.match(lastRestart.message, /\/nowhere\/serial\.log/);
    await guest.ready(2);
    await restartRequired("rolled-back", "True");
    assert.ok((await definitionOf("rolled-back")).includes(guest.serialLog));
  });

  test("a transient domain is defined from its own XML, and restarts", async () => {
    const { libvirtd } = site;
    const guest = await site.startMachine({ name: "transient", behaviour: "deaf" });
    await libvirtd.virsh("undefine", "transient");
    const { lastRestart, domain } = await restarted("transient", {});
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(domain?.state, "Running");
    await guest.ready(2);
    assert.equal((await guest.boots()).length, 2);
  });
});
