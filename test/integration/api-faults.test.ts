import assert from "node:assert/strict";
import { after, before, describe, test, type TestContext } from "node:test";
import type { VirtualMachine } from "../../crds/virtual-machine.ts";
import { startController, startHastyController, type ControllerProcess } from "../support/controller.ts";
import {
  apiRequest,
  startApiProxy,
  type ApiAnswer,
  type ApiFate,
  type ApiProxy,
  type ApiRequest,
} from "../support/proxies/api-proxy.ts";
import type { Matches } from "../support/proxies/faults.ts";
import {
  startWitnessedInstallation,
  type WitnessedInstallation,
  type WitnessedMachine,
} from "../support/witnessed-machine.ts";

/** What the controller gives up after 90 s, it gives up in nine where its clock is hasty. */
const haste = 10;

const isStatusWrite = apiRequest("Write", "virtualmachines/status");
const isWatch = apiRequest("Watch", "virtualmachines");
const isList = apiRequest("List", "virtualmachines");
const isEventWrite = apiRequest("Write", "events");
const isAny = () => true;

const conflict = { kind: "Refuse", code: 409, reason: "Conflict" } as const;
const expired = { kind: "Refuse", code: 410, reason: "Expired" } as const;
const tooMany = { kind: "Refuse", code: 429, reason: "TooManyRequests", retryAfterSeconds: 1 } as const;
const broken = { kind: "Refuse", code: 500, reason: "InternalError" } as const;
const unavailable = { kind: "Refuse", code: 503, reason: "ServiceUnavailable" } as const;

let site: WitnessedInstallation;
before(async () => {
  site = await startWitnessedInstallation();
});
after(() => site[Symbol.asyncDispose]());

/** A machine, and a controller of its own that reaches the API server through a proxy. */
interface Rig {
  readonly machine: WitnessedMachine;
  readonly proxy: ApiProxy;
  readonly controller: ControllerProcess;
}

interface RigOptions {
  readonly isHasty?: boolean;
}

async function rig(t: TestContext, options: RigOptions = {}): Promise<Rig> {
  const undo = new AsyncDisposableStack();
  t.after(() => undo.disposeAsync());
  const proxy = undo.use(await startApiProxy(site.api, site.kubeconfig));
  const machine = await site.machine();
  const controller = undo.use(started(proxy, machine.name, options.isHasty));
  await machine.ready();
  return { machine, proxy, controller };
}

function started({ kubeconfig }: ApiProxy, namespace: string, isHasty = false): ControllerProcess {
  // With definitions it reads ConfigMaps, too.
  const flags = ["--connect", site.libvirtd.uri("test"), "--namespace", namespace, "--allow-definitions"];
  const args = [kubeconfig, ...flags] as const;
  return isHasty ? startHastyController(haste, ...args) : startController(...args);
}

/** Restarts the machine, sees that this happened once, and that nothing else did. */
async function restartedOnce({ machine }: Rig): ReturnType<WitnessedMachine["servedOnce"]> {
  const result = await machine.servedOnce(await machine.request());
  await machine.rests();
  return result;
}

/** Resolves once the controller has restarted the guest, whether or not it can tell anybody. */
async function concluded({ controller }: Rig): Promise<void> {
  await controller.logged(({ result }) => result === "Succeeded");
}

/** Has the next watch go through this, and ends the present one. */
async function rewatch({ proxy }: Rig, fate: ApiFate): Promise<void> {
  const watching = proxy.faults.once(isWatch, fate);
  proxy.cut(isWatch);
  await watching;
}

