import assert from "node:assert/strict";
import { after, before, describe, test, type TestContext } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { events, procedures, Session } from "libvirt";
import type { RestartMode } from "../../crds/restart.ts";
import { MessageType } from "../../src/libvirt/protocol/frame.ts";
import { startController, startHastyController, type ControllerProcess } from "../support/controller.ts";
import { startLibvirtd } from "../support/libvirtd.ts";
import type { FateOf, Matches } from "../support/proxies/faults.ts";
import {
  callOf,
  concerning,
  eventOf,
  isEvent,
  isKeepalive,
  isReply,
  replyTo,
  startLibvirtProxy,
  type LibvirtFate,
  type LibvirtMessage,
  type LibvirtProxy,
} from "../support/proxies/libvirt-proxy.ts";
import {
  startWitnessedInstallation,
  type WitnessedInstallation,
  type WitnessedMachine,
} from "../support/witnessed-machine.ts";

/** What the controller gives up after a minute, it gives up in six seconds where its clock is hasty. */
const haste = 10;

let site: WitnessedInstallation;
before(async () => {
  site = await startWitnessedInstallation();
});
after(() => site[Symbol.asyncDispose]());

/** A machine, and a controller of its own that reaches libvirt through a proxy. */
interface Rig {
  readonly machine: WitnessedMachine;
  readonly proxy: LibvirtProxy;
  readonly controller: ControllerProcess;
}

interface RigOptions {
  readonly restartPolicy?: object;
  readonly isHasty?: boolean;
}

async function rig(t: TestContext, options: RigOptions = {}): Promise<Rig> {
  const undo = new AsyncDisposableStack();
  t.after(() => undo.disposeAsync());
  const proxy = undo.use(await startLibvirtProxy(site.libvirtd.socket));
  const machine = await site.machine(options.restartPolicy);
  // At this level it tells of each try to connect.
  const flags = ["--connect", proxy.uri, "--namespace", machine.name, "--log-level", "debug"];
  const args = [site.kubeconfig, ...flags] as const;
  const controller = undo.use(
    options.isHasty === true ? startHastyController(haste, ...args) : startController(...args),
  );
  // Otherwise it would wait longer from one cut to the next, up to ten seconds.
  controller.follow(({ msg }) => {
    if (msg.includes("trying again in")) proxy.touch();
  });
  await machine.ready();
  return { machine, proxy, controller };
}

/** Restarts the machine, sees that this happened once, and that nothing else did. */
async function restartedOnce(
  { machine }: Rig,
  mode?: RestartMode,
): ReturnType<WitnessedMachine["servedOnce"]> {
  const result = await machine.servedOnce(await machine.request(mode));
  await machine.rests();
  return result;
}

/** Restarts the machine once for each byte of a message, before which the connection ends. Gives how many these were. */
async function cutAtEachByte(
  rig: Rig,
  matches: Matches<LibvirtMessage>,
  { step = 1, mode }: { step?: number; mode?: RestartMode | undefined } = {},
): Promise<number> {
  const seen = rig.proxy.faults.next(matches);
  await restartedOnce(rig, mode);
  const { length } = (await seen).bytes;
  let cuts = 0;
  for (let afterBytes = 0; afterBytes <= length; afterBytes += step) {
    const cut = rig.proxy.faults.once(matches, { kind: "Cut", afterBytes });
    await restartedOnce(rig, mode);
    await cut;
    cuts += 1;
  }
  return cuts;
}

/** A restart has tens of messages; with fewer, nothing would have been tried. */
const fewestMessages = 20;

/**
 * Restarts the machine once for each of the messages that match, of which something becomes in its turn, until a restart
 * has no further one. Gives how many these were.
 */
async function atEachMessage(
  rig: Rig,
  matches: Matches<LibvirtMessage>,
  fate: LibvirtFate,
  mode?: RestartMode,
): Promise<number> {
  const { faults } = rig.proxy;
  for (let at = 0; ; at += 1) {
    let messages = 0;
    faults.always(matches, () => {
      messages += 1;
      return messages === at + 1 ? fate : undefined;
    });
    await restartedOnce(rig, mode);
    faults.heal();
    if (messages <= at) {
      assert.ok(at >= fewestMessages, `${at} messages came by`);
      return at;
    }
  }
}

