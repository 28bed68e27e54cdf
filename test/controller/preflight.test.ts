import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Finding } from "../../controller/finding.ts";
import type { World } from "../simulation/world.ts";
import { condition, effects, ends, lastRestart, settledWorld } from "./settled-world.ts";

const hard = { restartPolicy: { mode: "Hard" } };
const detach = { restartPolicy: { mode: "Hard", onUnavailableVolume: "Detach" } };

const diskMissing: Finding = {
  reason: "DiskMissing",
  path: "devices/disk[2]/source",
  message: "disk vdb: /images/vdb.qcow2 does not exist",
  remedy: "put it back",
  disk: "vdb",
};
const poolInactive: Finding = {
  reason: "PoolInactive",
  path: "devices/disk[1]/source",
  message: "pool images is not active",
  remedy: "virsh pool-start images",
  repair: { kind: "StartPool", pool: "images" },
};
const networkInactive: Finding = {
  reason: "NetworkInactive",
  path: "devices/interface[1]/source",
  message: "network lab is not active",
  remedy: "virsh net-start lab",
  repair: { kind: "StartNetwork", network: "lab" },
};

const reasons = (world: World) => world.api.notices.map(({ reason }) => reason);

async function requested(spec: Record<string, unknown>, lacks: Finding[], off = false): Promise<World> {
  const world = await settledWorld(spec, { off });
  world.hypervisor.host.lacks = lacks;
  world.api.apply({ restartGeneration: 1 });
  return world;
}

