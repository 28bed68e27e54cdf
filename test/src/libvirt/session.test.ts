import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { AddressError, Connection, ConnectionError, Session, events, hostEvents, procedures } from "libvirt";
import type { Connected, Disconnected, SessionOptions } from "libvirt";

import { connectionProcedures as opening } from "../../../src/libvirt/protocol/procedures.ts";
import { listDomains } from "../../../src/libvirt/session/list-domains.ts";
import { Heard } from "./heard.ts";
import { Refusal, ScriptedDaemon, rule } from "./peer.ts";
import type { Rule, ScriptedClient } from "./peer.ts";

const dom = { name: "vm", uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f", id: 7 };
const off = { name: "off", uuid: "11111111-1111-1111-1111-111111111111", id: undefined };
const NO_SUPPORT = 3;
const NO_DOMAIN = 42;

function statsOf(domain: typeof dom | typeof off, state: number, reason: number) {
  const value = (value: number) => ({ type: "int", value }) as const;
  return {
    dom: domain,
    params: [
      { field: "state.state", value: value(state) },
      { field: "state.reason", value: value(reason) },
    ],
  };
}

/** What a daemon answers with two domains, one running and one off. */
const ordinary: readonly Rule[] = [
  rule(opening.authList, () => ({ types: [0] })),
  rule(opening.connectSupportsFeature, () => ({ supported: 1 })),
  rule(opening.connectOpen, () => ({})),
  rule(opening.connectClose, () => ({})),
  rule(procedures.connectDomainEventCallbackRegisterAny, ({ eventId }) => ({ callbackId: eventId })),
  rule(procedures.connectGetAllDomainStats, () => ({ retStats: [statsOf(dom, 1, 1), statsOf(off, 5, 2)] })),
  rule(procedures.connectGetHostname, () => ({ hostname: "host" })),
  rule(procedures.connectGetLibVersion, () => ({ libVer: 9_012_003n })),
  rule(procedures.connectGetUri, () => ({ uri: "test:///default" })),
];

let daemon: ScriptedDaemon;
beforeEach(async () => {
  daemon = await ScriptedDaemon.listen();
});
afterEach(() => daemon.close());

/** Listens to a session with the scripted daemon, or with another; its delays are 1, 2, 4 and 8 ms. */
function hear(options: Partial<SessionOptions> = {}, uri = daemon.uri): Heard {
  const reconnect = { initialDelayMs: 1, maxDelayMs: 8, random: () => 0, ...options.reconnect };
  return new Heard(uri, { ...options, reconnect });
}

/** Accepts a client and answers it by rules, the first that fit. */
async function serveNext(...rules: readonly Rule[]): Promise<ScriptedClient> {
  const client = await daemon.accept();
  void client.serve([...rules, ...ordinary]);
  return client;
}

describe("a session that connects", () => {
  it("tells all domains with their states and what the hypervisor is", async () => {
    await using heard = hear();
    await serveNext();
    const { domains, hypervisor, receivedAtMs } = await heard.next("Connected");
    assert.deepEqual(domains, [
      { ...dom, state: "Running", reason: "Booted" },
      { ...off, state: "Shutoff", reason: "Destroyed" },
    ]);
    assert.deepEqual(hypervisor, { hostname: "host", libVersion: "9.12.3", uri: "test:///default" });
    assert.ok(receivedAtMs <= performance.now());
    assert.equal(heard.session.state.status, "Connected");
  });

  it("registers for every event before it lists, and tells what came meanwhile after the list", async () => {
    await using heard = hear();
    const registered: number[] = [];
    const client = await serveNext(
      rule(procedures.connectDomainEventCallbackRegisterAny, ({ eventId, dom: only }, client) => {
        assert.equal(only, undefined);
        registered.push(eventId);
        if (eventId === events.lifecycle.eventId) {
          client.event(events.lifecycle, { callbackId: 0, dom, event: 5, detail: 0 });
        }
        return { callbackId: eventId };
      }),
      rule(procedures.connectGetAllDomainStats, (_args, client) => {
        assert.deepEqual(
          registered.toSorted((a, b) => a - b),
          [0, 1, 6, 11, 12, 16, 18, 21, 23],
        );
        client.event(events.reboot, { callbackId: 1, dom });
        return { retStats: [] };
      }),
      rule(procedures.connectGetUri, (_args, client) => {
        client.event(events.lifecycle, { callbackId: 0, dom, event: 2, detail: 0 });
        return { uri: "test:///default" };
      }),
    );
    await heard.next("Connected");
    assert.equal((await heard.next("Lifecycle")).event, "Stopped");
    await heard.next("Reboot");
    assert.equal((await heard.next("Lifecycle")).event, "Started");
    client.event(events.reboot, { callbackId: 1, dom });
    await heard.next("Reboot");
  });

  it("registers for one event at a time, as libvirtd does not bear a client that goes amid several", async () => {
    await using heard = hear();
    const client = await daemon.accept();
    await client.open();
    for (const { registration, eventId } of Object.values({ ...events, ...hostEvents })) {
      const { serial } = await client.nextCall(registration);
      // Anything that was sent along would come before it.
      await client.nextIsPong();
      client.reply(registration, serial, { callbackId: eventId });
    }
    void client.serve(ordinary);
    await heard.next("Connected");
  });

  it("registers for what the host has, all of it, before it lists", async () => {
    await using heard = hear();
    const registered: string[] = [];
    const registering = ["Network", "StoragePool", "NodeDevice", "Secret"] as const;
    await serveNext(
      ...registering.map((object) =>
        rule(procedures[`connect${object}EventRegisterAny`], (args: { eventId: number }) => {
          registered.push(`${object} ${Object.values(args).join(" ")}`);
          return { callbackId: 0 };
        }),
      ),
      rule(procedures.connectGetAllDomainStats, () => {
        assert.deepEqual(registered.toSorted(), [
          "Network 0 ",
          "NodeDevice 0 ",
          "Secret 0 ",
          "Secret 1 ",
          "StoragePool 0 ",
          "StoragePool 1 ",
        ]);
        return { retStats: [] };
      }),
    );
    await heard.next("Connected");
  });

  it("does without the events that a driver does not have", async () => {
    await using heard = hear();
    await serveNext(
      rule(procedures.connectDomainEventCallbackRegisterAny, ({ eventId }) =>
        eventId === events.lifecycle.eventId ? { callbackId: 0 } : new Refusal(NO_SUPPORT),
      ),
    );
    await heard.next("Connected");
  });

  it("does not do without lifecycle events", async () => {
    await using heard = hear();
    await serveNext(rule(procedures.connectDomainEventCallbackRegisterAny, () => new Refusal(NO_SUPPORT)));
    const { stage, error } = await heard.next("Disconnected");
    assert.equal(stage, "FirstConnect");
    assert.equal(error.kind, "OpenFailed");
  });

  it("is told at once that its URI leads nowhere", () => {
    assert.throws(() => new Session("http://host/", { listener: () => {} }), AddressError);
  });
});

describe("listing domains where one call does not do", () => {
  const gone = { ...off, name: "gone", uuid: "22222222-2222-2222-2222-222222222222" };
  const secret = { ...off, name: "secret", uuid: "33333333-3333-3333-3333-333333333333" };
  const oneByOne: readonly Rule[] = [
    rule(procedures.connectListAllDomains, () => ({ domains: [dom, gone, secret, off], ret: 4 })),
    rule(procedures.domainGetState, ({ dom: { name } }) => {
      switch (name) {
        case "gone":
          return new Refusal(NO_DOMAIN);
        case "secret":
          return new Refusal(88);
        default:
          return { state: name === "off" ? 5 : 3, reason: 5 };
      }
    }),
  ];
  const expected = [
    { ...dom, state: "Paused", reason: "IOError" },
    { ...secret, state: "NoState", reason: "Unknown" },
    { ...off, state: "Shutoff", reason: "Saved" },
  ];

  it("asks for each domain; one that vanished is left out, one that cannot be read has no state", async () => {
    await using heard = hear();
    await serveNext(
      rule(procedures.connectGetAllDomainStats, () => new Refusal(NO_SUPPORT)),
      ...oneByOne,
    );
    assert.deepEqual((await heard.next("Connected")).domains, expected);
  });

  it("gives up when the connection is lost meanwhile", async () => {
    const opened = Connection.open(daemon.uri);
    await serveNext(
      rule(procedures.connectGetAllDomainStats, () => new Refusal(NO_SUPPORT)),
      rule(procedures.connectListAllDomains, () => ({ domains: [dom], ret: 1 })),
      rule(procedures.domainGetState, (_args, client) => {
        client.end();
        return undefined;
      }),
    );
    await using connection = await opened;
    await assert.rejects(listDomains(connection), ConnectionError);
  });
});

describe("an event", () => {
  it("is told with libvirt's names", async () => {
    await using heard = hear();
    const client = await serveNext();
    await heard.next("Connected");
    const callbackId = 1;
    client.event(events.lifecycle, { callbackId, dom, event: 5, detail: 1 });
    client.event(events.lifecycle, { callbackId, dom, event: 77, detail: 1 });
    client.event(events.reboot, { callbackId, dom });
    client.event(events.ioErrorReason, {
      callbackId,
      dom,
      srcPath: "/disk",
      devAlias: "virtio-disk0",
      action: 1,
      reason: "enospc",
    });
    client.event(events.agentLifecycle, { callbackId, dom, state: 1, reason: 2 });
    client.event(events.metadataChange, { callbackId, dom, type: 2, nsUri: "urn:x" });
    const params = [{ field: "operation", value: { type: "int", value: 9 } as const }];
    client.event(events.jobCompleted, { callbackId, dom, params });
    client.event(events.blockJob, { callbackId, dom, dst: "vda", type: 2, status: 3 });
    client.event(events.pmWakeup, { callbackId, reason: 0, dom });
    client.event(events.pmSuspend, { callbackId, reason: 0, dom });
    await client.hasRead();
    const told = heard.pending.map((event) => {
      const { receivedAtMs, ...rest } = event;
      assert.ok(receivedAtMs <= performance.now());
      return rest;
    });
    assert.deepEqual(told, [
      { type: "Lifecycle", domain: dom, event: "Stopped", detail: "Destroyed" },
      { type: "Lifecycle", domain: dom, event: "Unknown", detail: "Unknown" },
      { type: "Reboot", domain: dom },
      {
        type: "IOError",
        domain: dom,
        path: "/disk",
        device: "virtio-disk0",
        action: "Pause",
        reason: "enospc",
      },
      { type: "AgentLifecycle", domain: dom, state: "Connected", reason: "Channel" },
      { type: "MetadataChange", domain: dom, kind: "Element", nsUri: "urn:x" },
      { type: "JobCompleted", domain: dom, operation: "Backup", stats: params },
      { type: "BlockJob", domain: dom, disk: "vda", job: "Copy", status: "Ready" },
      { type: "PMWakeup", domain: dom },
      { type: "PMSuspend", domain: dom },
    ]);
  });

  it("about what the host has is told with the object's name, a secret's with its UUID", async () => {
    await using heard = hear();
    const client = await serveNext();
    await heard.next("Connected");
    const about = { callbackId: 1, detail: 0 };
    const { uuid } = dom;
    const secret = { uuid, usageType: 1, usageId: "/disk" };
    client.event(hostEvents.networkLifecycle, { ...about, net: { name: "default", uuid }, event: 3 });
    client.event(hostEvents.storagePoolLifecycle, { ...about, pool: { name: "images", uuid }, event: 2 });
    client.event(hostEvents.storagePoolRefresh, { callbackId: 1, pool: { name: "images", uuid } });
    client.event(hostEvents.nodeDeviceLifecycle, { ...about, dev: { name: "pci_0000_02_10_7" }, event: 1 });
    client.event(hostEvents.secretLifecycle, { ...about, secret, event: 1 });
    client.event(hostEvents.secretLifecycle, { ...about, secret, event: 77 });
    client.event(hostEvents.secretValueChanged, { callbackId: 1, secret });
    await client.hasRead();
    const told = heard.pending.map((event) => {
      assert.equal(event.type, "HostChange");
      const { object, name, event: what } = event;
      return `${object} ${name} ${what}`;
    });
    assert.deepEqual(told, [
      "Network default Stopped",
      "StoragePool images Started",
      "StoragePool images Refreshed",
      "NodeDevice pci_0000_02_10_7 Deleted",
      `Secret ${uuid} Undefined`,
      `Secret ${uuid} Unknown`,
      `Secret ${uuid} ValueChanged`,
    ]);
  });

  it("whose listener throws costs none of those that follow, and the fault surfaces", async (context) => {
    const surfaced = context.mock.method(globalThis, "queueMicrotask", () => {});
    const told: string[] = [];
    const connected = Promise.withResolvers<void>();
    await using session = new Session(daemon.uri, {
      listener: ({ type }) => {
        told.push(type);
        connected.resolve();
        throw new Error("a faulty listener");
      },
    });
    session.start();
    const client = await serveNext();
    await connected.promise;
    client.event(events.lifecycle, { callbackId: 0, dom, event: 5, detail: 1 });
    client.event(events.reboot, { callbackId: 0, dom });
    await client.hasRead();
    assert.deepEqual(told, ["Connected", "Lifecycle", "Reboot"]);
    assert.equal(surfaced.mock.callCount(), 3);
    assert.throws(() => surfaced.mock.calls[0]?.arguments[0]?.(), /a faulty listener/);
  });
});

describe("a call that waits for nothing", () => {
  it("goes over another connection than the events: libvirtd may die when a client that had both is gone", async () => {
    await using heard = hear();
    await serveNext(rule(procedures.domainGetState, () => new Refusal(NO_SUPPORT)));
    await heard.next("Connected");
    const asked = heard.session.call(procedures.domainGetState, { dom, flags: 0 });
    const second = await daemon.accept();
    await second.open();
    await second.answer(procedures.domainGetState, { state: 1, reason: 1 });
    assert.deepEqual(await asked, { state: 1, reason: 1 });
  });
});

describe("a call that waits for a domain", () => {
  const waitsFor = "Domain";

  it("has one of the places on two connections until it is answered, also when nobody waits for it any more", async () => {
    await using heard = hear({ maxInFlight: 1 });
    await serveNext();
    await heard.next("Connected");
    const reset = (timeoutMs: number) =>
      heard.session.call(procedures.domainReset, { dom, flags: 0 }, { waitsFor, timeoutMs });
    const given = assert.rejects(reset(1), { name: "CallTimeoutError", sent: true });
    const second = await daemon.accept();
    await second.open();
    const { serial } = await second.nextCall(procedures.domainReset);
    await given;
    const asked = heard.session.call(procedures.connectGetHostname, {});
    const third = await daemon.accept();
    await third.open();
    const later = await third.nextCall(procedures.connectGetHostname);
    await assert.rejects(reset(1), { name: "CallTimeoutError", sent: false });
    const last = reset(30_000);
    second.reply(procedures.domainReset, serial, {});
    await second.answer(procedures.domainReset, {});
    await last;
    third.reply(procedures.connectGetHostname, later.serial, { hostname: "host" });
    assert.deepEqual(await asked, { hostname: "host" });
  });

  it("is not sent where it gets its place when its time is over", async (context) => {
    await using heard = hear({ maxInFlight: 1 });
    await serveNext();
    await heard.next("Connected");
    const reset = (timeoutMs: number) =>
      heard.session.call(procedures.domainReset, { dom, flags: 0 }, { waitsFor, timeoutMs });
    const taken = [reset(30_000), reset(30_000)];
    const clients = [await daemon.accept(), await daemon.accept()];
    const serials: number[] = [];
    for (const client of clients) {
      await client.open();
      serials.push((await client.nextCall(procedures.domainReset)).serial);
    }
    const late = assert.rejects(reset(1000), { name: "CallTimeoutError", sent: false });
    const now = performance.now();
    context.mock.method(performance, "now", () => now + 1001);
    for (const [index, client] of clients.entries())
      client.reply(procedures.domainReset, serials[index] ?? 0, {});
    await Promise.all([...taken, late]);
  });

  it("gets a new connection when the second one was lost or could not be opened", async () => {
    await using heard = hear();
    await serveNext();
    await heard.next("Connected");
    const reset = () => heard.session.call(procedures.domainReset, { dom, flags: 0 }, { waitsFor });
    const refused = reset();
    (await daemon.accept()).end();
    await assert.rejects(refused, { name: "ConnectionError", kind: "Disconnected", sent: false });
    const interrupted = reset();
    await serveNext(
      rule(procedures.domainReset, (_args, client) => {
        client.end();
        return undefined;
      }),
    );
    await assert.rejects(interrupted, { name: "ConnectionError", kind: "Disconnected", sent: true });
    const done = reset();
    await serveNext(rule(procedures.domainReset, () => ({})));
    await done;
    assert.deepEqual(heard.pending, []);
  });

  it("ends with the first connection, open or not", async () => {
    await using heard = hear({ reconnect: { initialDelayMs: 60_000, maxDelayMs: 60_000 } });
    const reset = () => heard.session.call(procedures.domainReset, { dom, flags: 0 }, { waitsFor });
    const first = await serveNext();
    await heard.next("Connected");
    const interrupted = reset();
    const second = await serveNext(
      rule(procedures.domainReset, () => {
        first.end();
        return undefined;
      }),
    );
    await assert.rejects(interrupted, { name: "ConnectionError", kind: "Closed", sent: true });
    await second.ended;
    await heard.next("Disconnected");
    await assert.rejects(reset(), { name: "ConnectionError", kind: "NotConnected" });
  });

  it("is given up with the session while its connection is being opened", async () => {
    const heard = hear();
    await serveNext();
    await heard.next("Connected");
    const reset = heard.session.call(procedures.domainReset, { dom, flags: 0 }, { waitsFor });
    const second = await daemon.accept();
    const rejected = assert.rejects(reset, { name: "ConnectionError", kind: "Closed", sent: false });
    await heard.session.close();
    await rejected;
    await second.ended;
  });
});

describe("calls that start and end processes", () => {
  it("leave places for the others", async () => {
    await using heard = hear({ maxInFlight: 2 });
    await serveNext();
    await heard.next("Connected");
    const { session } = heard;
    const start = () =>
      session.call(procedures.domainCreateWithFlags, { dom, flags: 0 }, { waitsFor: "Power" });
    const starting = Promise.all([start(), start(), start()]);
    const second = await daemon.accept();
    await second.open();
    const first = await second.nextCall(procedures.domainCreateWithFlags);
    await second.answer(procedures.domainCreateWithFlags, { dom });
    const third = await second.nextCall(procedures.domainCreateWithFlags);
    const asked = session.call(procedures.connectGetHostname, {});
    await serveNext();
    assert.deepEqual(await asked, { hostname: "host" });
    for (const { serial } of [first, third]) second.reply(procedures.domainCreateWithFlags, serial, { dom });
    await starting;
  });
});

describe("a daemon that answers none of its calls", () => {
  it("is asked nothing more before it answers one, and both is told", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    await using heard = hear({ maxInFlight: 1, keepalive: { intervalMs: 1_000_000 } });
    await serveNext();
    await heard.next("Connected");
    const ask = () => heard.session.call(procedures.connectGetHostname, {}, { timeoutMs: 600_000 });
    const asked = [ask(), ask()];
    const clients = [await daemon.accept(), await daemon.accept()];
    const serials: number[] = [];
    for (const client of clients) {
      await client.open();
      serials.push((await client.nextCall(procedures.connectGetHostname)).serial);
    }
    const waiting = assert.rejects(ask(), { name: "CallHeldError", unanswered: 2 });
    const now = performance.now();
    context.mock.method(performance, "now", () => now + 6000);
    context.mock.timers.tick(1000);
    await waiting;
    await assert.rejects(ask(), { name: "CallHeldError" });
    assert.equal((await heard.next("Held")).error.unanswered, 2);
    clients[0]?.reply(procedures.connectGetHostname, serials[0] ?? 0, { hostname: "host" });
    await asked[0];
    await heard.next("Released");
    clients[1]?.reply(procedures.connectGetHostname, serials[1] ?? 0, { hostname: "host" });
    await asked[1];
    // They are said goodbye.
    for (const client of clients) void client.serve(ordinary);
  });
});

