import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterEach, beforeEach, describe, it } from "node:test";

import * as fc from "fast-check";
import { CallTimeoutError, Connection, ConnectionError, LibvirtError, events, procedures } from "libvirt";
import type { ConnectionErrorKind, ConnectionOptions } from "libvirt";

import { MessageType, encodeFrame } from "../../../src/libvirt/protocol/frame.ts";
import { connectionProcedures as opening } from "../../../src/libvirt/protocol/procedures.ts";
import { ScriptedDaemon, replyFrame, replyHeader } from "./peer.ts";
import type { ScriptedClient } from "./peer.ts";

const dom = { name: "vm", uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f", id: 7 };
const { connectGetHostname, domainGetState, domainLookupByName } = procedures;

let daemon: ScriptedDaemon;
beforeEach(async () => {
  daemon = await ScriptedDaemon.listen();
});
afterEach(() => daemon.close());

async function open(
  options?: ConnectionOptions,
): Promise<{ connection: Connection; client: ScriptedClient }> {
  const opened = Connection.open(daemon.uri, options);
  const client = await daemon.accept();
  const [connection] = await Promise.all([opened, client.open()]);
  return { connection, client };
}

/** What a promise is rejected with. */
async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  return assert.fail("it was not rejected");
}

async function connectionError(
  promise: Promise<unknown>,
  kind: ConnectionErrorKind,
): Promise<ConnectionError> {
  const error = await rejection(promise);
  assert.ok(error instanceof ConnectionError, String(error));
  assert.equal(error.kind, kind, error.message);
  return error;
}

describe("opening a connection", () => {
  it("authenticates, agrees on keepalive and opens the driver, in this order", async () => {
    const opened = Connection.open(daemon.uri);
    const client = await daemon.accept();
    await client.answer(opening.authList, { types: [0] });
    assert.deepEqual(await client.answer(opening.connectSupportsFeature, { supported: 1 }), { feature: 10 });
    assert.deepEqual(await client.answer(opening.connectOpen, {}), { name: "test:///default", flags: 0 });
    const connection = await opened;
    assert.deepEqual(connection.state, { status: "Open" });
  });

  it("asks polkit when the daemon wants it", async () => {
    const opened = Connection.open(daemon.uri);
    const client = await daemon.accept();
    await client.answer(opening.authList, { types: [2] });
    await client.answer(opening.authPolkit, { complete: 1 });
    await client.answer(opening.connectSupportsFeature, { supported: 1 });
    await client.answer(opening.connectOpen, {});
    await opened;
  });

  it("says so when polkit refuses", async () => {
    const opened = Connection.open(daemon.uri);
    const client = await daemon.accept();
    await client.answer(opening.authList, { types: [2] });
    const { serial } = await client.nextCall(opening.authPolkit);
    client.fail(opening.authPolkit, serial, 45, "polkit denied");
    const error = await connectionError(opened, "AuthenticationFailed");
    assert.match(error.message, /polkit denied/);
    assert.ok(error.cause instanceof LibvirtError);
  });

  it("says what to do when the daemon asks for SASL", async () => {
    const opened = Connection.open(daemon.uri);
    const client = await daemon.accept();
    await client.answer(opening.authList, { types: [1] });
    assert.match((await connectionError(opened, "AuthenticationFailed")).message, /SASL.*auth_unix_rw/);
    await client.ended;
  });

  it("refuses a daemon that refuses keepalive", async () => {
    const opened = Connection.open(daemon.uri);
    const client = await daemon.accept();
    await client.answer(opening.authList, { types: [0] });
    await client.answer(opening.connectSupportsFeature, { supported: 0 });
    assert.match((await connectionError(opened, "OpenFailed")).message, /keepalive/);
  });

  it("passes on why the driver could not be opened", async () => {
    const opened = Connection.open(daemon.uri);
    const client = await daemon.accept();
    await client.answer(opening.authList, { types: [0] });
    await client.answer(opening.connectSupportsFeature, { supported: 1 });
    const { serial } = await client.nextCall(opening.connectOpen);
    client.fail(opening.connectOpen, serial, 5, "no connection driver available");
    const error = await connectionError(opened, "OpenFailed");
    assert.match(error.message, /no connection driver available/);
    assert.ok(error.cause instanceof LibvirtError);
    assert.equal(error.cause.code, "NO_CONNECT");
  });

  it("gives up a daemon that accepts and says nothing", async () => {
    const error = await connectionError(Connection.open(daemon.uri, { openTimeoutMs: 20 }), "OpenTimeout");
    assert.match(error.message, new RegExp(daemon.socketPath));
  });

  it("is given up by a signal, before and meanwhile", async () => {
    await connectionError(Connection.open(daemon.uri, { signal: AbortSignal.abort() }), "Closed");
    const controller = new AbortController();
    const opened = Connection.open(daemon.uri, { signal: controller.signal });
    const client = await daemon.accept();
    await client.nextCall(opening.authList);
    controller.abort();
    await connectionError(opened, "Closed");
    await client.ended;
  });

  it("says when the daemon ends it", async () => {
    const opened = Connection.open(daemon.uri);
    const client = await daemon.accept();
    await client.nextCall(opening.authList);
    client.end();
    await connectionError(opened, "Disconnected");
  });

  it("tells a socket that is not there from one that nobody listens on", async () => {
    const missing = `test+unix:///default?socket=${daemon.socketPath}.not`;
    const error = await connectionError(Connection.open(missing), "NotFound");
    assert.match(error.message, new RegExp(`${daemon.socketPath}.not`));
    assert.ok(error.cause instanceof Error);
    await connectionError(Connection.open(`test+unix:///default?socket=${import.meta.filename}`), "Refused");
  });
});