describe("between the controller and libvirt", { concurrency: 4 }, () => {
  for (const [what, procedure, mode] of [
    ["shutdown", procedures.domainShutdownFlags, undefined],
    ["destroy", procedures.domainDestroyFlags, "Hard"],
    ["start", procedures.domainCreateWithFlags, undefined],
  ] as const) {
    test(`the connection ends at each byte of the call ${what}, and of its reply`, async (t) => {
      const world = await rig(t);
      const cuts =
        (await cutAtEachByte(world, callOf(procedure), { mode })) +
        (await cutAtEachByte(world, replyTo(procedure), { mode }));
      t.diagnostic(`${cuts} places`);
    });
  }

  test("the connection ends at many a byte of the first mark, and of the reply to it", async (t) => {
    // Values begin at multiples of four.
    const step = 7;
    const world = await rig(t);
    const { domainSetMetadata } = procedures;
    const cuts =
      (await cutAtEachByte(world, callOf(domainSetMetadata), { step })) +
      (await cutAtEachByte(world, replyTo(domainSetMetadata), { step }));
    t.diagnostic(`${cuts} places`);
  });

  test("the connection ends before each message of a restart, whatever it is", async (t) => {
    const world = await rig(t);
    t.diagnostic(
      `${await atEachMessage(world, concerning(world.machine.name), { kind: "Cut", afterBytes: 0 })} messages`,
    );
  });

  test("each call of a restart reaches libvirt, and the connection ends before its reply", async (t) => {
    const world = await rig(t);
    t.diagnostic(`${await atEachMessage(world, isReply, { kind: "Cut", afterBytes: 0 })} replies`);
  });

  test("each call of a forced restart reaches libvirt, and the connection ends before its reply", async (t) => {
    const world = await rig(t);
    t.diagnostic(`${await atEachMessage(world, isReply, { kind: "Cut", afterBytes: 0 }, "Hard")} replies`);
  });

  test("a connection ends before each message of its own opening", async (t) => {
    const { machine, proxy } = await rig(t);
    const { faults } = proxy;
    const isMine = concerning(machine.name);
    // Beyond it calls are answered side by side, and libvirtd may die of a connection with registrations that ends then.
    const isList = callOf(procedures.connectGetAllDomainStats);
    const indexOf = indexInNewConnections(proxy);
    const length = Promise.withResolvers<number>();
    faults.always(isMine, (message) => {
      const index = indexOf(message);
      if (index !== undefined && isList(message)) length.resolve(index);
      return undefined;
    });
    proxy.cut();
    const messages = await length.promise;
    faults.heal();
    for (let at = 0; at < messages; at += 1) {
      const indexOf = indexInNewConnections(proxy);
      const isNext: Matches<LibvirtMessage> = (message) => isMine(message) && indexOf(message) === at;
      const cut = faults.once(isNext, { kind: "Cut", afterBytes: 0 });
      proxy.cut();
      const token = await machine.request();
      await cut;
      await machine.servedOnce(token);
      await machine.rests();
    }
    t.diagnostic(`${messages} messages`);
  });

  test("each reply comes twice: what nobody asked for ends the connection, and nothing else", async (t) => {
    const world = await rig(t);
    t.diagnostic(`${await atEachMessage(world, isReply, { kind: "Double" })} replies`);
  });

  test("every event comes twice", async (t) => {
    const world = await rig(t);
    world.proxy.faults.always(isEvent, { kind: "Double" });
    const { evidence } = await restartedOnce(world);
    assert.ok(evidence.includes("StopEvent"));
  });

  test("replies overtake each other", async (t) => {
    const world = await rig(t);
    const { fate, overtaken } = overtaking();
    world.proxy.faults.always(concerning(world.machine.name), fate);
    await restartedOnce(world);
    assert.ok(overtaken() > 0, "replies were overtaken");
  });

  test("no event comes at all", async (t) => {
    const world = await rig(t);
    world.proxy.faults.always(isEvent, { kind: "Lose" });
    const { evidence } = await restartedOnce(world);
    assert.ok(!evidence.includes("StopEvent"));
  });

  test("the event that the guest is off is lost: the next look finds it", async (t) => {
    const restartPolicy = { soft: { resendSeconds: 1 } };
    const { machine, proxy } = await rig(t, { restartPolicy });
    // The guest obeys once it likes to, however often it is asked.
    const isShutdown = callOf(procedures.domainShutdownFlags);
    const asked = proxy.faults.next(isShutdown);
    proxy.faults.always(isShutdown, { kind: "Answer" });
    const lost = proxy.faults.once(eventOf(events.lifecycle, machine.name), { kind: "Lose" });
    const token = await machine.request();
    await asked;
    await machine.obey();
    await lost;
    const { evidence, method } = await machine.servedOnce(token);
    assert.equal(method, "Soft");
    assert.ok(!evidence.includes("StopEvent"));
    await machine.rests();
  });

  test("the event that the guest is off comes when the next boot runs already", async (t) => {
    const { machine, proxy } = await rig(t);
    const started = proxy.faults.next(replyTo(procedures.domainCreateWithFlags));
    const late = proxy.faults.once(eventOf(events.lifecycle, machine.name), { kind: "Hold", until: started });
    await machine.servedOnce(await machine.request());
    await late;
    await machine.rests();
  });

  test("the event that the guest is off comes when the restart has ended already", async (t) => {
    const world = await rig(t);
    const { machine, proxy } = world;
    const ended = Promise.withResolvers<void>();
    const isStop = eventOf(events.lifecycle, machine.name);
    const late = proxy.faults.once(isStop, { kind: "Hold", until: ended.promise });
    await machine.servedOnce(await machine.request());
    await late;
    ended.resolve();
    await machine.rests();
    await restartedOnce(world);
  });

  test("every message comes in single bytes", async (t) => {
    const world = await rig(t);
    world.proxy.faults.always(() => true, { kind: "Trickle", bytes: 1, next: () => turn() });
    await restartedOnce(world);
  });

  test("a call stands still in its middle: it is carried out once it goes on", async (t) => {
    const { machine, proxy } = await rig(t);
    const goesOn = Promise.withResolvers<void>();
    const begun = proxy.faults.once(callOf(procedures.domainShutdownFlags), {
      kind: "Trickle",
      bytes: 40,
      next: () => goesOn.promise,
    });
    const token = await machine.request();
    await begun;
    await machine.until(({ status }) => status?.attempt !== undefined);
    goesOn.resolve();
    await machine.servedOnce(token);
    await machine.rests();
  });

  for (const [what, matches] of [
    ["before the shutdown arrives", callOf(procedures.domainShutdownFlags)],
    ["after the shutdown was carried out", replyTo(procedures.domainShutdownFlags)],
    ["before the start arrives", callOf(procedures.domainCreateWithFlags)],
    ["after the start was carried out", replyTo(procedures.domainCreateWithFlags)],
  ] as const) {
    test(`the connection is half open ${what}: keepalive notices`, async (t) => {
      const { machine, proxy, controller } = await rig(t, { isHasty: true });
      const { connections } = proxy;
      const stalled = proxy.faults.once(matches, () => {
        proxy.stall();
        return undefined;
      });
      const token = await machine.request();
      await stalled;
      let pings = 0;
      proxy.faults.always(isKeepalive, ({ from, connection }) => {
        if (from === "Client" && connection < connections) pings += 1;
        return undefined;
      });
      await controller.logged(({ msg }) => msg.includes("has fallen silent"));
      assert.ok(pings >= 5, `the daemon was asked ${pings} times whether it is there`);
      await machine.servedOnce(token);
      await machine.rests();
    });
  }

  for (const [what, procedure] of [
    ["mark", procedures.domainSetMetadata],
    ["shutdown", procedures.domainShutdownFlags],
  ] as const) {
    test(`the reply to a ${what} is lost, and the connection stays`, async (t) => {
      const { machine, proxy } = await rig(t, { isHasty: true });
      const lost = proxy.faults.once(replyTo(procedure), { kind: "Lose" });
      const token = await machine.request();
      await lost;
      await machine.servedOnce(token);
      await machine.rests();
    });
  }

  test(
    "a call that is never answered does not keep the controller from its end",
    { timeout: 30_000 },
    async (t) => {
      const { machine, proxy, controller } = await rig(t, { isHasty: true });
      const lost = proxy.faults.once(replyTo(procedures.domainCreateWithFlags), { kind: "Lose" });
      await machine.request();
      await lost;
      assert.equal(await controller.stop(), 0);
    },
  );
});

