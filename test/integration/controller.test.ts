import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { after, before, describe, test, type TestContext } from "node:test";
import { Connection, procedures } from "libvirt";
import type { ApiServer } from "../support/apiserver.ts";
import { startController, startedController, type ControllerProcess } from "../support/controller.ts";
import { startInstallation, type Installation } from "../support/installation.ts";
import type { Libvirtd } from "../support/libvirtd.ts";
import { callOf, isKeepalive, startLibvirtProxy } from "../support/proxies/libvirt-proxy.ts";
import { restartByAnnotation, virtualMachine, waitForCondition, waitForStatus } from "../support/warmboot.ts";

/** Writes to resources of ours that the API server has carried out since it started, whoever made them. */
async function writesSoFar(api: ApiServer): Promise<string[]> {
  const metrics = await api.kubectl("get", "--raw", "/metrics");
  const isOurs = /^apiserver_request_total\{.*resource="(virtualmachines|events)"/;
  const isWrite = /verb="(POST|PUT|PATCH|APPLY|DELETE)"/;
  // A write that was refused with a conflict has written nothing.
  const isDone = /code="20[01]"/;
  return metrics.split("\n").filter((line) => isOurs.test(line) && isWrite.test(line) && isDone.test(line));
}

async function countWrites(api: ApiServer): Promise<number> {
  return (await writesSoFar(api)).reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

describe("the controller as a process, on a real API server and libvirt's test driver", () => {
  let api: ApiServer;
  let libvirtd: Libvirtd;
  let installation: Installation;
  /** The test driver forgets its domains when nobody is connected. */
  let anchor: Connection;
  before(async () => {
    installation = await startInstallation();
    ({ api, libvirtd } = installation);
    anchor = await Connection.open(libvirtd.uri("test"));
  });
  after(async () => {
    await anchor.close();
    await installation.close();
  });

  /** Starts the controller of libvirt's test driver for one test, and resolves when it works. */
  async function start(t: TestContext, uri = libvirtd.uri("test")): Promise<ControllerProcess> {
    const controller = await startedController(installation.kubeconfig, uri);
    t.after(() => controller.stop());
    return controller;
  }

  test("an annotation restarts the domain once, and the status proves it", async (t) => {
    const controller = await start(t);
    await api.apply(virtualMachine("test"));
    await waitForCondition(api, "test", "Ready");
    const { lastRestart, domain } = await restartByAnnotation(api, "test");
    assert.equal(lastRestart?.result, "Succeeded");
    assert.equal(lastRestart.method, "Soft");
    assert.deepEqual(lastRestart.evidence, [
      "StopEvent",
      "BootMarkGone",
      "RequestMarkSeen",
      "DomainIDChanged",
    ]);
    assert.equal(domain?.state, "Running");
    // Events are sent at the latest when the controller ends.
    await controller.stop();
    const about = ["--field-selector=involvedObject.name=test", "-o", "jsonpath={.items[*].reason}"];
    const reasons = (await api.kubectl("get", "events", ...about)).split(" ");
    assert.deepEqual(reasons.toSorted(), ["RestartStarted", "RestartSucceeded"]);
  });

  test("an applied manifest with a higher restartGeneration restarts it, Hard by the annotation's mode", async (t) => {
    await start(t);
    await api.apply(virtualMachine("test", { restartGeneration: 3 }));
    await waitForStatus(api, "test", "observedRestartGeneration", 3);
    const { lastRestart } = await restartByAnnotation(api, "test", "Hard");
    assert.equal(lastRestart?.method, "Hard");
  });

  test("a restart costs two status writes and two Events", async (t) => {
    const controller = await start(t);
    await restartByAnnotation(api, "test");
    await controller.stop();
    const [before, list] = [await countWrites(api), await writesSoFar(api)];
    const again = await start(t);
    await restartByAnnotation(api, "test");
    // Events are sent at the latest when the controller ends.
    await again.stop();
    const annotated = 1;
    const difference = [...list, "then", ...(await writesSoFar(api))].join("\n");
    assert.equal((await countWrites(api)) - before - annotated, 4, difference);
  });

  test("an idle controller makes no API write and no libvirt call", async (t) => {
    await using proxy = await startLibvirtProxy(libvirtd.socket);
    await start(t, proxy.uri);
    // Some seconds after it has connected it lists all domains once more.
    const listed = proxy.faults.next(callOf(procedures.connectGetAllDomainStats));
    await restartByAnnotation(api, "test");
    await waitForCondition(api, "test", "Ready");
    await listed;
    // The events have a connection of their own, the first one: there is a keepalive on it every few seconds.
    const passes = () => proxy.faults.next((message) => isKeepalive(message) && message.connection === 0);
    // What the restart and the list have stirred up has settled by then.
    await passes();
    const [calls, writes] = [proxy.calls, await countWrites(api)];
    await passes();
    await passes();
    assert.equal(proxy.calls, calls);
    assert.equal(await countWrites(api), writes);
    assert.ok(calls > 0, "the proxy counts");
  });

  test("what happens to a domain at rest is told in its status", async (t) => {
    await start(t);
    await libvirtd.virshTest("suspend", "test");
    await waitForStatus(api, "test", "domain.state", "Paused");
    await libvirtd.virshTest("resume", "test");
    await waitForStatus(api, "test", "domain.state", "Running");
  });

  test("a domain that is missing is a condition, until somebody defines it", async (t) => {
    await start(t);
    await api.apply(virtualMachine("late"));
    await waitForCondition(api, "late", "Stalled");
    await waitForCondition(api, "late", "Bound=False");
    const xml =
      "<domain type='test'><name>late</name><memory>1024</memory><os><type>hvm</type></os></domain>";
    await writeFile(`${libvirtd.directory}/late.xml`, xml);
    await libvirtd.virshTest("define", `${libvirtd.directory}/late.xml`);
    await waitForCondition(api, "late", "Ready");
    const { lastRestart } = await restartByAnnotation(api, "late");
    assert.equal(lastRestart?.method, "Start");
  });

  test("an API server that is restarted loses nothing: what is asked for meanwhile is served", async (t) => {
    await start(t);
    await api.kill();
    await api.apiServer.exited();
    await api.startApiServer();
    const { lastRestart } = await restartByAnnotation(api, "test");
    assert.equal(lastRestart?.result, "Succeeded");
  });

  test("a libvirtd that is not there is an error of one line, and is used as soon as it is there", async () => {
    await libvirtd.stop();
    await using controller = startController(installation.kubeconfig, "--connect", libvirtd.uri("test"));
    const { msg } = await controller.logged(({ level }) => level === "error");
    assert.match(msg, /is libvirtd installed and running/);
    await waitForStatus(api, "test", "conditions[?(@.type=='Ready')].reason", "HypervisorUnreachable");
    await libvirtd.start();
    await waitForCondition(api, "test", "Ready");
  });

  test("an identity that may not read is one line that says what to apply, and is used once it may", async () => {
    await api.kubectl("create", "serviceaccount", "stranger");
    const own = await api.kubeconfigFor(await api.serviceAccountToken("default", "stranger"));
    await using controller = startController(own, "--connect", libvirtd.uri("test"));
    const { msg, err } = await controller.logged(({ level }) => level === "error");
    assert.match(msg, /User "system:serviceaccount:default:stranger" cannot list resource/);
    assert.match(msg, /kubectl apply -f deploy\/rbac\.yaml/);
    assert.equal(err, undefined, "a stack helps nobody");
    const binding = ["--clusterrole=warmboot", "--serviceaccount=default:stranger"];
    await api.kubectl("create", "clusterrolebinding", "stranger", ...binding);
    await controller.logged((line) => line.msg === "ready");
  });

  test("an identity that may not write a status is one line that says what to apply", async () => {
    const reads = ["--verb=get,list,watch", "--resource=virtualmachines.warmboot.dev"];
    await api.kubectl("create", "clusterrole", "reader", ...reads);
    await api.kubectl("create", "serviceaccount", "reader");
    const binding = ["--clusterrole=reader", "--serviceaccount=default:reader"];
    await api.kubectl("create", "clusterrolebinding", "reader", ...binding);
    const identity = ["--verb=get", "--resource=namespaces", "--resource-name=kube-system"];
    await api.kubectl("create", "clusterrole", "identity", ...identity);
    const toIdentity = ["--clusterrole=identity", "--serviceaccount=default:reader"];
    await api.kubectl("create", "clusterrolebinding", "identity", ...toIdentity);
    const own = await api.kubeconfigFor(await api.serviceAccountToken("default", "reader"));
    await using controller = startController(
      own,
      "--connect",
      libvirtd.uri("test"),
      "--namespace",
      "default",
    );
    await controller.logged(({ msg }) => msg === "ready");
    await api.apply(virtualMachine("unwritable", { domain: { name: "nobody" } }));
    const { msg, err } = await controller.logged((line) => line.msg.startsWith("the status could not"));
    assert.match(
      msg,
      /cannot update resource "virtualmachines\/status".*kubectl apply -f deploy\/rbac\.yaml/,
    );
    assert.equal(err, undefined, "a stack helps nobody");
    await api.kubectl("delete", "wvm", "unwritable");
  });

  test("a token that is not valid is one line that says so", async () => {
    const own = await api.kubeconfigFor("expired");
    await using controller = startController(own, "--connect", libvirtd.uri("test"));
    const { msg, err } = await controller.logged(({ level }) => level === "error");
    assert.match(msg, /does not accept .* \(401 Unauthorized\).*kubectl create token/);
    assert.equal(err, undefined, "a stack helps nobody");
  });

  test("SIGTERM ends it at once and cleanly", async (t) => {
    const controller = await start(t);
    // As a terminal does through npm: twice at once.
    process.kill(controller.pid, "SIGTERM");
    assert.equal(await controller.stop(), 0);
    assert.equal(controller.lines.at(-1)?.msg, "ended");
  });

  test("every line of a restart carries the namespace, the name and the attempt", async (t) => {
    const controller = await start(t);
    await restartByAnnotation(api, "test");
    const { attempt } = await controller.logged(({ result }) => result === "Succeeded");
    const effects = controller.lines.filter((line) => line.effect !== undefined);
    assert.ok(effects.length >= 3);
    for (const line of effects) {
      assert.deepEqual([line.namespace, line.name, line.attempt], ["default", "test", attempt]);
    }
  });

  test("of two resources for one domain the older has it; when it is deleted the other does, and the domain is not touched", async (t) => {
    await start(t);
    await api.apply(virtualMachine("younger", { domain: { name: "test" } }));
    await waitForCondition(api, "younger", "Bound=False");
    const id = await libvirtd.virshTest("domid", "test");
    await api.kubectl("delete", "wvm", "test");
    await waitForCondition(api, "younger", "Bound");
    assert.equal(await libvirtd.virshTest("domid", "test"), id);
  });
});