describe("a call", () => {
  it("sends its arguments and returns its result", async () => {
    const { connection, client } = await open();
    const result = connection.call(domainGetState, { dom, flags: 3 });
    assert.deepEqual(await client.answer(domainGetState, { state: 5, reason: 1 }), { dom, flags: 3 });
    assert.deepEqual(await result, { state: 5, reason: 1 });
  });

  it("gets its own reply when replies come out of order", async () => {
    const { connection, client } = await open();
    const results = ["a", "b", "c"].map((name) => connection.call(domainLookupByName, { name }));
    const calls = [];
    for (let count = 0; count < 3; count++) {
      calls.push(await client.nextCall(domainLookupByName));
    }
    for (const { serial, args } of calls.toReversed()) {
      client.reply(domainLookupByName, serial, { dom: { ...dom, name: args.name } });
    }
    const names = (await Promise.all(results)).map((result) => result.dom.name);
    assert.deepEqual(names, ["a", "b", "c"]);
  });

  it("rejects with libvirt's error, and the connection stays", async () => {
    const { connection, client } = await open();
    const result = connection.call(domainLookupByName, { name: "a" });
    const { serial } = await client.nextCall(domainLookupByName);
    client.fail(domainLookupByName, serial, 42, "Domain not found");
    const error = await rejection(result);
    assert.ok(error instanceof LibvirtError);
    const { code, number, domain, message, procedure } = error;
    assert.deepEqual(
      { code, number, domain, message, procedure },
      {
        code: "NO_DOMAIN",
        number: 42,
        domain: 10,
        message: "Domain not found",
        procedure: "DOMAIN_LOOKUP_BY_NAME",
      },
    );
    assert.equal(connection.state.status, "Open");
  });

  it("names an error that a later libvirt added UNKNOWN, and has a message where libvirt gives none", async () => {
    const { connection, client } = await open();
    const result = connection.call(domainLookupByName, { name: "a" });
    const { serial } = await client.nextCall(domainLookupByName);
    client.fail(domainLookupByName, serial, 9_999);
    const error = await rejection(result);
    assert.ok(error instanceof LibvirtError);
    assert.equal(error.code, "UNKNOWN");
    assert.match(error.message, /9999/);
  });

  it("with arguments that cannot be sent rejects alone, and sends nothing", async () => {
    const { connection, client } = await open();
    assert.ok((await rejection(connection.call(domainGetState, { dom, flags: -1 }))) instanceof RangeError);
    await client.nextIsPong();
  });

  it("whose reply cannot be read rejects alone", async () => {
    const { connection, client } = await open();
    const result = connection.call(domainGetState, { dom, flags: 0 });
    const { serial } = await client.nextCall(domainGetState);
    client.send(replyHeader(domainGetState, serial), (to) => to.int(5));
    const error = await connectionError(result, "Protocol");
    assert.match(error.message, /DOMAIN_GET_STATE/);
    assert.equal(error.sent, true);
    const next = connection.call(connectGetHostname, {});
    await client.answer(connectGetHostname, { hostname: "host" });
    assert.deepEqual(await next, { hostname: "host" });
  });
});

