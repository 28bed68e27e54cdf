import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import {
  Affect,
  BlockJobType,
  CreateFlag,
  JobType,
  MetadataType,
  ShutdownFlag,
  decodeJobOperation,
  procedures,
} from "libvirt";
import { startLibvirtd, type Libvirtd } from "../support/libvirtd.ts";
import { Witness, verdict, type WitnessedGuest } from "../support/libvirt-witness.ts";
import { run } from "../support/run.ts";

let libvirtd: Libvirtd;
let witness: Witness;
before(async () => {
  libvirtd = await startLibvirtd();
  witness = new Witness(libvirtd);
});
after(async () => {
  await witness[Symbol.asyncDispose]();
  await libvirtd.close();
});

const flags = 0;

/** A guest that obeys, with a disk of 16 MiB that holds something. */
async function guestWithDisk(name: string): Promise<WitnessedGuest> {
  const path = join(libvirtd.directory, `${name}.qcow2`);
  await run("qemu-img", ["create", "-q", "-f", "qcow2", path, "16M"]);
  await run("qemu-io", ["-c", "write -P 1 0 16M", path]);
  return witness.start({ name, behaviour: "obey", disk: { path, format: "qcow2" } });
}

/** Begins a backup that lasts until somebody ends it: a program would fetch it from a socket. */
async function beginBackup({ guest }: WitnessedGuest): Promise<void> {
  const file = (suffix: string) => join(libvirtd.directory, `${guest.name}.${suffix}`);
  await writeFile(
    file("backup.xml"),
    `<domainbackup mode='pull'>
      <server transport='unix' socket='${file("nbd")}'/>
      <disks><disk name='vda' backup='yes' type='file'><scratch file='${file("scratch")}'/></disk></disks>
    </domainbackup>`,
  );
  await libvirtd.virsh("backup-begin", guest.name, file("backup.xml"));
}

/** Begins a copy that takes 16 s to become ready. */
async function beginCopy({ guest }: WitnessedGuest): Promise<void> {
  const copy = join(libvirtd.directory, `${guest.name}.copy`);
  const options = ["--dest", copy, "--format", "qcow2", "--transient-job", "--bandwidth", "1"];
  await libvirtd.virsh("blockcopy", guest.name, "vda", ...options);
}

async function job(guest: WitnessedGuest): Promise<string> {
  const { type, params } = await guest.call(procedures.domainGetJobStats, { flags });
  return type === JobType.None ? "None" : decodeJobOperation(params);
}

const diskJob = (guest: WitnessedGuest) =>
  guest.call(procedures.domainGetBlockJobInfo, { path: "vda", flags });

const mark = (guest: WitnessedGuest, affect: number) =>
  guest.call(procedures.domainSetMetadata, {
    type: MetadataType.Element,
    metadata: "<m/>",
    key: "t",
    uri: "urn:warmboot-test",
    flags: affect,
  });
const pressButton = (guest: WitnessedGuest) =>
  guest.call(procedures.domainShutdownFlags, { flags: ShutdownFlag.AcpiPowerButton });

