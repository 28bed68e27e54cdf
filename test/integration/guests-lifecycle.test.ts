import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { Affect, LifecycleAction, LifecycleTrigger, MetadataType, ShutdownFlag, procedures } from "libvirt";
import { startLibvirtd, type Libvirtd } from "../support/libvirtd.ts";
import { Witness, verdict, type WitnessedGuest } from "../support/libvirt-witness.ts";

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

const { Reboot, PowerOff } = LifecycleTrigger;
const { Destroy, Restart, Preserve } = LifecycleAction;
const element = { type: MetadataType.Element, uri: "urn:warmboot-test" };
const flags = 0;

const onLive = (guest: WitnessedGuest, type: number, action: number) =>
  verdict(guest.call(procedures.domainSetLifecycleAction, { type, action, flags: Affect.Live }));
const pressButton = (guest: WitnessedGuest) =>
  guest.call(procedures.domainShutdownFlags, { flags: ShutdownFlag.AcpiPowerButton });
const rebootByButton = (guest: WitnessedGuest) =>
  guest.call(procedures.domainReboot, { flags: ShutdownFlag.AcpiPowerButton });
const mark = (guest: WitnessedGuest) =>
  guest.call(procedures.domainSetMetadata, { ...element, metadata: "<m/>", key: "t", flags: Affect.Live });
const marked = (guest: WitnessedGuest) =>
  verdict(guest.call(procedures.domainGetMetadata, { ...element, flags: Affect.Live }));

suite("a guest that reboots while its boot's reboot action is destroy", () => {
  test("stops as if it had powered off, without a Reboot event", async () => {
    const guest = await witness.start({ name: "reboots", behaviour: "reboot" });
    assert.equal(await onLive(guest, Reboot, Destroy), "OK");
    await pressButton(guest);
    assert.deepEqual(await guest.until("Stopped Shutdown"), ["Shutdown Guest", "Stopped Shutdown"]);
    assert.equal(await guest.state(), "Shutoff Shutdown");
  });

  test("stops at a reset from outside, too", async () => {
    const guest = await witness.start({ name: "reset-destroys", behaviour: "deaf" });
    await onLive(guest, Reboot, Destroy);
    assert.equal(await verdict(guest.call(procedures.domainReset, { flags })), "OK");
    assert.deepEqual(await guest.until("Stopped Shutdown"), ["Shutdown Host", "Stopped Shutdown"]);
  });

  test("stops at libvirt's reboot in place, too", async () => {
    const guest = await witness.start({ name: "reboot-destroys", behaviour: "obey" });
    await onLive(guest, Reboot, Destroy);
    await rebootByButton(guest);
    assert.deepEqual(await guest.until("Stopped Shutdown"), ["Shutdown Guest", "Stopped Shutdown"]);
  });
});

suite("a domain whose power-off action is restart", () => {
  test("begins its next boot under the same ID, and only a Reboot event tells", async () => {
    const guest = await witness.start({ name: "restarts", behaviour: "obey", onPoweroff: "restart" });
    await mark(guest);
    await pressButton(guest);
    assert.deepEqual(await guest.until("Reboot"), ["Reboot"]);
    await guest.guest.ready(2);
    assert.deepEqual(guest.heard(), []);
    assert.equal(await guest.state(), "Running Booted");
    assert.equal(await guest.id(), guest.dom.id);
    assert.equal(await marked(guest), "OK", "metadata of the boot outlives the guest's boot");
  });

  test("takes reboot = destroy only once power-off is destroy, and gives them back in the other order", async () => {
    const guest = await witness.start({ name: "order", behaviour: "obey", onPoweroff: "restart" });
    assert.equal(await onLive(guest, Reboot, Destroy), "CONFIG_UNSUPPORTED");
    assert.equal(await onLive(guest, PowerOff, Destroy), "OK");
    assert.equal(await onLive(guest, Reboot, Destroy), "OK");
    assert.equal(await onLive(guest, PowerOff, Restart), "CONFIG_UNSUPPORTED");
    assert.equal(await onLive(guest, Reboot, Restart), "OK");
    assert.equal(await onLive(guest, PowerOff, Restart), "OK");
    await onLive(guest, PowerOff, Destroy);
    await pressButton(guest);
    assert.deepEqual(await guest.until("Stopped Shutdown"), ["Shutdown Guest", "Stopped Shutdown"]);
    const { xml } = await guest.call(procedures.domainGetXmlDesc, { flags });
    assert.match(xml, /<on_poweroff>restart</, "the configuration is as it was");
  });

  test("cannot be one whose power-off action is preserve: QEMU's driver refuses it", async () => {
    const options = { name: "preserve", behaviour: "obey", onPoweroff: "preserve" } as const;
    await assert.rejects(witness.start(options), /'preserve' action/);
    const guest = await witness.start({ name: "not-preserve", behaviour: "obey" });
    assert.equal(await onLive(guest, PowerOff, Preserve), "CONFIG_UNSUPPORTED");
  });
});

