import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import type { VirtualMachineStatus } from "../../crds/virtual-machine.ts";
import type { ControllerProcess } from "../support/controller.ts";
import { fullDisk } from "../support/guest-disk.ts";
import { run } from "../support/run.ts";
import { startSite, type Site } from "../support/site.ts";
import {
  patient,
  readVirtualMachine,
  restartByAnnotation,
  virtualMachine,
  waitForStatus,
} from "../support/warmboot.ts";

describe("guests in every state that a domain can be in", { concurrency: 3 }, () => {
  let site: Site;
  let controller: ControllerProcess;
  before(async () => {
    site = await startSite();
    controller = await site.startController();
  });
  after(async () => {
    await controller.stop();
    await site[Symbol.asyncDispose]();
  });

  /** Requests a restart with a policy, and leaves it to come to its end. */
  const request = (name: string, restartPolicy: object = {}) =>
    site.api.apply(virtualMachine(name, { restartPolicy, restartGeneration: 1 }));

  /** Resolves to the status when the request has been served. */
  const served = async (name: string): Promise<VirtualMachineStatus> => {
    await waitForStatus(site.api, name, "observedRestartGeneration", 1);
    return (await readVirtualMachine(site.api, name)).status;
  };

  /** Resolves when a request waits for something. */
  const waits = (name: string, reason: string) =>
    waitForStatus(site.api, name, "conditions[?(@.type=='Reconciling')].reason", reason);

  const effectsOn = (name: string) =>
    controller.lines.flatMap((line) =>
      line.name === name && line.outcome === "Done" ? (line.effect ?? []) : [],
    );

  test("a slow guest is asked again meanwhile, and still restarted once", async () => {
    const policy = { soft: { timeoutSeconds: 3600, resendSeconds: 1 } };
    const guest = await site.startMachine({ name: "slow", behaviour: "obey-after=4" }, policy);
    const { lastRestart } = await restartByAnnotation(site.api, "slow");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Soft");
    await guest.ready(2);
    assert.equal((await guest.boots()).length, 2);
  });

  test("a guest that reboots in place without an agent: libvirt's event proves it, the domain is never off", async () => {
    const policy = { soft: { ...patient.soft, via: "Reboot" } };
    const guest = await site.startMachine({ name: "in-place", behaviour: "obey" }, policy);
    const id = await site.libvirtd.virsh("domid", "in-place");
    const { lastRestart } = await restartByAnnotation(site.api, "in-place");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Soft");
    assert.deepEqual(lastRestart.evidence, ["RebootEvent"]);
    await guest.ready(2);
    assert.equal(await site.libvirtd.virsh("domid", "in-place"), id);
    assert.deepEqual(effectsOn("in-place"), ["Mark", "Reboot", "Settle"]);
    assert.equal((await guest.boots()).length, 2);
  });

  test("a forced restart by the reset button: the same domain ID, one boot more", async () => {
    const guest = await site.startMachine({ name: "reset", behaviour: "deaf" }, { hard: { via: "Reset" } });
    const id = await site.libvirtd.virsh("domid", "reset");
    const { lastRestart } = await restartByAnnotation(site.api, "reset", "Hard");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Hard");
    assert.deepEqual(lastRestart.evidence, ["RebootEvent"]);
    await guest.ready(2);
    assert.equal(await site.libvirtd.virsh("domid", "reset"), id);
    assert.equal((await guest.boots()).length, 2);
  });

  test("a guest that panics is not waited for: mode Soft fails at once, mode Auto cuts its power at once", async () => {
    const options = { name: "panicking", behaviour: "panic", onCrash: "preserve" } as const;
    const guest = await site.startMachine(options, patient);
    const soft = await restartByAnnotation(site.api, "panicking", "Soft");
    assert.equal(soft.lastRestart?.result, "Failed");
    assert.equal(soft.lastRestart.reason, "GuestCrashed");
    assert.equal(soft.domain?.state, "Crashed");
    const auto = await restartByAnnotation(site.api, "panicking");
    assert.equal(auto.lastRestart?.result, "Succeeded");
    assert.equal(auto.lastRestart.method, "Hard");
    assert.equal(auto.lastRestart.forcedBecause, "the guest has crashed");
    await guest.ready(2);
  });

  test("a guest that panics while it shuts down, and is reset for it, has restarted: once", async () => {
    const options = { name: "crash-restart", behaviour: "panic", onCrash: "restart" } as const;
    const guest = await site.startMachine(options, patient);
    await request("crash-restart", patient);
    const { lastRestart } = await served("crash-restart");
    assert.equal(lastRestart?.result, "Succeeded");
    await guest.ready(2);
    assert.match(await site.libvirtd.virsh("dumpxml", "crash-restart"), /<on_reboot>restart<\/on_reboot>/);
    assert.equal((await guest.boots()).length, 2);
  });

  test("a saved guest is not started anew unless the policy says so, and then the status says what was lost", async () => {
    const guest = await site.startMachine({ name: "discarded", behaviour: "obey" });
    await site.libvirtd.virsh("managedsave", "discarded");
    await request("discarded");
    await waits("discarded", "DomainSaved");
    await request("discarded", { whenSaved: "Discard" });
    const { lastRestart } = await served("discarded");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Start");
    assert.match(lastRestart.message, /its saved memory was discarded/);
    await guest.ready(2);
    assert.equal((await guest.boots()).length, 2);
  });

  test("a guest that sleeps is woken up, asked, and restarted softly", async () => {
    const options = { name: "asleep", behaviour: "obey", onReady: "suspend" } as const;
    const guest = await site.startMachine(options);
    await waitForStatus(site.api, "asleep", "domain.state", "PMSuspended");
    // The button is lost on a guest that is just waking up.
    await request("asleep", { soft: { ...patient.soft, resendSeconds: 5 } });
    const { lastRestart } = await served("asleep");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Soft");
    await guest.ready(2);
    await guest.says("awake");
  });

  test("a domain that restarts at poweroff goes off for its restart, and restarts at poweroff afterwards", async () => {
    const options = { name: "poweroff-restart", behaviour: "obey", onPoweroff: "restart" } as const;
    const guest = await site.startMachine(options, patient);
    const { lastRestart } = await restartByAnnotation(site.api, "poweroff-restart");
    assert.equal(lastRestart?.method, "Soft");
    assert.ok(lastRestart.evidence.includes("RequestMarkSeen"));
    await guest.ready(2);
    assert.equal((await guest.boots()).length, 2);
    await site.libvirtd.virsh("shutdown", "poweroff-restart", "--mode", "acpi");
    await guest.ready(3);
  });

  test("a deaf guest that was let go restarts at reboot and at poweroff as it did before", async () => {
    const options = { name: "let-go", behaviour: "deaf", onPoweroff: "restart" } as const;
    await site.startMachine(options, { mode: "Soft", soft: { timeoutSeconds: 1 } });
    const { lastRestart } = await restartByAnnotation(site.api, "let-go");
    assert.equal(lastRestart?.reason, "GuestShutdownTimedOut");
    const xml = await site.libvirtd.virsh("dumpxml", "let-go");
    assert.match(xml, /<on_poweroff>restart<\/on_poweroff>\s*<on_reboot>restart<\/on_reboot>/);
  });

  test("a domain that goes off when its guest reboots is started again", async () => {
    const options = { name: "reboot-destroy", behaviour: "reboot", onReboot: "destroy" } as const;
    const guest = await site.startMachine(options, patient);
    const { lastRestart } = await restartByAnnotation(site.api, "reboot-destroy");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Soft");
    await guest.ready(2);
  });

  test("a guest that stands still on a full disk loses nothing: it runs on once there is space, and is restarted", async () => {
    await using full = await fullDisk(site.libvirtd, "full-disk");
    const options = { name: "full", behaviour: "obey", onReady: "write", disk: full.disk } as const;
    const guest = await site.startMachine(options);
    await waitForStatus(site.api, "full", "domain.reason", "IOError");
    await full.makeSpace();
    await request("full", patient);
    const { lastRestart } = await served("full");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Soft");
    await guest.ready(2);
    assert.ok((await guest.said()).includes("written"), "what it was about to write is lost");
    await site.libvirtd.virsh("destroy", "full");
  });

  for (const [what, begin, end] of [
    ["a backup", beginBackup, (name: string) => site.libvirtd.virsh("domjobabort", name)],
    [
      "the copying of a disk",
      beginCopy,
      (name: string) => site.libvirtd.virsh("blockjob", name, "vda", "--abort"),
    ],
  ] as const) {
    test(`${what} is not broken off: the restart waits, and is served when it ends`, async () => {
      const name = what.replaceAll(" ", "-");
      const path = `${site.libvirtd.directory}/${name}.qcow2`;
      await run("qemu-img", ["create", "-q", "-f", "qcow2", path, "64M"]);
      await run("qemu-io", ["-c", "write -P 7 0 64M", path]);
      const disk = { path, format: "qcow2" } as const;
      const guest = await site.startMachine({ name, behaviour: "obey", disk });
      await begin(name);
      await request(name, patient);
      await waits(name, "JobRunning");
      assert.deepEqual(effectsOn(name), []);
      await end(name);
      const { lastRestart } = await served(name);
      assert.equal(lastRestart?.result, "Succeeded");
      assert.equal(lastRestart.method, "Soft");
      await guest.ready(2);
    });
  }

  /** A backup that lasts until it is ended. */
  async function beginBackup(name: string): Promise<void> {
    const { libvirtd } = site;
    const file = `${libvirtd.directory}/${name}-job.xml`;
    await writeFile(
      file,
      `<domainbackup mode='pull'><server transport='unix' socket='${libvirtd.directory}/${name}.sock'/><disks>
        <disk name='vda' backup='yes' type='file'><scratch file='${libvirtd.directory}/${name}-scratch'/></disk>
      </disks></domainbackup>`,
    );
    await libvirtd.virsh("backup-begin", name, file);
  }

  /** A copy that lasts longer than the test. */
  async function beginCopy(name: string): Promise<void> {
    const { libvirtd } = site;
    const destination = ["--dest", `${libvirtd.directory}/${name}-copy`, "--format", "qcow2"];
    await libvirtd.virsh("blockcopy", name, "vda", ...destination, "--transient-job", "--bandwidth", "1");
  }
});