describe("what a start needs is there before anything happens to the guest", () => {
  for (const [mode, done] of [
    ["Hard", "Mark Destroy Start Settle"],
    ["Soft", "Mark Shutdown Start Settle"],
    ["Auto", "Mark Shutdown Start Settle"],
  ])
    test(`mode ${mode}: what can be mended is mended first, told by an Event each and named in the record`, async () => {
      const world = await requested({ restartPolicy: { mode } }, [poolInactive, networkInactive]);
      await world.settle();
      assert.equal(effects(world), `Repair Repair ${done}`);
      assert.deepEqual(world.hypervisor.host.repaired, ["StartPool images", "StartNetwork lab"]);
      assert.equal(world.status.lastRestart?.result, "Succeeded");
      assert.deepEqual(world.status.lastRestart.repairs, ["started pool images", "started network lab"]);
      assert.deepEqual(reasons(world).slice(0, 2), ["StartRepaired", "StartRepaired"]);
    });

  for (const [what, off] of [
    ["a guest keeps running", false],
    ["a domain that is off stays off", true],
  ] as const)
    test(`what cannot be mended is told with its remedy, and ${what} until it is`, async () => {
      const world = await requested(hard, [{ ...diskMissing, disk: undefined }], off);
      await world.settle(3_600_000);
      assert.equal(effects(world), "");
      assert.equal(condition(world, "Stalled"), "True PreflightFailed");
      assert.equal(condition(world, "Reconciling"), "absent");
      const { repair: _none, disk: _any, ...told } = diskMissing;
      assert.deepEqual(world.status.findings, [told]);
      assert.match(world.status.conditions?.[0]?.message ?? "", /vdb.qcow2 does not exist.*put it back/);
      assert.deepEqual(reasons(world), ["RestartBlocked"]);
      assert.equal(world.status.observedRestartGeneration, 0);
      world.hypervisor.host.lacks = [];
      await world.settle(60_000);
      assert.equal(lastRestart(world), off ? "Succeeded Start" : "Succeeded Hard");
      assert.equal(world.status.findings, undefined);
      assert.equal(condition(world, "Ready"), "True Restarted");
    });

  test("what is found missing later, for the same reason, is told by an Event of its own", async () => {
    const first = { ...diskMissing, disk: undefined };
    const other = { ...first, path: "devices/disk[9]/source", message: "another file does not exist" };
    const world = await requested(hard, [first]);
    await world.settle(120_000);
    assert.deepEqual(reasons(world), ["RestartBlocked"]);
    world.hypervisor.host.lacks = [first, other];
    await world.settle(120_000);
    world.hypervisor.host.lacks = [other];
    await world.settle(120_000);
    assert.deepEqual(reasons(world), ["RestartBlocked", "RestartBlocked"]);
    assert.match(world.api.notices.at(-1)?.note ?? "", /another file does not exist/);
  });

  test("a repair that libvirt refuses is told, and tried again a minute later", async () => {
    const world = await settledWorld(hard);
    const { host } = world.hypervisor;
    host.lacks = [networkInactive];
    host.refusedRepairs.set("StartNetwork lab", "bridge virbr7 is taken");
    world.api.apply({ restartGeneration: 1 });
    await world.settle(3_590_000);
    assert.match(effects(world), /^Repair( Repair){50,60}$/);
    assert.deepEqual(reasons(world), ["StartRepaired", "RestartBlocked"]);
    assert.equal(world.api.writes.length, 2);
    assert.match(world.status.findings?.[0]?.message ?? "", /bridge virbr7 is taken/);
    host.refusedRepairs.clear();
    await world.settle();
    assert.match(effects(world), / Repair Mark Destroy Start Settle$/);
  });

  test("a request that waits for a host fails at its deadline, and the guest was never touched", async () => {
    const world = await requested({ restartPolicy: { mode: "Hard", deadlineSeconds: 90 } }, [diskMissing]);
    await world.settle();
    assert.equal(lastRestart(world), "Failed DeadlineExceeded");
    assert.equal(effects(world), "");
    assert.match(world.status.lastRestart?.message ?? "", /vdb.qcow2/);
  });

  test("a deaf guest that lost its disk while it was asked keeps its power", async () => {
    const world = await settledWorld({}, { guest: { kind: "Deaf" } });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(60_000);
    world.hypervisor.host.lacks = [diskMissing];
    await world.settle(600_000);
    assert.deepEqual(ends(world), [undefined]);
    assert.equal(condition(world, "Stalled"), "True PreflightFailed");
    world.hypervisor.host.lacks = [];
    await world.settle();
    assert.equal(lastRestart(world), "Succeeded Hard");
  });

  test("a guest that was paused for an hour is not asked before all is there", async () => {
    const world = await settledWorld({}, { guest: { kind: "Deaf" } });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1000);
    world.hypervisor.pause();
    await world.settle(3_600_000);
    world.hypervisor.host.lacks = [diskMissing];
    world.hypervisor.resume();
    await world.settle(60_000);
    assert.equal(effects(world), "Mark Shutdown");
    assert.equal(condition(world, "Stalled"), "True PreflightFailed");
    world.hypervisor.host.lacks = [];
    await world.settle(60_000);
    assert.equal(effects(world), "Mark Shutdown Shutdown");
  });

  test("a guest that another process has left is not asked before all is there", async () => {
    const world = await settledWorld({}, { guest: { kind: "Deaf" } });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1000);
    world.hypervisor.host.lacks = [networkInactive];
    world.restartController();
    await world.settle(1000);
    assert.equal(effects(world), "Mark Shutdown Repair Shutdown");
  });

  test("a paused domain that cannot be reset keeps its power", async () => {
    const world = await settledWorld({ restartPolicy: { mode: "Hard", hard: { via: "Reset" } } });
    world.hypervisor.host.lacks = [diskMissing];
    world.hypervisor.pause();
    world.api.apply({ restartGeneration: 1 });
    await world.settle(600_000);
    assert.deepEqual(ends(world), [undefined]);
    assert.equal(condition(world, "Stalled"), "True PreflightFailed");
  });

  test("who knows better lets one request through", async () => {
    const world = await settledWorld(hard);
    const { host } = world.hypervisor;
    host.lacks = [{ ...diskMissing, disk: undefined }];
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1000);
    assert.equal(effects(world), "");
    host.isMistaken = true;
    world.api.annotate({ skipPreflight: "1" });
    await world.settle();
    assert.equal(lastRestart(world), "Succeeded Hard");
  });

  test("a domain that is not there and cannot be defined ends its request with libvirt's words", async () => {
    const world = await settledWorld({ definition: { xml: "first" } }, { off: true });
    world.hypervisor.undefine();
    world.hypervisor.refusesToDefine = "domain 'vm' already exists with uuid 7";
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(lastRestart(world), "Failed DefineRefused");
    assert.match(world.status.lastRestart?.message ?? "", /already exists with uuid 7/);
  });

  test("a restart in place needs nothing of the host", async () => {
    const policy = { mode: "Soft", soft: { via: "Reboot" } };
    const world = await requested({ restartPolicy: policy }, [diskMissing]);
    await world.settle();
    assert.equal(lastRestart(world), "Succeeded Soft");
  });
});