suite("a reboot in place", () => {
  test("by the button is one Reboot event; state, ID and metadata stay, and a later power-off is one", async () => {
    const guest = await witness.start({ name: "in-place", behaviour: "obey" });
    await mark(guest);
    await rebootByButton(guest);
    assert.deepEqual(await guest.until("Reboot"), ["Reboot"]);
    await guest.guest.ready(2);
    assert.deepEqual(guest.heard(), []);
    assert.equal(await guest.state(), "Running Booted");
    assert.equal(await guest.id(), guest.dom.id);
    assert.equal(await marked(guest), "OK");
    await pressButton(guest);
    assert.deepEqual(await guest.until("Stopped Shutdown"), ["Shutdown Guest", "Stopped Shutdown"]);
  });

  test("is remembered for a guest that did not hear of it: its power-off later is a reboot", async () => {
    const guest = await witness.start({ name: "late", behaviour: "deaf", onReady: "obey-after=1" });
    await rebootByButton(guest);
    assert.deepEqual(await guest.until("Reboot"), ["Reboot"]);
    assert.equal(await guest.state(), "Running Booted");
  });

  test("is forgotten when a shutdown is asked for after it", async () => {
    const guest = await witness.start({ name: "taken-back", behaviour: "obey-after=1" });
    await rebootByButton(guest);
    await pressButton(guest);
    assert.deepEqual(await guest.until("Stopped Shutdown"), ["Shutdown Guest", "Stopped Shutdown"]);
  });

  test("by a reset is one Reboot event, too", async () => {
    const guest = await witness.start({ name: "reset", behaviour: "deaf" });
    await mark(guest);
    await guest.call(procedures.domainReset, { flags });
    assert.deepEqual(await guest.until("Reboot"), ["Reboot"]);
    await guest.guest.ready(2);
    assert.deepEqual(guest.heard(), []);
    assert.equal(await guest.state(), "Running Booted");
    assert.equal(await guest.id(), guest.dom.id);
    assert.equal(await marked(guest), "OK");
  });

  test("of a paused guest: a reset leaves it paused, and the button is accepted and not heard", async () => {
    const guest = await witness.start({ name: "paused", behaviour: "obey" });
    await guest.call(procedures.domainSuspend, {});
    assert.equal(await verdict(rebootByButton(guest)), "OK");
    assert.equal(await verdict(guest.call(procedures.domainReset, { flags })), "OK");
    assert.deepEqual(await guest.until("Reboot"), ["Suspended Paused", "Reboot"]);
    assert.equal(await guest.state(), "Paused User");
  });
});

/** QEMU pauses a guest that panics; whether libvirt tells of that before it tells of the panic is a race in it. */
const butPause = (events: string[]) => events.filter((event) => event !== "Suspended Paused");

suite("a guest that panics", () => {
  test("is Crashed and keeps its ID where the crash action is preserve; only a destroy or a reset helps", async () => {
    const guest = await witness.start({ name: "preserved", behaviour: "panic", onCrash: "preserve" });
    await pressButton(guest);
    assert.deepEqual(butPause(await guest.until("Crashed Panicked")), ["Crashed Panicked"]);
    assert.equal(await guest.state(), "Crashed Panicked");
    assert.equal(await guest.id(), guest.dom.id);
    assert.equal(await verdict(mark(guest)), "OK");
    assert.equal(await verdict(pressButton(guest)), "OPERATION_INVALID");
    assert.equal(
      await verdict(guest.call(procedures.domainCreateWithFlags, { flags })),
      "OPERATION_INVALID",
      "it counts as running",
    );
    assert.equal(await verdict(guest.call(procedures.domainDestroyFlags, { flags })), "OK");
    assert.equal(await guest.state(), "Shutoff Destroyed");
  });

  test("stops where the crash action is destroy", async () => {
    const guest = await witness.start({ name: "destroyed", behaviour: "panic", onCrash: "destroy" });
    await pressButton(guest);
    assert.deepEqual(butPause(await guest.until("Stopped Crashed")), ["Crashed Panicked", "Stopped Crashed"]);
    assert.equal(await guest.state(), "Shutoff Crashed");
  });

  test("boots again under the same ID where the crash action is restart", async () => {
    const guest = await witness.start({ name: "restarted", behaviour: "panic", onCrash: "restart" });
    await mark(guest);
    await pressButton(guest);
    assert.deepEqual(butPause(await guest.until("Resumed Unpaused")), [
      "Crashed Panicked",
      "Reboot",
      "Resumed Unpaused",
    ]);
    await guest.guest.ready(2);
    assert.equal(await guest.state(), "Running Crashed");
    assert.equal(await guest.id(), guest.dom.id);
    assert.equal(await marked(guest), "OK", "metadata of the boot outlives the guest's boot");
  });
});