describe("a daemon that does not list its domains", () => {
  it("is connected to all the same, and its list is told when it has answered", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    await using heard = hear({ keepalive: { intervalMs: 1_000_000 } });
    const lists: number[] = [];
    const listed = Promise.withResolvers<void>();
    const main = await serveNext({
      program: procedures.connectGetAllDomainStats.program,
      number: procedures.connectGetAllDomainStats.number,
      answer: async (_client, { serial }) => {
        lists.push(serial);
        listed.resolve();
      },
    });
    await listed.promise;
    context.mock.timers.tick(3000);
    assert.equal((await heard.next("Connected")).domains, undefined);
    main.event(events.reboot, { callbackId: 1, dom });
    await heard.next("Reboot");
    main.reply(procedures.connectGetAllDomainStats, lists[0] ?? 0, { retStats: [] });
    await serveNext();
    const { domains } = await heard.next("Listed");
    assert.deepEqual(
      domains.map(({ name }) => name),
      ["vm", "off"],
    );
  });
});

describe("a call that waits for an agent", () => {
  it("takes no place from those that wait for a domain, and those none from it", async () => {
    await using heard = hear({ maxInFlight: 1 });
    await serveNext();
    await heard.next("Connected");
    const shutdown = () =>
      heard.session.call(procedures.domainShutdownFlags, { dom, flags: 2 }, { waitsFor: "Agent" });
    const hanging = shutdown();
    const agents = await daemon.accept();
    await agents.open();
    const { serial } = await agents.nextCall(procedures.domainShutdownFlags);
    const reset = heard.session.call(procedures.domainReset, { dom, flags: 0 }, { waitsFor: "Domain" });
    await serveNext(rule(procedures.domainReset, () => ({})));
    await reset;
    agents.reply(procedures.domainShutdownFlags, serial, {});
    await hanging;
  });

  it("rejects as not sent when it finds no place within its deadline", async () => {
    await using heard = hear({ maxInFlight: 1 });
    await serveNext();
    await heard.next("Connected");
    const shutdown = (timeoutMs: number) =>
      heard.session.call(procedures.domainShutdownFlags, { dom, flags: 2 }, { waitsFor: "Agent", timeoutMs });
    const given = assert.rejects(shutdown(1), { name: "CallTimeoutError", sent: true });
    const agents = await daemon.accept();
    await agents.open();
    const { serial } = await agents.nextCall(procedures.domainShutdownFlags);
    await given;
    await assert.rejects(shutdown(1), { name: "CallTimeoutError", sent: false });
    agents.reply(procedures.domainShutdownFlags, serial, {});
    const third = shutdown(30_000);
    await agents.answer(procedures.domainShutdownFlags, {});
    await third;
  });
});

