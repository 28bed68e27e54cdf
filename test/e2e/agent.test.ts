import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { ControllerProcess } from "../support/controller.ts";
import { startSite, type Site } from "../support/site.ts";
import {
  patient,
  readVirtualMachine,
  restartByAnnotation,
  virtualMachine,
  waitForCondition,
  waitForStatus,
} from "../support/warmboot.ts";

const inPlace = { soft: { ...patient.soft, via: "Reboot" } };

let site: Site;
before(async () => {
  site = await startSite();
});
after(() => site[Symbol.asyncDispose]());

describe("guests with a channel for the guest agent", { concurrency: 3 }, () => {
  let controller: ControllerProcess;
  before(async () => {
    controller = await site.startController();
  });
  after(() => controller.stop());

  test("a connected agent shuts the guest down, the button is not pressed, and the new boot's agent answers", async () => {
    const options = { name: "agent", behaviour: "deaf", agent: "running" } as const;
    const guest = await site.startMachine(options, { ...patient, verifyGuest: {} });
    await waitForCondition(site.api, "agent", "GuestReady");
    const { lastRestart } = await restartByAnnotation(site.api, "agent");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Soft");
    assert.deepEqual(lastRestart.evidence, [
      "StopEvent",
      "BootMarkGone",
      "RequestMarkSeen",
      "DomainIDChanged",
      "AgentReady",
    ]);
    await waitForCondition(site.api, "agent", "GuestReady");
    assert.deepEqual(saidOf(await guest.said()), ["ready", "agent poweroff", "ready"]);
  });

  test("a connected agent reboots the guest in place: the same domain ID, one boot more", async () => {
    const options = { name: "agent-in-place", behaviour: "deaf", agent: "running" } as const;
    const guest = await site.startMachine(options, { ...inPlace, verifyGuest: {} });
    await waitForCondition(site.api, "agent-in-place", "GuestReady");
    const id = await site.libvirtd.virsh("domid", "agent-in-place");
    const { lastRestart } = await restartByAnnotation(site.api, "agent-in-place");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Soft");
    assert.deepEqual(lastRestart.evidence.slice(0, 1), ["RebootEvent"]);
    assert.deepEqual(lastRestart.evidence.slice(-1), ["AgentReady"]);
    assert.equal(await site.libvirtd.virsh("domid", "agent-in-place"), id);
    assert.deepEqual(saidOf(await guest.said()), ["ready", "agent reboot", "ready"]);
  });

  test("without an agent behind the channel the button is pressed at once", async () => {
    const options = { name: "no-agent", behaviour: "obey", agent: "absent" } as const;
    const guest = await site.startMachine(options, patient);
    await waitForCondition(site.api, "no-agent", "GuestReady=False");
    const { lastRestart } = await restartByAnnotation(site.api, "no-agent");
    assert.equal(lastRestart?.method, "Soft");
    await guest.ready(2);
    assert.deepEqual(saidOf(await guest.said()), ["ready", "button", "ready"]);
    const signals = controller.lines.filter(
      ({ name, effect }) => name === "no-agent" && effect === "Shutdown",
    );
    assert.deepEqual(
      signals.map(({ msg }) => msg),
      ["the guest is asked to shut down by the ACPI power button", "asked the guest to shut down"],
    );
  });

  test("an agent that hangs costs seconds, then the button is pressed; no other machine waits meanwhile", async () => {
    const others = await Promise.all([
      site.startMachine({ name: "hanging", behaviour: "obey", agent: "hanging" }, patient),
      site.startMachine({ name: "other", behaviour: "obey" }, patient),
    ]);
    await waitForCondition(site.api, "hanging", "GuestReady");
    const asked = controller.logged(({ name, effect }) => name === "hanging" && effect === "Shutdown");
    await site.api.apply(virtualMachine("hanging", { restartPolicy: patient, restartGeneration: 1 }));
    await asked;
    const { lastRestart } = await restartByAnnotation(site.api, "other");
    assert.equal(lastRestart?.result, "Succeeded");
    await waitForStatus(site.api, "hanging", "observedRestartGeneration", 1);
    const { status } = await readVirtualMachine(site.api, "hanging");
    assert.equal(status.lastRestart?.method, "Soft");
    await Promise.all(others.map((guest) => guest.ready(2)));
  });

  test("an agent that takes the order while the guest does not go down: the button is pressed next", async () => {
    const options = { name: "idle-agent", behaviour: "obey", agent: "deaf" } as const;
    const policy = { soft: { timeoutSeconds: 3600, resendSeconds: 1 } };
    const guest = await site.startMachine(options, policy);
    await waitForCondition(site.api, "idle-agent", "GuestReady");
    const { lastRestart } = await restartByAnnotation(site.api, "idle-agent");
    assert.equal(lastRestart?.method, "Soft");
    await guest.ready(2);
    assert.deepEqual(saidOf(await guest.said()), [
      "ready",
      "agent poweroff",
      "agent poweroff ignored",
      "button",
      "ready",
    ]);
  });
});

test("a reboot in place after the controller was killed is proven by the agent's boot ID", async () => {
  const name = "killed";
  await using controller = await site.startController();
  const guest = await site.startMachine({ name, behaviour: "reboot", agent: "deaf" }, inPlace);
  await waitForCondition(site.api, name, "GuestReady");
  await site.api.apply(virtualMachine(name, { restartPolicy: inPlace, restartGeneration: 1 }));
  await controller.logged(
    (line) => line.name === name && line.effect === "Reboot" && line.outcome !== undefined,
  );
  await controller.kill();
  // The guest comes to it late.
  await site.libvirtd.virsh("reboot", name, "--mode", "acpi");
  await guest.ready(2);
  await using next = await site.startController();
  await waitForStatus(site.api, name, "observedRestartGeneration", 1);
  const { lastRestart } = (await readVirtualMachine(site.api, name)).status;
  assert.equal(lastRestart?.result, "Succeeded");
  assert.deepEqual(lastRestart.evidence, ["BootIDChanged"]);
  assert.ok(
    next.lines.every(({ effect }) => effect !== "Reboot"),
    "the guest was asked a second time",
  );
  assert.equal((await guest.boots()).length, 2);
});

/** What a guest said, less what it told of itself. */
function saidOf(lines: readonly string[]): string[] {
  return lines.map((line) => (line.startsWith("ready ") ? "ready" : line));
}
