import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { ApiServer } from "../support/apiserver.ts";
import { guestAsked, type ControllerProcess } from "../support/controller.ts";
import type { Behaviour } from "../support/guest.ts";
import { startInstallation, type Installation } from "../support/installation.ts";
import { kvmBoots } from "../support/kvm.ts";
import type { Libvirtd } from "../support/libvirtd.ts";
import { watchEvents } from "../support/libvirt-events.ts";
import { defineGuest, startGuest, type RunningGuest } from "../support/start-guest.ts";
import {
  patient,
  readVirtualMachine,
  restartByAnnotation,
  virtualMachine,
  waitForCondition,
  waitForStatus,
} from "../support/warmboot.ts";

let installation: Installation;
let api: ApiServer;
let libvirtd: Libvirtd;
let kvm: boolean;
before(async () => {
  [installation, kvm] = await Promise.all([startInstallation(), kvmBoots()]);
  ({ api, libvirtd } = installation);
});
after(() => installation.close());

/** A guest that has come up, and its resource, once the controller has taken the baseline. */
async function machine(name: string, behaviour: Behaviour, spec: object = {}): Promise<RunningGuest> {
  const guest = await startGuest(libvirtd, { name, behaviour, kvm });
  await api.apply(virtualMachine(name, { ...spec }));
  await waitForCondition(api, name, "Ready");
  return guest;
}

const impatient = { restartPolicy: { soft: { timeoutSeconds: 3, resendSeconds: 1 } } };

describe("real guests on QEMU", () => {
  let controller: ControllerProcess;
  before(async () => {
    controller = await installation.controller("qemu");
  });
  after(() => controller.stop());

  test("a guest that obeys shuts down, is started, and is proven to be another boot", async () => {
    const guest = await machine("obeying", "obey");
    const { lastRestart } = await restartByAnnotation(api, "obeying");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Soft");
    assert.deepEqual(lastRestart.evidence, [
      "StopEvent",
      "BootMarkGone",
      "RequestMarkSeen",
      "DomainIDChanged",
    ]);
    assert.ok(lastRestart.downtimeMilliseconds !== undefined);
    await guest.ready(2);
    assert.equal(new Set(await guest.boots()).size, 2);
  });

  test("a guest that ignores the button is asked again, then power-cycled", async () => {
    const guest = await machine("deaf", "deaf", impatient);
    const { lastRestart } = await restartByAnnotation(api, "deaf");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Hard");
    assert.equal(lastRestart.forcedBecause, "the guest did not shut down within 3 s");
    await guest.ready(2);
  });

  test("a guest that answers the button by rebooting ends with one restart, not two", async () => {
    const guest = await machine("rebooting", "reboot");
    const { lastRestart } = await restartByAnnotation(api, "rebooting");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Soft");
    await guest.ready(2);
    assert.equal((await guest.boots()).length, 2);
    // Its next boot may reboot by itself again, as its configuration says.
    await libvirtd.virsh("shutdown", "rebooting", "--mode", "acpi");
    await guest.ready(3);
  });

  test("a deaf guest in mode Soft keeps running, may reboot by itself again, and is a failure that says so", async () => {
    const guest = await machine("spared", "deaf", {
      restartPolicy: { mode: "Soft", ...impatient.restartPolicy },
    });
    const { lastRestart } = await restartByAnnotation(api, "spared");
    assert.equal(lastRestart?.result, "Failed");
    assert.equal(lastRestart.reason, "GuestShutdownTimedOut");
    await waitForCondition(api, "spared", "Stalled");
    assert.match(await libvirtd.virsh("dumpxml", "spared"), /<on_reboot>restart<\/on_reboot>/);
    assert.equal((await guest.boots()).length, 1);
  });

  test("a domain that is off is started at once", async () => {
    const guest = await defineGuest(libvirtd, { name: "off", behaviour: "obey", kvm });
    await api.apply(virtualMachine("off"));
    await waitForCondition(api, "off", "Ready");
    const { lastRestart } = await restartByAnnotation(api, "off");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Start");
    await guest.ready();
  });

  test("a paused guest is not waited for: the request says why it waits, and is served when it is resumed", async () => {
    const guest = await machine("paused", "obey");
    await libvirtd.virsh("suspend", "paused");
    await waitForStatus(api, "paused", "domain.state", "Paused");
    await api.apply(virtualMachine("paused", { restartGeneration: 1 }));
    await waitForStatus(api, "paused", "conditions[?(@.type=='Reconciling')].reason", "GuestPaused");
    await libvirtd.virsh("resume", "paused");
    await waitForStatus(api, "paused", "observedRestartGeneration", 1);
    const { status } = await readVirtualMachine(api, "paused");
    assert.equal(status.lastRestart?.method, "Soft");
    await guest.ready(2);
  });

  test("mode Hard asks nobody", async () => {
    const guest = await machine("hard", "deaf");
    const { lastRestart } = await restartByAnnotation(api, "hard", "Hard");
    assert.equal(lastRestart?.method, "Hard");
    assert.equal(lastRestart.forcedBecause, undefined);
    await guest.ready(2);
  });

  test("a resource that is deleted while its guest shuts down still gets it started, as soon as it is off", async () => {
    const guest = await machine("deleted", "obey-after=2", { restartPolicy: patient });
    await api.apply(virtualMachine("deleted", { restartPolicy: patient, restartGeneration: 1 }));
    await guestAsked(controller, "deleted");
    await api.kubectl("delete", "wvm", "deleted");
    await guest.ready(2);
  });

  test("a guest whose memory was saved is not started anew, also after libvirtd has forgotten why it is off", async () => {
    await machine("saved", "obey");
    await libvirtd.virsh("managedsave", "saved");
    await libvirtd.restart();
    await api.apply(virtualMachine("saved", { restartGeneration: 1 }));
    await waitForStatus(api, "saved", "conditions[?(@.type=='Reconciling')].reason", "DomainSaved");
    await libvirtd.virsh("start", "saved");
    await waitForStatus(api, "saved", "observedRestartGeneration", 1);
    assert.equal((await readVirtualMachine(api, "saved")).status.lastRestart?.method, "Soft");
  });

  test("a token of any printable characters survives the domain's XML", async () => {
    await machine("token", "obey");
    const token = `<a b="c">&amp;'é😀 ]]>`;
    await api.kubectl("annotate", "wvm", "token", `warmboot.dev/restart=${token}`);
    await controller.logged(({ name, result }) => name === "token" && result === "Succeeded");
    await waitForCondition(api, "token", "Ready");
    assert.equal((await readVirtualMachine(api, "token")).status.observedRestartToken, token);
  });
});