describe("a session that has lost its connection", () => {
  it("says so, connects again, and tells all domains afresh", async () => {
    await using heard = hear();
    const first = await serveNext();
    await heard.next("Connected");
    first.end();
    const { stage, error, retryInMs } = await heard.next("Disconnected");
    assert.deepEqual(
      { stage, kind: error.kind, retryInMs },
      { stage: "Lost", kind: "Disconnected", retryInMs: 1 },
    );
    await serveNext(
      rule(procedures.connectGetAllDomainStats, () => ({ retStats: [statsOf({ ...dom, id: 8 }, 1, 1)] })),
    );
    assert.deepEqual((await heard.next("Connected")).domains, [
      { ...dom, id: 8, state: "Running", reason: "Booted" },
    ]);
  });

  it("rejects calls at once until it is back, and never sends them then", async () => {
    await using heard = hear({ reconnect: { initialDelayMs: 60_000, maxDelayMs: 60_000 } });
    const { session } = heard;
    const notConnected = { name: "ConnectionError", kind: "NotConnected", sent: false };
    await assert.rejects(session.call(procedures.connectGetHostname, {}), notConnected);
    const client = await serveNext();
    await heard.next("Connected");
    const interrupted = session.call(procedures.domainReset, { dom, flags: 0 });
    await serveNext(
      rule(procedures.domainReset, () => {
        client.end();
        return undefined;
      }),
    );
    await assert.rejects(interrupted, { name: "ConnectionError", kind: "Closed", sent: true });
    const { error } = await heard.next("Disconnected");
    await assert.rejects(session.call(procedures.connectGetHostname, {}), { ...notConnected, cause: error });
    assert.equal(session.state.status, "Waiting");
  });

  it("waits twice as long each time, up to the limit, and tells a first failure from a later one", async () => {
    await using heard = hear({}, `${daemon.uri}.not`);
    const delays: number[] = [];
    for (let count = 0; count < 5; count++) {
      const { stage, error, retryInMs } = await heard.next("Disconnected");
      assert.deepEqual({ stage, kind: error.kind }, { stage: "FirstConnect", kind: "NotFound" });
      delays.push(retryInMs);
    }
    assert.deepEqual(delays, [1, 2, 4, 8, 8]);
  });

  it("shortens its delays at random, by half at most", async () => {
    const reconnect = { initialDelayMs: 8, maxDelayMs: 8, random: () => 0.5 };
    await using heard = hear({ reconnect }, `${daemon.uri}.not`);
    assert.equal((await heard.next("Disconnected")).retryInMs, 6);
  });

  it("says which failures came after a connection", async () => {
    await using heard = hear();
    const stages: Disconnected["stage"][] = [];
    const client = await serveNext();
    await heard.next("Connected");
    client.end();
    stages.push((await heard.next("Disconnected")).stage);
    (await daemon.accept()).end();
    stages.push((await heard.next("Disconnected")).stage);
    assert.deepEqual(stages, ["Lost", "Reconnect"]);
  });

  it("begins with the short delay again only after a connection that lasted", async () => {
    await using heard = hear({ keepalive: { intervalMs: 20, count: 10 } });
    for (const retryInMs of [1, 2]) {
      (await daemon.accept()).end();
      assert.equal((await heard.next("Disconnected")).retryInMs, retryInMs);
    }
    const client = await daemon.accept();
    const pinged = Promise.withResolvers<void>();
    void client.serve([
      { program: 0x6b65_6570, number: 1, answer: async () => pinged.resolve() },
      ...ordinary,
    ]);
    await heard.next("Connected");
    await pinged.promise;
    client.end();
    assert.equal((await heard.next("Disconnected")).retryInMs, 1);
  });

  it("tries again at once when the daemon's socket appears", async () => {
    await using late = await ScriptedDaemon.create();
    await using heard = hear({ reconnect: { initialDelayMs: 60_000, maxDelayMs: 60_000 } }, late.uri);
    assert.equal((await heard.next("Disconnected")).retryInMs, 60_000);
    await late.start();
    const client = await late.accept();
    void client.serve(ordinary);
    await heard.next("Connected");
  });

  it("tries again when it is lost while it lists", async () => {
    await using heard = hear();
    await serveNext(
      rule(procedures.connectGetAllDomainStats, (_args, client) => {
        client.end();
        return undefined;
      }),
    );
    const { stage, error } = await heard.next("Disconnected");
    assert.deepEqual({ stage, kind: error.kind }, { stage: "FirstConnect", kind: "Disconnected" });
    await serveNext();
    await heard.next("Connected");
  });
});