describe("a start that fails after the guest has gone off", () => {
  test("is tried again at once when what went away meanwhile is mended", async () => {
    const world = await settledWorld();
    const { hypervisor } = world;
    hypervisor.beforeEffect = (effect) => {
      if (effect === "Start" && hypervisor.host.repaired.length === 0)
        hypervisor.host.lacks = [networkInactive];
    };
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(effects(world), "Mark Shutdown Start Repair Start Settle");
    assert.equal(lastRestart(world), "Succeeded Soft");
    assert.deepEqual(world.status.lastRestart?.repairs, ["started network lab"]);
  });

  test("knows no deadline: the guest is started when what it lacks is there again", async () => {
    for (const mode of ["Soft", "Hard"]) {
      const world = await settledWorld({ restartPolicy: { mode, deadlineSeconds: 20 } });
      const { hypervisor } = world;
      hypervisor.beforeEffect = (effect) => {
        if (effect === "Start" && hypervisor.effects.filter((one) => one === "Start").length === 1)
          hypervisor.host.lacks = [diskMissing];
      };
      world.api.apply({ restartGeneration: 1 });
      await world.settle(600_000);
      assert.equal(condition(world, "Stalled"), "True PreflightFailed");
      assert.equal(world.status.history, undefined);
      hypervisor.host.lacks = [];
      await world.settle();
      assert.equal(lastRestart(world), `Succeeded ${mode}`);
    }
  });

  test("needs no definition: the domain starts with the configuration that it has", async () => {
    for (const broken of [undefined, ""]) {
      const world = await settledWorld({ definition: { configMapKeyRef: { name: "vm", key: "xml" } } });
      world.api.changeConfigMap("second");
      world.hypervisor.faults.push({ effect: "Start", fault: { kind: "Refused", message: "as planned" } });
      world.hypervisor.beforeEffect = (effect) => {
        if (effect === "Start") world.api.changeConfigMap(broken);
      };
      world.api.apply({ restartGeneration: 1 });
      await world.settle(600_000);
      assert.equal(effects(world), "Define Mark Shutdown Start Start Settle");
      assert.equal(lastRestart(world), "Succeeded Soft");
    }
  });

  test("is not tried again before what is missing is mended, also where that could not be sent", async () => {
    const world = await settledWorld();
    const { hypervisor } = world;
    hypervisor.faults.push({ effect: "Repair", fault: { kind: "NotSent", message: "as planned" } });
    hypervisor.beforeEffect = (effect) => {
      if (effect === "Start" && !hypervisor.effects.includes("Repair"))
        hypervisor.host.lacks = [networkInactive];
    };
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(effects(world), "Mark Shutdown Start Repair Repair Start Settle");
  });

  test("waits for what cannot be mended, and the guest is started when it is there again", async () => {
    const world = await settledWorld();
    const { hypervisor } = world;
    hypervisor.beforeEffect = (effect) => {
      if (effect === "Shutdown") hypervisor.host.lacks = [diskMissing];
    };
    world.api.apply({ restartGeneration: 1 });
    await world.settle(600_000);
    // What is missing may be an error of ours, so that it is tried once a minute all the same.
    assert.match(effects(world), /^Mark Shutdown( Start){9,11}$/);
    assert.equal(condition(world, "Stalled"), "True PreflightFailed");
    hypervisor.host.lacks = [];
    await world.settle();
    assert.equal(lastRestart(world), "Succeeded Soft");
  });
});