describe("real guests, and a part that dies while they are restarted", () => {
  test("the controller is killed while it waits: the next one goes on with the same attempt, and one boot ends", async () => {
    await using controller = await installation.controller("qemu");
    const guest = await machine("orphan", "obey-after=3");
    await api.apply(virtualMachine("orphan", { restartGeneration: 1 }));
    await controller.logged(({ effect, outcome }) => effect === "Shutdown" && outcome === "Done");
    await waitForStatus(api, "orphan", "attempt.stage", "ShuttingDown");
    await controller.kill();
    const { attempt } = (await readVirtualMachine(api, "orphan")).status;
    await using next = await installation.controller("qemu");
    await waitForStatus(api, "orphan", "observedRestartGeneration", 1);
    const { lastRestart } = (await readVirtualMachine(api, "orphan")).status;
    assert.equal(lastRestart?.id, attempt?.id);
    assert.equal(lastRestart?.result, "Succeeded");
    assert.ok(
      next.lines.every((line) => line.effect !== "Mark"),
      "the next one marked the boot a second time",
    );
    await guest.ready(2);
    assert.equal((await guest.boots()).length, 2);
  });

  test("SIGTERM keeps the attempt: a guest that goes off meanwhile is started by the next run", async () => {
    await using controller = await installation.controller("qemu");
    await using events = await watchEvents(libvirtd);
    const guest = await machine("kept", "obey-after=1");
    await api.apply(virtualMachine("kept", { restartGeneration: 1 }));
    await controller.logged(({ effect, outcome }) => effect === "Shutdown" && outcome === "Done");
    assert.equal(await controller.stop(), 0);
    await events.until("kept", "lifecycle Stopped Shutdown");
    await using next = await installation.controller("qemu");
    await waitForStatus(api, "kept", "observedRestartGeneration", 1);
    assert.ok(
      next.lines.every((line) => line.effect !== "Shutdown"),
      "a guest that is off was asked to shut down",
    );
    await guest.ready(2);
    assert.equal((await guest.boots()).length, 2);
  });

  test("libvirtd is killed while the guest shuts down: the restart goes on when it is back", async () => {
    await using controller = await installation.controller("qemu");
    const guest = await machine("interrupted", "obey-after=2");
    await api.apply(virtualMachine("interrupted", { restartGeneration: 1 }));
    await controller.logged(({ effect, outcome }) => effect === "Shutdown" && outcome === "Done");
    await libvirtd.signal("KILL");
    await libvirtd.exited();
    await libvirtd.start();
    await waitForStatus(api, "interrupted", "observedRestartGeneration", 1);
    const { lastRestart } = (await readVirtualMachine(api, "interrupted")).status;
    assert.equal(lastRestart?.result, "Succeeded");
    await guest.ready(2);
    assert.equal((await guest.boots()).length, 2);
  });
});