describe("a session that is closed", () => {
  it("says goodbye and is silent from then on", async () => {
    const heard = hear();
    const client = await serveNext();
    await heard.next("Connected");
    await heard.session.close();
    await client.ended;
    assert.deepEqual(heard.session.state, { status: "Closed" });
    assert.deepEqual(heard.pending, []);
    await assert.rejects(heard.session.call(procedures.connectGetHostname, {}), { kind: "NotConnected" });
    await heard.session.close();
  });

  it("gives up connecting", async () => {
    const heard = hear();
    const client = await daemon.accept();
    await heard.session.close();
    await client.ended;
    assert.deepEqual(heard.pending, []);
  });

  it("gives up listing", async () => {
    const heard = hear();
    const listing = Promise.withResolvers<void>();
    const client = await serveNext(
      rule(procedures.connectGetAllDomainStats, () => {
        listing.resolve();
        return undefined;
      }),
    );
    await listing.promise;
    await heard.session.close();
    await client.ended;
    assert.deepEqual(heard.pending, []);
  });

  it("gives up waiting", async () => {
    const reconnect = { initialDelayMs: 60_000, maxDelayMs: 60_000 };
    const heard = hear({ reconnect }, `${daemon.uri}.not`);
    await heard.next("Disconnected");
    await heard.session.close();
  });

  it("may be closed by its own listener", async () => {
    const closed = Promise.withResolvers<void>();
    const told: Connected[] = [];
    const session = new Session(daemon.uri, {
      listener: (event) => {
        assert.equal(event.type, "Connected");
        told.push(event);
        void session.close().then(closed.resolve);
      },
    });
    session.start();
    await serveNext(
      rule(procedures.connectGetUri, (_args, client) => {
        client.event(events.reboot, { callbackId: 1, dom });
        return { uri: "test:///default" };
      }),
    );
    await closed.promise;
    assert.equal(told.length, 1);
  });

  it("never begins when it was never started", async () => {
    const session = new Session(daemon.uri, { listener: () => assert.fail("nothing to hear") });
    await session.close();
    session.start();
    assert.deepEqual(session.state, { status: "Closed" });
  });
});
