import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import {
  Affect,
  DiskErrorCode,
  LifecycleAction,
  LifecycleTrigger,
  MetadataType,
  ShutdownFlag,
  procedures,
} from "libvirt";
import { guestSays } from "../support/guest.ts";
import { fullDisk } from "../support/guest-disk.ts";
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

const pressButton = (guest: WitnessedGuest) =>
  guest.call(procedures.domainShutdownFlags, { flags: ShutdownFlag.AcpiPowerButton });
const resume = (guest: WitnessedGuest) => guest.call(procedures.domainResume, {});
const blockInfo = (guest: WitnessedGuest) =>
  guest.call(procedures.domainGetBlockInfo, { path: "vda", flags });
const diskErrors = async (guest: WitnessedGuest) => {
  const { errors } = await guest.call(procedures.domainGetDiskErrors, { maxErrors: 16, flags });
  return errors;
};

/** That what is written onto a domain before its signal can be written now. */
async function canBeMarked(guest: WitnessedGuest): Promise<void> {
  for (const affect of [Affect.Live, Affect.Config]) {
    const mark = { type: MetadataType.Element, metadata: "<m/>", key: "t", uri: "urn:warmboot-test" };
    assert.equal(await verdict(guest.call(procedures.domainSetMetadata, { ...mark, flags: affect })), "OK");
  }
  const onReboot = { type: LifecycleTrigger.Reboot, action: LifecycleAction.Destroy, flags: Affect.Live };
  assert.equal(await verdict(guest.call(procedures.domainSetLifecycleAction, onReboot)), "OK");
}

suite("a guest that has suspended itself", () => {
  test("is PMSuspended under its ID, can be marked, and takes no order but to wake up", async () => {
    const guest = await witness.start({ name: "sleeps", behaviour: "suspend" });
    await pressButton(guest);
    assert.deepEqual(await guest.until("PMSuspended Memory"), ["PMSuspend", "PMSuspended Memory"]);
    assert.equal(await guest.state(), "PMSuspended Unknown");
    assert.equal(await guest.id(), guest.dom.id);
    await canBeMarked(guest);
    assert.equal(await verdict(pressButton(guest)), "OPERATION_INVALID");
    assert.equal(await verdict(resume(guest)), "OPERATION_INVALID");
    await guest.call(procedures.domainPmWakeup, { flags });
    // Even with reboot = destroy, and without a Reboot event: QEMU's reset that wakes it is none.
    assert.deepEqual(await guest.until("Started Wakeup"), ["PMWakeup", "Started Wakeup"]);
    await guestSays(guest.guest.serialLog, "awake");
    assert.equal(await guest.state(), "Running Wakeup");
    assert.equal((await guest.guest.boots()).length, 1);
    assert.deepEqual(guest.heard(), []);
  });

  test("can be destroyed", async () => {
    const guest = await witness.start({ name: "never-wakes", behaviour: "deaf", onReady: "suspend" });
    await guest.until("PMSuspended Memory");
    assert.equal(await verdict(guest.call(procedures.domainDestroyFlags, { flags })), "OK");
    assert.equal(await guest.state(), "Shutoff Destroyed");
  });
});

suite("a guest that an I/O error has paused", () => {
  test("is paused again by a resume that changes nothing, and goes on where there is space", async () => {
    await using full = await fullDisk(libvirtd, "full");
    const guest = await witness.start({ name: "writes", behaviour: "write", disk: full.disk });
    assert.deepEqual(await diskErrors(guest), []);
    await pressButton(guest);
    const paused = ["IOError Pause enospc", "Suspended IOError"];
    assert.deepEqual(await guest.until("Suspended IOError"), paused);
    assert.equal(await guest.state(), "Paused IOError");
    assert.deepEqual(await diskErrors(guest), [{ disk: "vda", error: DiskErrorCode.NoSpace }]);
    await canBeMarked(guest);
    assert.equal(await verdict(pressButton(guest)), "OPERATION_INVALID");

    assert.equal(await verdict(resume(guest)), "OK", "which proves nothing");
    assert.deepEqual(await guest.until("Suspended IOError"), ["Resumed Unpaused", ...paused]);

    await full.makeSpace();
    await resume(guest);
    await guestSays(guest.guest.serialLog, "written");
    assert.deepEqual(await guest.until("Resumed Unpaused"), ["Resumed Unpaused"]);
    assert.equal(await guest.state(), "Running Unpaused");
    assert.deepEqual(guest.heard(), []);
    assert.equal(await verdict(resume(guest)), "OPERATION_INVALID");
    await guest.call(procedures.domainDestroyFlags, { flags });
  });
});

suite("a disk whose image is missing", () => {
  test("is told of while the domain is off, and not while it runs", async () => {
    const path = join(libvirtd.directory, "removed.qcow2");
    await run("qemu-img", ["create", "-q", "-f", "qcow2", path, "1M"]);
    const guest = await witness.start({
      name: "removed",
      behaviour: "deaf",
      disk: { path, format: "qcow2" },
    });
    assert.equal((await blockInfo(guest)).capacity, 1_048_576n);
    await rm(path);
    assert.equal(await verdict(blockInfo(guest)), "OK");
    await guest.call(procedures.domainDestroyFlags, { flags });
    assert.equal(await verdict(blockInfo(guest)), "SYSTEM_ERROR");
    assert.equal(await verdict(guest.call(procedures.domainCreateWithFlags, { flags })), "SYSTEM_ERROR");
    assert.equal(await guest.state(), "Shutoff Failed");
  });
});
