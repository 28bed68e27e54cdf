import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { startApiServer } from "../support/apiserver.ts";
import { boots, guestReady, guestSays } from "../support/guest.ts";
import { watchEvents, type EventWatch } from "../support/libvirt-events.ts";
import { startLibvirtd, type Libvirtd } from "../support/libvirtd.ts";
import { startGuest } from "../support/start-guest.ts";

suite("the API server", () => {
  test("starts, answers kubectl and keeps its data when it is restarted or killed", async () => {
    await using server = await startApiServer();
    await server.apply(configMap("kept"));
    await server.restart();
    assert.equal(await server.kubectl("get", "configmap", "kept", "-o", "name"), "configmap/kept\n");
    await server.kill();
    assert.equal(await server.apiServer.exited(), "KILL");
    await server.startApiServer();
    assert.equal(await server.kubectl("get", "configmap", "kept", "-o", "name"), "configmap/kept\n");
  });

  test("says which version it is, and so does kubectl", async () => {
    await using server = await startApiServer();
    const version = await server.kubectl("version");
    assert.match(version, /^Client Version: v1\.\d+\.\d+/m);
    assert.match(version, /^Server Version: v1\.\d+\.\d+/m);
  });

  test("lets a user do what RBAC allows and nothing else", async () => {
    await using server = await startApiServer({ users: { reader: ["readers"] } });
    const token = server.tokenFor("reader");
    await server.kubectl("create", "clusterrole", "reader", "--verb=list", "--resource=configmaps");
    await server.kubectl(
      "create",
      "clusterrolebinding",
      "readers",
      "--clusterrole=reader",
      "--group=readers",
    );
    await server.kubectl("get", "configmaps", "--token", token);
    await assert.rejects(server.kubectl("get", "secrets", "--token", token), /forbidden/);
  });
});

suite("libvirtd", () => {
  let libvirtd: Libvirtd;
  let events: EventWatch;
  before(async () => {
    libvirtd = await startLibvirtd();
    events = await watchEvents(libvirtd);
  });
  after(async () => {
    await events.close();
    await libvirtd.close();
  });

  const state = async (name: string) => (await libvirtd.virsh("domstate", name)).trim();
  const pressButton = (name: string) => libvirtd.virsh("shutdown", name, "--mode", "acpi");

  test("has a test driver that answers", async () => {
    assert.match(await libvirtd.virshTest("list"), /test +running/);
  });

  test("keeps an obeying guest's end short: its process is reaped at once", async () => {
    await startGuest(libvirtd, { name: "obey", behaviour: "obey" });
    await pressButton("obey");
    const shutdown = await events.until("obey", "lifecycle Shutdown Finished after guest request");
    const stopped = await events.until("obey", "lifecycle Stopped Shutdown");
    assert.ok(stopped.at.getTime() - shutdown.at.getTime() < 1000, "1.6 s and more if nobody reaps");
  });

  test("sees a guest obey later", async () => {
    const { serialLog } = await startGuest(libvirtd, { name: "later", behaviour: "obey-after=1" });
    await pressButton("later");
    await guestSays(serialLog, "button");
    assert.equal(await state("later"), "running");
    await events.until("later", "lifecycle Stopped Shutdown");
  });

  test("sees a deaf guest go on running", async () => {
    const { serialLog } = await startGuest(libvirtd, { name: "deaf", behaviour: "deaf" });
    await pressButton("deaf");
    await guestSays(serialLog, "button ignored");
    await pressButton("deaf");
    await guestSays(serialLog, "button ignored", 2);
    assert.equal(await state("deaf"), "running");
    assert.equal((await boots(serialLog)).length, 1);
  });

  test("sees a guest that reboots in place boot a second time", async () => {
    const { serialLog } = await startGuest(libvirtd, {
      name: "reboot",
      behaviour: "reboot",
      onReboot: "restart",
    });
    const qemu = await libvirtd.qemuPid("reboot");
    await pressButton("reboot");
    await events.until("reboot", "reboot");
    await guestReady(serialLog, 2);
    const [first, second] = await boots(serialLog);
    assert.notEqual(first, second);
    assert.equal(await libvirtd.qemuPid("reboot"), qemu);
  });

  test("sees a guest panic", async () => {
    await startGuest(libvirtd, { name: "panic", behaviour: "panic", onCrash: "preserve" });
    await pressButton("panic");
    await events.until("panic", "lifecycle Crashed Panicked");
    assert.equal(await state("panic"), "crashed");
  });

  test("finds its guests again after it was killed", async () => {
    const { serialLog } = await startGuest(libvirtd, { name: "survivor", behaviour: "obey" });
    const qemu = await libvirtd.qemuPid("survivor");
    await libvirtd.signal("KILL");
    assert.equal(await libvirtd.exited(), "KILL");
    assert.ok(isAlive(qemu));
    await libvirtd.start();
    assert.equal(await state("survivor"), "running");
    assert.equal(await libvirtd.qemuPid("survivor"), qemu);
    assert.equal((await boots(serialLog)).length, 1);
  });
});

test("everything ends with the process that started it, even if that is killed", async () => {
  const starter = spawn(process.execPath, [join(import.meta.dirname, "..", "support", "start-and-wait.ts")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(starter.stdout, "data")) as [Buffer];
  const { pids, directories } = JSON.parse(line.toString()) as { pids: number[]; directories: string[] };
  assert.equal(pids.length, 4);
  assert.ok(pids.every(isAlive));
  starter.kill("SIGKILL");
  // They are nobody's children here, so there is no event to wait for.
  const deadline = performance.now() + 5000;
  while (pids.some(isAlive) || directories.some((path) => existsSync(path))) {
    assert.ok(
      performance.now() < deadline,
      `left over: ${pids.filter(isAlive).join(" ")} ${directories.join(" ")}`,
    );
    await delay(20);
  }
});

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

function configMap(name: string): string {
  return `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name} }\n`;
}