describe("a disk that cannot be had, with onUnavailableVolume: Detach", () => {
  test("is left out, told, and plugged in when it is back", async () => {
    const world = await requested(detach, [diskMissing]);
    await world.settle();
    assert.equal(lastRestart(world), "Succeeded Hard");
    assert.match(world.status.lastRestart?.message ?? "", /without vdb/);
    assert.equal(condition(world, "VolumesDegraded"), "True DisksLeftOut");
    assert.equal(condition(world, "RestartRequired"), "True ConfigurationChanged");
    assert.deepEqual(world.status.detachedVolumes, [
      { disk: "vdb", reason: "DiskMissing", message: diskMissing.message },
    ]);
    world.hypervisor.host.lacks = [];
    await world.rest(60_000);
    assert.equal(effects(world), "Mark Destroy Start Settle AttachDisk");
    assert.equal(condition(world, "VolumesDegraded"), "absent");
    assert.equal(world.status.detachedVolumes, undefined);
    assert.equal(condition(world, "RestartRequired"), "False UpToDate");
  });

  test("is left out without a wait by the next process, too, whose start with it is refused", async () => {
    const world = await requested(detach, [diskMissing]);
    // After the second effect: the guest is off, and nobody knows any more what was to be left out.
    world.crashAtPoint = 3;
    await world.settle(500);
    assert.equal(world.crashAtPoint, undefined, "it died");
    assert.equal(effects(world), "Mark Destroy Start Start Settle");
    assert.equal(lastRestart(world), "Succeeded Hard");
  });

  test("is told, and comes back, also where the process that started the domain is gone", async () => {
    const world = await settledWorld(detach);
    world.hypervisor.host.lacks = [diskMissing];
    world.crashAtPoint = 5;
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(effects(world), "Mark Destroy Start Settle");
    assert.equal(condition(world, "VolumesDegraded"), "True DisksLeftOut");
    world.hypervisor.host.lacks = [];
    await world.rest(60_000);
    assert.equal(condition(world, "VolumesDegraded"), "absent");
    assert.deepEqual(world.hypervisor.running?.startedWith.without, []);
  });

  test("is still told when its boot is reset, without marks", async () => {
    const restartPolicy = {
      onUnavailableVolume: "Detach",
      marks: "None",
      hard: { via: "Reset" },
      verifyGuest: { timeoutSeconds: 30 },
    };
    const world = await requested({ restartPolicy }, [diskMissing], true);
    await world.settle();
    world.hypervisor.guest = { kind: "Deaf" };
    world.hypervisor.host.unpluggable.add("vdb");
    world.hypervisor.host.lacks = [];
    world.api.apply({ restartGeneration: 2 });
    await world.settle();
    assert.equal(lastRestart(world), "Failed Hard GuestNotReady");
    assert.equal(condition(world, "VolumesDegraded"), "True DisksLeftOut");
  });

  test("is told by another process where a boot that was to reboot in place had to be started", async () => {
    const restartPolicy = { onUnavailableVolume: "Detach", soft: { via: "Reboot" } };
    const world = await settledWorld({ restartPolicy }, { guest: { kind: "Deaf" } });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1000);
    world.hypervisor.host.lacks = [diskMissing];
    world.crashAtPoint = 3;
    world.hypervisor.stop("Destroyed");
    await world.settle();
    assert.deepEqual(world.hypervisor.running?.startedWith.without, ["vdb"]);
    assert.equal(condition(world, "VolumesDegraded"), "True DisksLeftOut");
  });

  test("is still told when a request ends that never came to anything", async () => {
    for (const marks of ["Domain", "None"]) {
      const world = await requested(
        { restartPolicy: { ...detach.restartPolicy, marks, deadlineSeconds: 20 } },
        [diskMissing],
      );
      await world.settle();
      world.hypervisor.host.lacks = [diskMissing, { ...diskMissing, disk: undefined }];
      world.api.apply({ restartGeneration: 2 });
      await world.settle(30_000);
      assert.equal(lastRestart(world), "Failed DeadlineExceeded");
      assert.equal(condition(world, "VolumesDegraded"), "True DisksLeftOut");
    }
  });

  test("is still told when its boot is rebooted in place", async () => {
    for (const marks of ["Domain", "None"]) {
      const restartPolicy = { onUnavailableVolume: "Detach", marks, soft: { via: "Reboot" } };
      const world = await requested({ restartPolicy }, [diskMissing], true);
      await world.settle();
      assert.deepEqual(world.hypervisor.running?.startedWith.without, ["vdb"]);
      world.api.apply({ restartGeneration: 2 });
      await world.settle(30_000);
      assert.equal(lastRestart(world), "Succeeded Soft");
      assert.equal(condition(world, "VolumesDegraded"), "True DisksLeftOut");
    }
  });

  test("comes back at the next restart, where libvirt cannot plug it in", async () => {
    const world = await requested(detach, [diskMissing]);
    world.hypervisor.host.unpluggable.add("vdb");
    await world.settle();
    world.hypervisor.host.lacks = [];
    await world.rest(60_000);
    await world.rest(60_000);
    assert.equal(effects(world), "Mark Destroy Start Settle AttachDisk");
    assert.equal(condition(world, "VolumesDegraded"), "True DisksLeftOut");
    world.api.apply({ restartGeneration: 2 });
    await world.settle();
    assert.equal(condition(world, "VolumesDegraded"), "absent");
    assert.deepEqual(world.hypervisor.running?.startedWith.without, []);
  });

  test("is plugged in soon again where the connection was lost meanwhile", async () => {
    for (const kind of ["Unanswered", "NotSent"] as const) {
      const world = await requested(detach, [diskMissing]);
      await world.settle();
      const fault = { kind, message: "the connection was lost", applied: false };
      world.hypervisor.faults.push({ effect: "AttachDisk", fault });
      world.hypervisor.host.lacks = [];
      await world.rest(60_000);
      assert.equal(effects(world), "Mark Destroy Start Settle AttachDisk");
      assert.equal(condition(world, "VolumesDegraded"), "True DisksLeftOut");
      await world.rest(60_000);
      assert.equal(effects(world), "Mark Destroy Start Settle AttachDisk AttachDisk");
      assert.equal(condition(world, "VolumesDegraded"), "absent");
    }
  });

  test("is not left out where it is the boot disk", async () => {
    const world = await requested(detach, [{ ...diskMissing, disk: undefined }]);
    await world.settle(600_000);
    assert.equal(effects(world), "");
    assert.equal(condition(world, "Stalled"), "True PreflightFailed");
  });

  test("is had again when somebody else starts the domain", async () => {
    const world = await requested(detach, [diskMissing]);
    await world.settle();
    world.hypervisor.host.lacks = [];
    world.hypervisor.stop("Destroyed");
    await world.settle();
    world.hypervisor.start();
    await world.settle();
    assert.equal(condition(world, "VolumesDegraded"), "absent");
  });
});