describe("the channel libvirt:call", () => {
  it("tells when a call begins, when it was sent, and its reply before whoever waits for it", async () => {
    const { connection, client } = await open({ maxInFlight: 1 });
    const told: string[] = [];
    const listen = (message: unknown) => {
      const { procedure, step } = message as { procedure: string; step: string };
      told.push(`${procedure} ${step}`);
    };
    subscribe("libvirt:call", listen);
    try {
      const hostname = connection.call(connectGetHostname, {}).then(() => told.push("answered"));
      const state = connection.call(domainGetState, { dom, flags: 0 });
      await client.answer(connectGetHostname, { hostname: "host" });
      await hostname;
      await client.answer(domainGetState, { state: 1, reason: 1 });
      await state;
    } finally {
      unsubscribe("libvirt:call", listen);
    }
    const [first, second] = [connectGetHostname.name, domainGetState.name];
    assert.deepEqual(told, [
      `${first} begin`,
      `${first} sent`,
      `${second} begin`,
      `${first} reply`,
      `${second} sent`,
      "answered",
      `${second} reply`,
    ]);
  });
});

describe("calls beyond the limit", () => {
  const limit = 4;

  it("wait, and follow in the order in which they were made", async () => {
    const { connection, client } = await open();
    const names = ["a", "b", "c", "d", "e", "f", "g"];
    const results = names.map((name) => connection.call(domainLookupByName, { name }));
    const serials = [];
    for (const name of names.slice(0, limit)) {
      const { serial, args } = await client.nextCall(domainLookupByName);
      assert.equal(args.name, name);
      serials.push(serial);
    }
    await client.nextIsPong();
    // Whichever is answered first, the next one in the queue takes its place.
    for (const name of names.slice(limit)) {
      client.reply(domainLookupByName, serials.pop() ?? 0, { dom });
      const { serial, args } = await client.nextCall(domainLookupByName);
      assert.equal(args.name, name);
      serials.unshift(serial);
      await client.nextIsPong();
    }
    for (const serial of serials) {
      client.reply(domainLookupByName, serial, { dom });
    }
    await Promise.all(results);
  });

  it("that time out while they wait are never sent", async () => {
    const { connection, client } = await open({ maxInFlight: 1 });
    const first = connection.call(domainLookupByName, { name: "first" });
    const waiting = connection.call(domainLookupByName, { name: "waiting" }, { timeoutMs: 5 });
    const last = connection.call(domainLookupByName, { name: "last" });
    const error = await rejection(waiting);
    assert.ok(error instanceof CallTimeoutError);
    const { procedure, timeoutMs, sent } = error;
    assert.deepEqual(
      { procedure, timeoutMs, sent },
      { procedure: "DOMAIN_LOOKUP_BY_NAME", timeoutMs: 5, sent: false },
    );
    assert.equal((await client.answer(domainLookupByName, { dom })).name, "first");
    assert.equal((await client.answer(domainLookupByName, { dom })).name, "last");
    await Promise.all([first, last]);
  });

  it("wait for one that timed out after it was sent, because the daemon still holds it", async () => {
    const { connection, client } = await open({ maxInFlight: 1 });
    const late = connection.call(domainLookupByName, { name: "late" }, { timeoutMs: 5 });
    const next = connection.call(domainLookupByName, { name: "next" });
    const error = await rejection(late);
    assert.ok(error instanceof CallTimeoutError);
    assert.equal(error.sent, true);
    const { serial } = await client.nextCall(domainLookupByName);
    await client.nextIsPong();
    client.reply(domainLookupByName, serial, { dom });
    assert.equal((await client.answer(domainLookupByName, { dom })).name, "next");
    await next;
  });

  it("are given up by their signals, sent or not", async () => {
    const { connection, client } = await open({ maxInFlight: 1 });
    const reason = new Error("never mind");
    assert.equal(
      await rejection(
        connection.call(domainLookupByName, { name: "early" }, { signal: AbortSignal.abort(reason) }),
      ),
      reason,
    );
    const controller = new AbortController();
    const { signal } = controller;
    const sent = connection.call(domainLookupByName, { name: "sent" }, { signal });
    const waiting = connection.call(domainLookupByName, { name: "waiting" }, { signal });
    const last = connection.call(domainLookupByName, { name: "last" });
    const { serial, args } = await client.nextCall(domainLookupByName);
    assert.equal(args.name, "sent");
    controller.abort(reason);
    assert.equal(await rejection(sent), reason);
    assert.equal(await rejection(waiting), reason);
    client.reply(domainLookupByName, serial, { dom });
    assert.equal((await client.answer(domainLookupByName, { dom })).name, "last");
    await last;
  });
});

