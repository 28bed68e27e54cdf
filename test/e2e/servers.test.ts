import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { guestAsked } from "../support/controller.ts";
import { startSite, type Site } from "../support/site.ts";
import {
  patient,
  readVirtualMachine,
  restartByAnnotation,
  virtualMachine,
  waitForCondition,
  waitForStatus,
} from "../support/warmboot.ts";
import { hostRebooted } from "../faults/server-faults.ts";

// What the faults are at every point of a restart is in test/faults/servers.test.ts.
describe("servers that fail", { concurrency: 2 }, () => {
  describe("etcd is restored to a backup that does not know the resource", { concurrency: 1 }, () => {
    let site: Site;
    before(async () => {
      site = await startSite();
    });
    after(() => site[Symbol.asyncDispose]());

    const request = (name: string) =>
      site.api.apply(virtualMachine(name, { restartPolicy: patient, restartGeneration: 1 }));

    test("after its restart was served: created again, it restarts nothing, whichever controller looks at it", async () => {
      const name = "served";
      const backup = await site.api.backUp();
      await using controller = await site.startController();
      const guest = await site.startMachine({ name, behaviour: "obey" }, patient);
      await request(name);
      await waitForStatus(site.api, name, "observedRestartGeneration", 1);
      await guest.ready(2);
      await site.api.restore(backup);
      await request(name);
      await waitForCondition(site.api, name, "Ready");
      await controller.stop();
      await using next = await site.startController("--log-level", "debug");
      await next.logged((line) => line.name === name && line.msg === "nothing is requested");
      // A request that is new is served, and shows that nothing was done before it.
      const { lastRestart, history } = await restartByAnnotation(site.api, name);
      assert.equal(lastRestart?.result, "Succeeded");
      assert.equal(history?.length, 1);
      await guest.ready(3);
      assert.equal((await guest.boots()).length, 3);
    });

    test("in the middle of its restart: the guest is started all the same, and once", async () => {
      const name = "forgotten";
      const backup = await site.api.backUp();
      await using controller = await site.startController();
      const guest = await site.startMachine({ name, behaviour: "obey-after=10" }, patient);
      await request(name);
      await guestAsked(controller, name);
      await site.api.restore(backup);
      await guest.ready(2);
      await request(name);
      await waitForCondition(site.api, name, "Ready");
      assert.equal((await readVirtualMachine(site.api, name)).status.observedRestartGeneration, 1);
      assert.equal((await guest.boots()).length, 2);
    });
  });

  describe("of a hypervisor", { concurrency: 1 }, () => {
    let site: Site;
    before(async () => {
      site = await startSite({ small: { run: "2m" } });
    });
    after(() => site[Symbol.asyncDispose]());

    test("its run directory stays full: the guest is left alone, and the request fails and says why", async () => {
      const name = "cramped";
      await using controller = await site.startController();
      const guest = await site.startMachine({ name, behaviour: "obey" });
      const makeRoom = await site.libvirtd.fill("run");
      const { lastRestart } = await restartByAnnotation(site.api, name);
      assert.equal(lastRestart?.result, "Failed");
      assert.equal(lastRestart.reason, "MarkRefused");
      assert.match(lastRestart.message, /No space left on device/);
      assert.ok(
        controller.lines.every(({ effect }) => effect !== "Shutdown"),
        "the guest was asked to shut down",
      );
      assert.equal((await guest.boots()).length, 1);
      await makeRoom();
      assert.equal((await restartByAnnotation(site.api, name)).lastRestart?.method, "Soft");
      await guest.ready(2);
      assert.equal((await guest.boots()).length, 2);
    });

    test("its host reboots: what a restart had stopped or would have is started, what starts by itself starts once, and nothing else is touched", async () => {
      await using controller = await site.startController();
      const machine = (name: string) => site.startMachine({ name, behaviour: "deaf" }, patient);
      const [requested, autostarted, resting] = await Promise.all(
        ["requested", "autostarted", "resting"].map(machine),
      );
      assert.ok(requested && autostarted && resting);
      await site.libvirtd.virsh("autostart", "autostarted");
      const beingAsked = Promise.all(
        ["requested", "autostarted"].map((name) => guestAsked(controller, name)),
      );
      for (const name of ["requested", "autostarted"])
        await site.api.apply(virtualMachine(name, { restartPolicy: patient, restartGeneration: 1 }));
      await beingAsked;
      await controller.kill();
      await (
        await hostRebooted(site.libvirtd)
      )();
      await using next = await site.startController();
      for (const guest of [requested, autostarted]) {
        await waitForStatus(site.api, guest.name, "observedRestartGeneration", 1);
        const { lastRestart } = (await readVirtualMachine(site.api, guest.name)).status;
        assert.equal(lastRestart?.result, "Succeeded");
        await guest.ready(2);
        assert.equal((await guest.boots()).length, 2);
      }
      await waitForStatus(site.api, "resting", "domain.state", "Shutoff");
      assert.match(await site.libvirtd.virsh("domstate", "resting"), /shut off/);
      const done = next.lines.flatMap(({ name, effect, outcome }) =>
        outcome === undefined || effect === "Settle" ? [] : [`${name} ${effect}`],
      );
      assert.deepEqual(done, ["requested Start"]);
    });
  });
});