describe("a definition", () => {
  const defined = (xml: string, more: object = {}) => ({ definition: { xml }, ...more });

  test("that differs is told and restarts nothing; a restart makes it the configuration before the guest is asked", async () => {
    const world = await settledWorld();
    assert.equal(condition(world, "RestartRequired"), "False UpToDate");
    world.api.apply(defined("second"));
    await world.settle(3_600_000);
    assert.equal(effects(world), "");
    assert.equal(condition(world, "RestartRequired"), "True ConfigurationChanged");
    assert.deepEqual(world.status.pendingChanges, ["first -> second"]);
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(effects(world), "Define Mark Shutdown Start Settle");
    assert.equal(world.hypervisor.running?.startedWith.configuration, "second");
    assert.equal(condition(world, "RestartRequired"), "False UpToDate");
    assert.deepEqual(world.status.pendingChanges, []);
  });

  test("that cannot be used leaves the guest alone", async () => {
    const world = await settledWorld();
    world.api.apply({ definition: { configMapKeyRef: { name: "vm", key: "xml" } }, restartGeneration: 1 });
    await world.settle(600_000);
    assert.equal(effects(world), "");
    assert.equal(condition(world, "Stalled"), "True PreflightFailed");
    assert.equal(condition(world, "RestartRequired"), "Unknown DefinitionUnavailable");
    assert.equal(world.status.findings?.[0]?.reason, "DefinitionUnavailable");
  });

  test("that libvirt does not start makes way for the one before, and the result says so", async () => {
    const world = await settledWorld();
    world.hypervisor.host.unstartable.add("second");
    world.api.apply(defined("second", { restartGeneration: 1 }));
    await world.settle();
    assert.equal(effects(world), "Define Mark Shutdown Start Start Start RollBack Start Settle");
    assert.equal(lastRestart(world), "Failed Soft DefinitionRolledBack");
    assert.match(world.status.lastRestart?.message ?? "", /cannot start second/);
    const { startedAt, endedAt } = world.status.lastRestart ?? { startedAt: "", endedAt: "" };
    assert.equal(Date.parse(endedAt) - Date.parse(startedAt), 3200);
    assert.equal(world.hypervisor.running?.startedWith.configuration, "first");
    assert.equal(condition(world, "Stalled"), "True RestartFailed");
    assert.equal(condition(world, "RestartRequired"), "True ConfigurationChanged");
    assert.ok(reasons(world).includes("DefinitionRolledBack"));
  });

  test("that cannot be used is told so until it is corrected", async () => {
    const world = await settledWorld({ definition: { configMapKeyRef: { name: "vm", key: "xml" } } });
    world.api.changeConfigMap("");
    await world.settle();
    assert.equal(condition(world, "RestartRequired"), "Unknown DefinitionInvalid");
    world.enqueue();
    await world.settle();
    assert.equal(condition(world, "RestartRequired"), "Unknown DefinitionInvalid");
    world.api.changeConfigMap("first");
    await world.settle();
    assert.equal(condition(world, "RestartRequired"), "False UpToDate");
  });

  test("that libvirt does not start makes way also where its process died before it was on record", async () => {
    const world = await settledWorld();
    world.hypervisor.host.unstartable.add("second");
    world.crashAtPoint = 1;
    world.api.apply(defined("second", { restartGeneration: 1 }));
    await world.settle();
    assert.equal(effects(world), "Define Mark Shutdown Start Start Start RollBack Start Settle");
    assert.equal(lastRestart(world), "Failed Soft DefinitionRolledBack");
  });

  test("that libvirt does not start makes way also where an earlier restart had made it the configuration", async () => {
    const world = await settledWorld(defined("second", { restartPolicy: { mode: "Soft" } }), {
      guest: { kind: "Deaf" },
    });
    world.hypervisor.host.unstartable.add("second");
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(lastRestart(world), "Failed Soft GuestShutdownTimedOut");
    world.api.apply({ restartGeneration: 2, restartPolicy: { mode: "Hard" } });
    await world.settle();
    assert.equal(lastRestart(world), "Failed Hard DefinitionRolledBack");
    assert.equal(world.hypervisor.running?.startedWith.configuration, "first");
  });

  test("does not make way where something else kept the domain from starting", async () => {
    for (const onUnavailableVolume of ["Fail", "Detach"]) {
      const world = await settledWorld(defined("second", { restartPolicy: { onUnavailableVolume } }));
      const { hypervisor } = world;
      const fault = { kind: "Refused", message: "as planned" } as const;
      hypervisor.faults.push({ effect: "Start", fault }, { effect: "Start", fault });
      let starts = 0;
      hypervisor.beforeEffect = (effect) => {
        if (effect === "Start") starts += 1;
        if (starts === 3) hypervisor.host.lacks = [diskMissing];
      };
      world.api.apply({ restartGeneration: 1 });
      await world.settle(60_000);
      hypervisor.host.lacks = [];
      await world.settle();
      assert.equal(effects(world), "Define Mark Shutdown Start Start Start Start Settle");
      assert.equal(lastRestart(world), "Succeeded Soft");
    }
  });

  test("that libvirt does not start makes way also for a guest that obeys too late, without marks", async () => {
    const world = await settledWorld(
      defined("second", { restartPolicy: { mode: "Soft", marks: "None", soft: { timeoutSeconds: 5 } } }),
      { guest: { kind: "Obeys", afterMs: 20_000 } },
    );
    world.hypervisor.host.unstartable.add("second");
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(world.status.lastRestart?.reason, "DefinitionRolledBack");
    assert.equal(world.hypervisor.running?.startedWith.configuration, "first");
  });

  for (const [what, fault] of [
    ["cannot be rolled back at once", { kind: "NotSent", message: "as planned" }],
    [
      "cannot be rolled back, as something holds the domain,",
      { kind: "Refused", message: "held", cause: "Busy" },
    ],
  ] as const)
    test(`that ${what} is rolled back before another start is tried`, async () => {
      const world = await settledWorld();
      world.hypervisor.host.unstartable.add("second");
      world.hypervisor.faults.push({ effect: "RollBack", fault });
      world.api.apply(defined("second", { restartGeneration: 1 }));
      await world.settle();
      assert.equal(effects(world), "Define Mark Shutdown Start Start Start RollBack RollBack Start Settle");
      assert.match(world.status.lastRestart?.message ?? "", /cannot start second/);
    });

  test("that was applied by nobody knows whom makes way for the one before, also where its guest is off", async () => {
    const world = await settledWorld();
    world.hypervisor.host.unstartable.add("second");
    // The process died, and the host lost its power, before a mark told of the restart.
    world.hypervisor.host.define("second");
    world.hypervisor.stop("Crashed");
    world.api.apply(defined("second", { restartGeneration: 1 }));
    await world.settle();
    assert.equal(effects(world), "Mark Start Start Start RollBack Start Settle");
    assert.equal(lastRestart(world), "Failed Start DefinitionRolledBack");
    assert.equal(world.hypervisor.running?.startedWith.configuration, "first");
  });

  test("that a reset in place has not booted can still make way for the one before", async () => {
    const restartPolicy = { hard: { via: "Reset" }, soft: { timeoutSeconds: 1 } };
    const world = await settledWorld({ restartPolicy }, { guest: { kind: "Deaf" } });
    world.hypervisor.host.unstartable.add("second");
    world.api.apply(defined("second", { restartPolicy, restartGeneration: 1 }));
    await world.settle();
    assert.equal(lastRestart(world), "Succeeded Hard");
    world.hypervisor.stop("Destroyed");
    world.api.apply({ restartGeneration: 2 });
    await world.settle();
    assert.equal(lastRestart(world), "Failed Start DefinitionRolledBack");
    assert.equal(world.hypervisor.running?.startedWith.configuration, "first");
  });

  test("that is rolled back without an answer is told as rolled back", async () => {
    const world = await settledWorld();
    world.hypervisor.host.unstartable.add("second");
    world.hypervisor.faults.push({
      effect: "RollBack",
      fault: { kind: "Unanswered", message: "as planned", applied: true },
    });
    world.api.apply(defined("second", { restartGeneration: 1 }));
    await world.settle();
    assert.equal(lastRestart(world), "Failed Soft DefinitionRolledBack");
  });

  test("that is rolled back by a process that dies is told as rolled back by the next one", async () => {
    const world = await settledWorld();
    world.hypervisor.host.unstartable.add("second");
    world.hypervisor.beforeEffect = (effect) => {
      if (effect === "Start" && world.hypervisor.host.configuration === "first") world.restartController();
    };
    world.api.apply(defined("second", { restartGeneration: 1 }));
    await world.settle();
    assert.equal(world.status.lastRestart?.reason, "DefinitionRolledBack");
  });

  test("brings back a domain that is gone when a restart is requested, and not before", async () => {
    const world = await settledWorld(defined("first"), { off: true });
    world.hypervisor.undefine();
    await world.settle();
    assert.equal(condition(world, "Bound"), "False DomainNotFound");
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(lastRestart(world), "Succeeded Start");
    assert.equal(condition(world, "Bound"), "True DomainFound");
  });

  test("brings back a domain that is undefined and goes off in the middle of its restart", async () => {
    const world = await settledWorld(defined("first"), { guest: { kind: "Deaf" } });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1000);
    world.hypervisor.undefine();
    world.hypervisor.stop("Destroyed");
    await world.settle();
    assert.equal(world.status.lastRestart?.result, "Succeeded");
    assert.deepEqual(ends(world), ["Destroyed", undefined]);
  });

  test("is applied to a domain that is off, whatever the policy says of one that runs", async () => {
    const policy = { soft: { via: "Reboot" } };
    const world = await settledWorld(defined("second", { restartPolicy: policy }), { off: true });
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(effects(world), "Define Mark Start Settle");
  });

  test("is applied by a restart in place that ends in a power cycle, and on record before the power is cut", async () => {
    const world = await settledWorld(defined("second", { restartPolicy: { soft: { via: "Reboot" } } }), {
      guest: { kind: "Deaf" },
    });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(119_000);
    world.hypervisor.effects.length = 0;
    await world.settle();
    assert.equal(effects(world), "Define Mark Destroy Start Settle");
    assert.equal(world.hypervisor.running?.startedWith.configuration, "second");
    assert.equal(world.hypervisor.nextMark?.definition, "Applied");
  });

  test("is applied before the power is cut, also where a repair could not be sent at first", async () => {
    const world = await settledWorld(defined("second", { restartPolicy: { soft: { via: "Reboot" } } }), {
      guest: { kind: "Deaf" },
    });
    world.hypervisor.faults.push({ effect: "Repair", fault: { kind: "NotSent", message: "as planned" } });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(60_000);
    const { host } = world.hypervisor;
    host.lacks = [networkInactive];
    host.refusedRepairs.set("StartNetwork lab", "bridge virbr7 is taken");
    await world.settle(90_000);
    host.lacks = [];
    await world.settle();
    assert.equal(world.hypervisor.running?.startedWith.configuration, "second");
  });

  test("is applied to a domain that takes no marks any more, whose power is cut all the same", async () => {
    const agent = { connectedAfterMs: 2000, answers: true, obeys: false };
    const world = await settledWorld(defined("second", { restartPolicy: { soft: { via: "Reboot" } } }), {
      guest: { kind: "Deaf", agent },
    });
    world.api.apply({ restartGeneration: 1 });
    await world.settle(1000);
    world.restartController();
    await world.settle(1000);
    world.hypervisor.hangs = true;
    await world.settle();
    assert.equal(lastRestart(world), "Succeeded Hard");
    assert.deepEqual(ends(world), ["Destroyed", undefined]);
    assert.equal(world.hypervisor.running?.startedWith.configuration, "second");
  });

  test("that libvirt refuses at first is applied all the same before the power is cut", async () => {
    const world = await settledWorld(defined("second", { restartPolicy: { soft: { via: "Reboot" } } }), {
      guest: { kind: "Deaf" },
    });
    world.hypervisor.faults.push({ effect: "Define", fault: { kind: "Refused", message: "as planned" } });
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(world.hypervisor.running?.startedWith.configuration, "second");
  });

  test("is not applied by a restart in place", async () => {
    const world = await settledWorld(defined("second", { restartPolicy: { soft: { via: "Reboot" } } }));
    world.api.apply({ restartGeneration: 1 });
    await world.settle();
    assert.equal(effects(world), "Mark Reboot Settle");
    assert.equal(condition(world, "RestartRequired"), "True ConfigurationChanged");
  });
});

describe("a change of the configuration that libvirt tells by no event", () => {
  test("is found within five minutes, and costs no look before", async () => {
    const world = await settledWorld();
    world.hypervisor.host.configuration = "second";
    await world.rest(200_000);
    assert.equal(condition(world, "RestartRequired"), "False UpToDate");
    await world.rest(100_000);
    assert.equal(condition(world, "RestartRequired"), "True ConfigurationChanged");
  });
});