describe("between the controller and the API server", { concurrency: 4 }, () => {
  for (const [what, fate] of [
    ["meets a conflict", conflict],
    ["is refused by an API server that is broken", broken],
    ["is refused by an API server that is not ready", unavailable],
    ["is refused as one too many", tooMany],
    ["is lost on its way", { kind: "LoseRequest" }],
    ["breaks off in its middle", { kind: "CutRequest", afterBytes: 200 }],
    ["is done, and its answer is lost", { kind: "LoseAnswer" }],
    [
      "is done, and the connection is reset before the answer's first byte",
      { kind: "CutAnswer", afterBytes: 0 },
    ],
    [
      "is done, and the connection is reset in the middle of the answer",
      { kind: "CutAnswer", afterBytes: 100 },
    ],
    [
      "is done, and the connection is reset before the answer's last byte",
      { kind: "CutAnswer", afterBytes: -1 },
    ],
  ] as [string, ApiFate][]) {
    test(`a status write ${what}: each in its turn, then all of a restart`, async (t) => {
      const world = await rig(t);
      const { machine, proxy } = world;
      // What a restart writes: that it is under way, and how it ended.
      for (const nth of [1, 2]) {
        let writes = 0;
        const hit = proxy.faults.once((request) => isStatusWrite(request) && (writes += 1) === nth, fate);
        const token = await machine.request();
        await hit;
        await machine.servedOnce(token);
        await machine.rests();
      }
      proxy.faults.always(isStatusWrite, fate);
      const told = proxy.faults.next(tellsEndOf(machine.nextToken));
      const token = await machine.request();
      await told;
      proxy.faults.heal();
      await machine.servedOnce(token);
      await machine.rests();
    });
  }

  test("an API server that asks to be left alone is left alone for that long", async (t) => {
    const { machine, proxy } = await rig(t);
    // The last write of a restart: nothing newer replaces it.
    const refused = proxy.faults.once(tellsEndOf(machine.nextToken), tooMany);
    const token = await machine.request();
    await refused;
    const sinceMs = performance.now();
    await proxy.faults.next(isStatusWrite);
    assert.ok(performance.now() - sinceMs > 990, "a second has passed");
    await machine.servedOnce(token);
    await machine.rests();
  });

  for (const [what, fate] of [
    ["is broken", broken],
    ["is not ready", unavailable],
    ["has too much to do", tooMany],
    ["resets every connection", { kind: "LoseRequest" }],
    ["loses every answer", { kind: "LoseAnswer" }],
  ] as [string, ApiFate][]) {
    test(`an API server that ${what} for a while: what is requested meanwhile is served afterwards`, async (t) => {
      const world = await rig(t);
      const { machine, proxy } = world;
      proxy.faults.always((request) => !isWatch(request), fate);
      proxy.faults.always(isWatch, { ...broken });
      proxy.cut(isAny);
      const token = await machine.request();
      await proxy.faults.next(isList);
      await proxy.faults.next(isList);
      proxy.faults.heal();
      await machine.servedOnce(token);
      await machine.rests();
    });
  }

  test("a watch from a place that the API server has forgotten is refused, and means a new list", async (t) => {
    const world = await rig(t);
    const { machine, proxy } = world;
    const listed = proxy.faults.next(isList);
    const refused = rewatch(world, expired);
    const token = await machine.request();
    await Promise.all([refused, listed]);
    await machine.servedOnce(token);
    await machine.rests();
  });

  test("a watch ends by the word that its place is forgotten, instead of an event", async (t) => {
    const world = await rig(t);
    const object = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version" };
    await rewatch(world, {
      kind: "Lines",
      through: () => [JSON.stringify({ type: "ERROR", object })],
    });
    await restartedOnce(world);
  });

  test("the place where a list goes on is forgotten between its pages", async (t) => {
    const world = await rig(t);
    const { machine, proxy } = world;
    await site.api.apply(JSON.stringify(neighbour(machine.name)));
    await machine.rests();
    proxy.faults.always((request) => isList(request) && !request.url.searchParams.has("continue"), {
      kind: "Ask",
      query: { limit: "1" },
    });
    const forgotten = proxy.faults.once(
      (request) => isList(request) && request.url.searchParams.has("continue"),
      expired,
    );
    const refused = rewatch(world, expired);
    const token = await machine.request();
    await refused;
    await forgotten;
    await machine.servedOnce(token);
    await machine.rests();
  });

  test("a watch falls silent, and the connection stays: it is renewed", async (t) => {
    const world = await rig(t, { isHasty: true });
    const { machine, proxy, controller } = world;
    await rewatch(world, { kind: "Lines", through: () => [] });
    const token = await machine.request();
    const renewed = proxy.faults.next(isWatch);
    await controller.logged(({ msg }) => msg.includes("no word for 90000 ms"));
    await renewed;
    await machine.servedOnce(token);
    await machine.rests();
  });

  test("every event of a watch comes twice", async (t) => {
    const world = await rig(t);
    await rewatch(world, { kind: "Lines", through: (line) => [line, line] });
    await restartedOnce(world);
    await restartedOnce(world);
  });

  test("after each event a watch tells all the former ones again", async (t) => {
    const world = await rig(t);
    const told: string[] = [];
    await rewatch(world, {
      kind: "Lines",
      through: (line) => {
        told.push(line);
        return [line, ...told];
      },
    });
    await restartedOnce(world);
    await restartedOnce(world);
  });

  test("a watch lags behind what the controller does: what it has not told of is no ground to stand on", async (t) => {
    const world = await rig(t);
    const { machine, proxy } = world;
    const over = Promise.withResolvers<void>();
    let told = 0;
    await rewatch(world, {
      kind: "Lines",
      through: async (line) => {
        told += 1;
        if (told > 1) await over.promise;
        return [line];
      },
    });
    const token = await machine.request();
    await machine.touchSpec();
    await concluded(world);
    await proxy.faults.next(isStatusWrite);
    over.resolve();
    await machine.servedOnce(token);
    await machine.rests();
  });

  test("a watch breaks off in the middle of an event", async (t) => {
    const world = await rig(t);
    await rewatch(world, { kind: "CutAnswer", afterBytes: 200 });
    await restartedOnce(world);
  });

  test("a list breaks off in its middle", async (t) => {
    const world = await rig(t);
    const { machine, proxy } = world;
    const halved = proxy.faults.once(isList, { kind: "CutAnswer", afterBytes: 200 });
    const refused = rewatch(world, expired);
    const token = await machine.request();
    await Promise.all([refused, halved]);
    await machine.servedOnce(token);
    await machine.rests();
  });

  test("an API server that took over shows the state before a restart: nothing is repeated", async (t) => {
    const world = await rig(t);
    const { machine, proxy } = world;
    await restartedOnce(world);
    const old = await machine.until(isRequestedOnly);
    // It is asked how far it is, and then for the list.
    const looked = proxy.faults.once(isList, { kind: "Answer", answer: listOf(old) });
    proxy.cut(isWatch);
    await looked;
    await proxy.faults.once(isList, { kind: "Answer", answer: listOf(old) });
    await machine.rests();
    await restartedOnce(world);
  });

  for (const [what, fits] of [
    ["before a restart", isRequestedOnly],
    ["in the middle of a restart", isUnderWay],
  ] as const) {
    test(`a controller that is started anew is shown the state ${what} that has ended since: nothing is repeated`, async (t) => {
      const world = await rig(t);
      const { machine, proxy, controller } = world;
      await restartedOnce(world);
      await controller.kill();
      const old = await machine.until(fits);
      const shown = proxy.faults.once(isList, { kind: "Answer", answer: listOf(old) });
      await using anew = started(proxy, machine.name);
      await shown;
      await anew.logged(({ msg }) => msg === "ready");
      await machine.rests();
      await restartedOnce({ ...world, controller: anew });
    });
  }

  test("the first request of each kind fails while the controller is started", async (t) => {
    const world = await rig(t);
    const { machine, proxy, controller } = world;
    await controller.kill();
    const failed = new Set<string>();
    proxy.faults.always(isAny, ({ verb, resource }) => {
      const kind = `${verb} ${resource}`;
      if (failed.has(kind)) return undefined;
      failed.add(kind);
      return unavailable;
    });
    const token = await machine.request();
    await using anew = started(proxy, machine.name);
    await machine.servedOnce(token);
    await machine.rests();
    for (const kind of ["List virtualmachines", "Watch virtualmachines", "List configmaps", "Get namespaces"])
      assert.ok(failed.has(kind), kind);
    assert.equal(await anew.stop(), 0);
  });

  test("the answers to all status writes come when the restart is long over", async (t) => {
    const world = await rig(t);
    const { machine, proxy } = world;
    const over = Promise.withResolvers<void>();
    proxy.faults.always(isStatusWrite, { kind: "HoldAnswer", until: over.promise });
    const token = await machine.request();
    await concluded(world);
    over.resolve();
    await machine.servedOnce(token);
    await machine.rests();
  });

  test("status writes reach the API server when the restart is long over", async (t) => {
    const world = await rig(t);
    const { machine, proxy } = world;
    const over = Promise.withResolvers<void>();
    proxy.faults.always(isStatusWrite, { kind: "Hold", until: over.promise });
    const token = await machine.request();
    await concluded(world);
    over.resolve();
    await machine.servedOnce(token);
    await machine.rests();
  });

  test("a status write that is never answered is given up at its deadline", async (t) => {
    const world = await rig(t, { isHasty: true });
    const { machine, proxy, controller } = world;
    const { promise } = Promise.withResolvers<void>();
    const asked = proxy.faults.once(isStatusWrite, { kind: "HoldAnswer", until: promise });
    const token = await machine.request();
    await asked;
    await controller.logged(({ msg }) => msg.includes("no answer within 30000 ms"));
    await machine.servedOnce(token);
    await machine.rests();
  });

  test("a list comes late: what is requested meanwhile is served once", async (t) => {
    const world = await rig(t);
    const { machine, proxy } = world;
    const requested = Promise.withResolvers<void>();
    const refused = rewatch(world, expired);
    const slow = proxy.faults.once(
      (request) => isList(request) && request.url.searchParams.get("limit") !== "1",
      { kind: "HoldAnswer", until: requested.promise },
    );
    await refused;
    await slow;
    const token = await machine.request();
    requested.resolve();
    await machine.servedOnce(token);
    await machine.rests();
  });

  test("an Event whose answer was lost is there once", async (t) => {
    const world = await rig(t);
    const { machine, proxy, controller } = world;
    for (let nth = 0; nth < 2; nth += 1) void proxy.faults.once(isEventWrite, { kind: "LoseAnswer" });
    await restartedOnce(world);
    // Events are sent at the latest when the controller ends.
    await controller.stop();
    const reasons = await site.api.kubectl(
      "get",
      "events",
      "--namespace",
      machine.name,
      "-o",
      "jsonpath={.items[*].reason}",
    );
    assert.deepEqual(reasons.split(" ").toSorted(), ["RestartStarted", "RestartSucceeded"]);
  });
});