describe("an event", () => {
  const stopped = { callbackId: 1, dom, event: 5, detail: 0 };

  it("reaches its listeners, in order, with the time of its arrival, until they leave", async () => {
    const { connection, client } = await open();
    const heard: unknown[] = [];
    const before = performance.now();
    const leave = connection.onEvent(events.lifecycle, (payload, receivedAtMs) => {
      assert.ok(receivedAtMs >= before && receivedAtMs <= performance.now());
      heard.push(payload);
    });
    client.event(events.lifecycle, stopped);
    client.event(events.reboot, { callbackId: 2, dom });
    client.event(events.lifecycle, { ...stopped, detail: 1 });
    await client.nextIsPong();
    assert.deepEqual(heard, [stopped, { ...stopped, detail: 1 }]);
    leave();
    client.event(events.lifecycle, stopped);
    await client.nextIsPong();
    assert.equal(heard.length, 2);
  });

  it("that comes with a reply in one chunk is heard before the reply's call goes on", async () => {
    const { connection, client } = await open();
    const order: string[] = [];
    connection.onEvent(events.lifecycle, () => order.push("event"));
    const result = connection.call(connectGetHostname, {}).then(() => order.push("reply"));
    const { serial } = await client.nextCall(connectGetHostname);
    client.event(events.lifecycle, stopped);
    client.reply(connectGetHostname, serial, { hostname: "host" });
    await result;
    assert.deepEqual(order, ["event", "reply"]);
  });

  it("of a kind that nobody listens for is ignored", async () => {
    const { client } = await open();
    client.send({ ...replyHeader({ number: 999 }, 0), type: MessageType.Message }, (to) => to.uint(1));
    await client.nextIsPong();
  });

  it("that cannot be read ends the connection, because what follows would be doubtful", async () => {
    const { connection, client } = await open();
    connection.onEvent(events.lifecycle, () => assert.fail("there is nothing to hear"));
    client.send({ ...replyHeader(events.lifecycle, 0), type: MessageType.Message }, (to) => to.uint(1));
    assert.equal((await connection.closed).kind, "Protocol");
  });
});

describe("keepalive", () => {
  it("answers the daemon's pings", async () => {
    const { client } = await open();
    await client.nextIsPong();
    await client.nextIsPong();
  });

  it("pings a silent daemon, and stays as long as it answers", async () => {
    const { connection, client } = await open({ keepalive: { intervalMs: 5, count: 10 } });
    for (let count = 0; count < 10; count++) {
      const { program, procedure } = await client.next();
      assert.deepEqual({ program, procedure }, { program: 0x6b65_6570, procedure: 1 });
      client.pong();
    }
    assert.equal(connection.state.status, "Open");
  });

  it("ends the connection when the daemon answers none of its pings", async () => {
    const { connection, client } = await open({ keepalive: { intervalMs: 5, count: 3 } });
    const result = connection.call(connectGetHostname, {});
    const error = await connectionError(result, "KeepaliveTimeout");
    assert.equal(error.sent, true);
    assert.equal((await connection.closed).kind, "KeepaliveTimeout");
    await client.nextCall(connectGetHostname);
    for (let count = 0; count < 3; count++) {
      assert.equal((await client.next()).program, 0x6b65_6570);
    }
    await client.ended;
  });
});

describe("a connection that ends", () => {
  it("rejects the calls that were sent and those that waited, each saying which it was", async () => {
    const { connection, client } = await open({ maxInFlight: 1 });
    const sent = connection.call(domainLookupByName, { name: "sent" });
    const waiting = connection.call(domainLookupByName, { name: "waiting" });
    await client.nextCall(domainLookupByName);
    client.end();
    assert.equal((await connectionError(sent, "Disconnected")).sent, true);
    assert.equal((await connectionError(waiting, "Disconnected")).sent, false);
    assert.equal((await connection.closed).kind, "Disconnected");
    const later = await connectionError(connection.call(connectGetHostname, {}), "Disconnected");
    assert.equal(later.sent, false);
    assert.equal(later.cause, await connection.closed);
  });

  it("gives no result when it ends in the middle of the reply, at whichever byte", async () => {
    const reply = replyFrame(connectGetHostname, 4, { hostname: "host" });
    for (let cut = 0; cut < reply.length; cut++) {
      const { connection, client } = await open();
      const result = connection.call(connectGetHostname, {});
      assert.equal((await client.nextCall(connectGetHostname)).serial, 4);
      client.write(reply.subarray(0, cut));
      client.end();
      await connectionError(result, "Disconnected");
    }
  });

  it("closes with a goodbye", async () => {
    const { connection, client } = await open();
    const result = connectionError(connection.call(connectGetHostname, {}), "Closed");
    await client.nextCall(connectGetHostname);
    const closed = connection.close();
    assert.equal(connection.state.status, "Closing");
    assert.equal((await result).sent, true);
    await connectionError(connection.call(connectGetHostname, {}), "Closed");
    await client.answer(opening.connectClose, {});
    await closed;
    assert.equal(connection.state.status, "Closed");
    await client.ended;
    await connection.close();
  });

  it("closes even when the daemon does not answer the goodbye but ends it", async () => {
    const { connection, client } = await open();
    const closed = Promise.all([connection.close(), connection.close()]);
    await client.nextCall(opening.connectClose);
    client.end();
    await closed;
    assert.equal((await connection.closed).kind, "Closed");
  });

  it("closes by itself at the end of its scope", async () => {
    const opened = Connection.open(daemon.uri);
    const client = await daemon.accept();
    await client.open();
    const goodbye = client.answer(opening.connectClose, {});
    {
      await using connection = await opened;
      assert.equal(connection.state.status, "Open");
    }
    await goodbye;
    await client.ended;
  });
});

