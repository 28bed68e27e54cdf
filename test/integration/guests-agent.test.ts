import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { ShutdownFlag, procedures } from "libvirt";
import type { SessionCallOptions } from "libvirt";
import { boots, guestSays } from "../support/guest.ts";
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

const flags = 0;
const overAgent: SessionCallOptions = { waitsFor: "Agent", timeoutMs: 90_000 };

const shutDownByAgent = (guest: WitnessedGuest) =>
  guest.call(procedures.domainShutdownFlags, { flags: ShutdownFlag.GuestAgent }, overAgent);
const rebootByAgent = (guest: WitnessedGuest) =>
  guest.call(procedures.domainReboot, { flags: ShutdownFlag.GuestAgent }, overAgent);
const pressButton = (guest: WitnessedGuest) =>
  guest.call(procedures.domainShutdownFlags, { flags: ShutdownFlag.AcpiPowerButton });
const clock = (guest: WitnessedGuest) => guest.call(procedures.domainGetTime, { flags }, overAgent);

/** Tells the agent to do something of its own protocol. */
async function command(guest: WitnessedGuest, execute: string, args: object = {}): Promise<unknown> {
  const cmd = JSON.stringify({ execute, arguments: args });
  const timeout = 10;
  const { result } = await guest.call(procedures.qemuDomainAgentCommand, { cmd, timeout, flags }, overAgent);
  return (JSON.parse(result ?? "{}") as { return: unknown }).return;
}

async function channelState(guest: WitnessedGuest): Promise<string | undefined> {
  const { xml } = await guest.call(procedures.domainGetXmlDesc, { flags });
  return /org\.qemu\.guest_agent\.0' state='(\w+)'/.exec(xml)?.[1];
}

suite("a guest with an agent", () => {
  test("is asked for its clock, and shut down; the reply comes when it has powered off", async () => {
    const guest = await witness.start({ name: "obeys", behaviour: "deaf", agent: "running" });
    assert.equal(await channelState(guest), "connected");
    const { seconds } = await clock(guest);
    assert.ok(seconds > 1_600_000_000n);
    // A guest that goes at once may take its agent's socket along before libvirt has answered.
    const reply = await verdict(shutDownByAgent(guest));
    assert.match(reply, /^(OK|INTERNAL_ERROR)$/);
    if (reply === "OK") assert.match(await guest.state(), /^Shut(down|off) /);
    await guestSays(guest.guest.serialLog, "agent poweroff");
    const events = await guest.until("Stopped Shutdown");
    assert.match(await guest.state(), /^Shutoff /);
    assert.deepEqual(
      events.filter((event) => !event.startsWith("Agent")),
      ["Shutdown Guest", "Stopped Shutdown"],
    );
    assert.equal(await verdict(shutDownByAgent(guest)), "OPERATION_INVALID");
  });

  test("is rebooted in place, with a Reboot event before or after the reply", async () => {
    const guest = await witness.start({ name: "reboots", behaviour: "deaf", agent: "running" });
    await rebootByAgent(guest);
    await guest.until("Reboot");
    await guest.guest.ready(2);
    await guest.until("Agent Connected");
    assert.equal(await guest.state(), "Running Booted");
    assert.equal(await guest.id(), guest.dom.id);
  });

  test("reads its boot ID to us, which taints the domain; asking for its clock does not", async () => {
    const guest = await witness.start({ name: "tells", behaviour: "deaf", agent: "running" });
    const tainted = async () => (await libvirtd.virsh("dominfo", "tells")).includes("custom guest agent");
    await clock(guest);
    assert.equal(await tainted(), false);
    const path = "/proc/sys/kernel/random/boot_id";
    const handle = await command(guest, "guest-file-open", { path, mode: "r" });
    const read = (await command(guest, "guest-file-read", { handle })) as { "buf-b64": string };
    await command(guest, "guest-file-close", { handle });
    const bootId = Buffer.from(read["buf-b64"], "base64").toString().trim();
    assert.deepEqual(await boots(guest.guest.serialLog), [bootId]);
    assert.equal(await tainted(), true);
  });

  test("that dies is told of, and refused to callers at once from then on", async () => {
    const guest = await witness.start({ name: "dies", behaviour: "obey", agent: "running" });
    await command(guest, "guest-exec", { path: "/bin/busybox", arg: ["killall", "-KILL", "qemu-ga"] });
    await guest.until("Agent Disconnected");
    assert.equal(await channelState(guest), "disconnected");
    assert.equal(await verdict(clock(guest)), "AGENT_UNRESPONSIVE");
  });
});

suite("an agent that takes the order to shut down while its guest stays", () => {
  test("holds up its caller, other calls to it, and nothing else; the button ends the guest", async () => {
    const guest = await witness.start({ name: "stays", behaviour: "obey", agent: "deaf" });
    const hanging = verdict(shutDownByAgent(guest));
    await guestSays(guest.guest.serialLog, "agent poweroff ignored");
    const impatient = guest.call(procedures.domainGetTime, { flags }, { waitsFor: "Agent", timeoutMs: 500 });
    await assert.rejects(impatient, { name: "CallTimeoutError", sent: true });
    assert.equal(await guest.state(), "Running Booted");
    await pressButton(guest);
    await guest.until("Stopped Shutdown");
    // As if the guest had obeyed: the reply proves nothing.
    assert.equal(await hanging, "OK");
  });

  test("replies OK when the guest is destroyed meanwhile", async () => {
    const guest = await witness.start({ name: "destroyed", behaviour: "deaf", agent: "deaf" });
    const hanging = verdict(shutDownByAgent(guest));
    await guestSays(guest.guest.serialLog, "agent poweroff ignored");
    await guest.call(procedures.domainDestroyFlags, { flags });
    assert.equal(await hanging, "OK");
  });
});

suite("an agent that hangs", () => {
  test("counts as connected, and is given up after 5 s, or sooner if libvirt is told so", async () => {
    const guest = await witness.start({ name: "hangs", behaviour: "obey", agent: "hanging" });
    assert.equal(await channelState(guest), "connected");
    assert.equal(await verdict(clock(guest)), "AGENT_UNRESPONSIVE");
    await guest.call(procedures.domainAgentSetResponseTimeout, { timeout: 1, flags });
    assert.equal(await verdict(shutDownByAgent(guest)), "AGENT_UNRESPONSIVE");
    const hanging = verdict(rebootByAgent(guest));
    await pressButton(guest);
    await guest.until("Stopped Shutdown");
    // As happens: the agent has disappeared, or libvirt has no reply of its.
    assert.match(await hanging, /^(AGENT_UNRESPONSIVE|INTERNAL_ERROR)$/);
  });
});

suite("a domain without an agent", () => {
  test("refuses at once where there is a channel for one, and obeys its button", async () => {
    const guest = await witness.start({ name: "absent", behaviour: "obey", agent: "absent" });
    assert.equal(await channelState(guest), "disconnected");
    for (const call of [shutDownByAgent, rebootByAgent, clock]) {
      assert.equal(await verdict(call(guest)), "AGENT_UNRESPONSIVE");
    }
    await pressButton(guest);
    await guest.until("Stopped Shutdown");
  });

  test("refuses with another code where there is none", async () => {
    const guest = await witness.start({ name: "no-channel", behaviour: "obey" });
    assert.equal(await channelState(guest), undefined);
    for (const call of [shutDownByAgent, rebootByAgent, clock]) {
      assert.equal(await verdict(call(guest)), "ARGUMENT_UNSUPPORTED");
    }
  });
});