/** Writes of a status that says that a request has been served. */
function tellsEndOf(token: string): Matches<ApiRequest> {
  return (request) =>
    isStatusWrite(request) && request.body.includes(`"observedRestartToken":${JSON.stringify(token)}`);
}

/** The request is there, and nothing was done about it yet. */
function isRequestedOnly({ metadata, status }: VirtualMachine): boolean {
  return (
    metadata.annotations?.["warmboot.dev/restart"] !== undefined &&
    status?.attempt === undefined &&
    status?.observedRestartToken === undefined
  );
}

function isUnderWay({ status }: VirtualMachine): boolean {
  return status?.attempt !== undefined;
}

/** What an API server answers that knows nothing later than this state. */
function listOf(state: VirtualMachine): ApiAnswer {
  const { resourceVersion } = state.metadata;
  const list = {
    kind: "VirtualMachineList",
    apiVersion: "warmboot.dev/v1alpha1",
    metadata: { resourceVersion },
    items: [state],
  };
  return {
    code: 200,
    headers: { "content-type": "application/json" },
    body: Buffer.from(JSON.stringify(list)),
  };
}

/** Another resource of the same namespace, whose domain is not there. */
function neighbour(namespace: string): object {
  return {
    apiVersion: "warmboot.dev/v1alpha1",
    kind: "VirtualMachine",
    metadata: { namespace, name: "a-neighbour" },
    spec: {},
  };
}