suite("a backup", () => {
  test("is a job of the domain, which can be marked meanwhile; a destroy ends both", async () => {
    const guest = await guestWithDisk("backed-up");
    assert.equal(await job(guest), "None");
    await beginBackup(guest);
    assert.equal(await job(guest), "Backup");
    assert.equal((await diskJob(guest)).type, BlockJobType.Backup);
    await mark(guest, Affect.Live);
    await mark(guest, Affect.Config);
    assert.equal(await job(guest), "Backup");
    await guest.call(procedures.domainDestroyFlags, { flags });
    assert.deepEqual(await guest.until("Stopped Destroyed"), [
      "Shutdown Host",
      "JobCompleted Backup",
      "Stopped Destroyed",
    ]);
    assert.equal(await verdict(job(guest)), "OPERATION_INVALID");
    await guest.call(procedures.domainCreateWithFlags, { flags });
    await guest.guest.ready(2);
  });

  test("does not keep a guest from obeying, and is lost with it", async () => {
    const guest = await guestWithDisk("obeys");
    await beginBackup(guest);
    await pressButton(guest);
    assert.deepEqual(await guest.until("Stopped Shutdown"), [
      "Shutdown Guest",
      "JobCompleted Backup",
      "Stopped Shutdown",
    ]);
  });

  test("that is aborted tells of its end twice", async () => {
    const guest = await guestWithDisk("aborted");
    await beginBackup(guest);
    await guest.call(procedures.domainAbortJob, {});
    const events = await guest.until("BlockJob vda Backup Canceled");
    assert.deepEqual(events, ["JobCompleted Backup", "BlockJob vda Backup Canceled"]);
    assert.equal(await job(guest), "None");
  });
});

suite("a copy of a disk", () => {
  test("is no job of the domain, only of the disk, and its readiness and its end are told", async () => {
    const guest = await guestWithDisk("copied");
    assert.equal((await diskJob(guest)).found, 0);
    await beginCopy(guest);
    assert.equal(await job(guest), "None");
    const { found, type } = await diskJob(guest);
    assert.deepEqual([found, type], [1, BlockJobType.Copy]);
    await mark(guest, Affect.Live);
    await mark(guest, Affect.Config);
    await libvirtd.virsh("blockjob", "copied", "vda", "--bandwidth", "0");
    assert.deepEqual(await guest.until("BlockJob vda Copy Ready"), ["BlockJob vda Copy Ready"]);
    await libvirtd.virsh("blockjob", "copied", "vda", "--pivot");
    assert.deepEqual(await guest.until("BlockJob vda Copy Completed"), ["BlockJob vda Copy Completed"]);
    assert.equal((await diskJob(guest)).found, 0);
  });

  test("ends with a destroy, unannounced", async () => {
    const guest = await guestWithDisk("cut-short");
    await beginCopy(guest);
    await guest.call(procedures.domainDestroyFlags, { flags });
    assert.deepEqual(await guest.until("Stopped Destroyed"), ["Shutdown Host", "Stopped Destroyed"]);
  });
});

suite("a core dump", () => {
  test("is a job of the domain, and metadata and the button wait for its end", async () => {
    const guest = await witness.start({ name: "dumped", behaviour: "obey" });
    const dump = libvirtd.virsh("dump", "dumped", join(libvirtd.directory, "core"), "--memory-only");
    await guest.until("Suspended Paused");
    const marked = mark(guest, Affect.Live);
    await pressButton(guest);
    assert.deepEqual(await guest.until("Stopped Shutdown"), [
      "Resumed Unpaused",
      "Shutdown Guest",
      "Stopped Shutdown",
    ]);
    await Promise.all([dump, marked]);
  });
});

suite("a saved guest", () => {
  test("is Shutoff Saved, without the reason once libvirtd was restarted, and boots afresh if forced", async () => {
    await using daemon = await startLibvirtd();
    await using before = new Witness(daemon);
    const guest = await before.start({ name: "saved", behaviour: "deaf" });
    await daemon.virsh("managedsave", "saved");
    const events = await guest.until("Stopped Saved");
    assert.deepEqual(events, ["Suspended Paused", "JobCompleted Save", "Stopped Saved"]);
    assert.equal(await guest.state(), "Shutoff Saved");
    await daemon.restart();
    await before.connected();
    assert.equal(await guest.state(), "Shutoff Unknown");
    const saved = await guest.call(procedures.domainHasManagedSaveImage, { flags });
    assert.equal(saved.result, 1);
    await guest.call(procedures.domainCreateWithFlags, { flags: CreateFlag.ForceBoot });
    const second = await guest.guest.ready(2);
    const [first] = await guest.guest.boots();
    assert.notEqual(second, first);
  });
});