describe("a session whose connections end in the middle of calls", () => {
  test("takes libvirtd with it in none of many times", async (t) => {
    const undo = new AsyncDisposableStack();
    t.after(() => undo.disposeAsync());
    const libvirtd = undo.use(await startLibvirtd());
    const died = libvirtd.exited().then((how) => assert.fail(`libvirtd ended with ${how}`));
    const proxy = undo.use(await startLibvirtProxy(libvirtd.socket));
    let connected = Promise.withResolvers<void>();
    const session = undo.use(
      new Session(proxy.uri, {
        reconnect: { initialDelayMs: 1, maxDelayMs: 1 },
        listener: ({ type }) => {
          if (type === "Connected") connected.resolve();
        },
      }),
    );
    session.start();
    for (let time = 0; time < 200; time += 1) {
      await Promise.race([connected.promise, died]);
      connected = Promise.withResolvers();
      const calls = Array.from({ length: 8 }, () =>
        session.call(procedures.domainLookupByName, { name: "test" }),
      );
      await Promise.race(calls);
      proxy.cut();
      await Promise.allSettled(calls);
    }
  });
});

/** Says which message of its connection one is, from 0; undefined of connections that are there already. */
function indexInNewConnections({
  connections,
}: LibvirtProxy): (message: LibvirtMessage) => number | undefined {
  const messages = new Map<number, number>();
  return ({ connection }) => {
    if (connection < connections) return undefined;
    const index = messages.get(connection) ?? 0;
    messages.set(connection, index + 1);
    return index;
  };
}

/** Lets a reply wait for the next one wherever another is still to come on its connection. */
function overtaking(): { fate: FateOf<LibvirtMessage, LibvirtFate>; overtaken: () => number } {
  const unanswered = new Map<number, number>();
  const waiting = new Map<number, () => void>();
  let overtaken = 0;
  return {
    overtaken: () => overtaken,
    fate: ({ connection, from, type }) => {
      const left = unanswered.get(connection) ?? 0;
      if (from === "Client") unanswered.set(connection, left + 1);
      if (type !== MessageType.Reply) return undefined;
      unanswered.set(connection, left - 1);
      const release = waiting.get(connection);
      if (release !== undefined) {
        waiting.delete(connection);
        overtaken += 1;
        setImmediate(release);
        return undefined;
      }
      if (left <= 1) return undefined;
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.set(connection, resolve);
      return { kind: "Hold", until: promise };
    },
  };
}