describe("a peer that does not speak the protocol", () => {
  const reply = replyHeader(connectGetHostname, 1);
  const messages: Record<string, Parameters<ScriptedClient["send"]>[0]> = {
    "a reply to a serial that no call has": { ...reply, serial: 77 },
    "a second reply to the same call": { ...reply, serial: 3 },
    "a program that nobody knows": { ...reply, program: 0x1234 },
    "a version that nobody knows": { ...reply, version: 2 },
    "a reply with file descriptors": { ...reply, type: MessageType.ReplyWithFds },
    "stream data": { ...reply, type: MessageType.Stream },
    "a call": { ...reply, type: MessageType.Call },
    "a type that nobody knows": { ...reply, type: 99 },
  };
  for (const [name, header] of Object.entries(messages)) {
    it(`${name} ends the connection`, async () => {
      const { connection, client } = await open();
      client.send(header, () => {});
      assert.equal((await connection.closed).kind, "Protocol");
      await client.ended;
    });
  }

  const wrongReplies: Record<string, Partial<Parameters<ScriptedClient["send"]>[0]>> = {
    "names another procedure": { procedure: 1 },
    "names another program": { program: 0x2000_8087 },
    "has a status that no reply has": { status: 2 },
  };
  for (const [name, difference] of Object.entries(wrongReplies)) {
    it(`a reply that ${name} ends the connection and rejects the call`, async () => {
      const { connection, client } = await open();
      const result = connection.call(connectGetHostname, {});
      const { serial } = await client.nextCall(connectGetHostname);
      client.send({ ...replyHeader(connectGetHostname, serial), ...difference }, () => {});
      assert.equal((await connectionError(result, "Protocol")).sent, true);
    });
  }

  it("a length that no message can have ends the connection", async () => {
    const { connection, client } = await open();
    client.write(Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const error = await connection.closed;
    assert.equal(error.kind, "Protocol");
    assert.match(error.message, /does not speak libvirt's protocol/);
  });

  it("what follows in the same chunk is not looked at any more", async () => {
    const { connection, client } = await open();
    connection.onEvent(events.reboot, () => assert.fail("the connection has ended"));
    client.send({ ...reply, program: 1 }, () => {});
    client.event(events.reboot, { callbackId: 1, dom });
    assert.equal((await connection.closed).kind, "Protocol");
    await client.ended;
  });

  it("never does more than end the connection, whatever bytes it sends", async () => {
    const good = Buffer.concat([
      replyFrame(connectGetHostname, 4, { hostname: "host" }),
      encodeFrame({ ...replyHeader(events.lifecycle, 0), type: MessageType.Message }, (to) =>
        events.lifecycle.payload.encode(to, { callbackId: 1, dom, event: 5, detail: 1 }),
      ),
    ]);
    const damage = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(damage, fc.nat(good.length), async (changes, cut) => {
        const { connection, client } = await open();
        connection.onEvent(events.lifecycle, () => {});
        const result = connection.call(connectGetHostname, {});
        await client.nextCall(connectGetHostname);
        const bytes = Buffer.from(good);
        for (const [index, value] of changes) {
          bytes[index] = value;
        }
        client.write(bytes.subarray(0, cut));
        client.write(bytes.subarray(cut));
        client.end();
        const [settled] = await Promise.allSettled([result]);
        if (settled.status === "rejected") {
          const { reason } = settled;
          assert.ok(reason instanceof ConnectionError || reason instanceof LibvirtError, String(reason));
        }
        const { kind } = await connection.closed;
        assert.ok(kind === "Protocol" || kind === "Disconnected", kind);
      }),
      { numRuns: 100 },
    );
  });
});
