import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate as settled } from "node:timers/promises";
import {
  CallTimeoutError,
  ConnectionError,
  procedures,
  type Aftermath,
  type SessionCallOptions,
} from "libvirt";
import type { DomainReference } from "../../../controller/ports.ts";
import type { Caller } from "../../../src/hypervisor/caller.ts";
import { DomainHungError, DomainTurns } from "../../../src/hypervisor/domain-turns.ts";

const uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";
const vm = { kind: "UUID", uuid } as const;
const dom = { name: "vm", uuid, id: 1 };

/** A call as a session has it. */
interface Sent {
  readonly options: SessionCallOptions | undefined;
  readonly reply: () => void;
  readonly fail: (error: unknown) => void;
}

/** A session that answers when it is told to, and the turns over it. */
function world() {
  const sent: Sent[] = [];
  const probes: Sent[] = [];
  const answered: DomainReference[] = [];
  const call = (procedure: unknown, _args: unknown, options?: SessionCallOptions) => {
    const { promise, resolve, reject } = Promise.withResolvers<never>();
    const to = procedure === procedures.nodeGetMemoryParameters ? probes : sent;
    to.push({ options, reply: () => resolve({} as never), fail: reject });
    return promise;
  };
  const turns = new DomainTurns({ call } as Caller, (domain) => answered.push(domain));
  const calls = turns.of(vm);
  return {
    turns,
    sent,
    probes,
    answered,
    look: (of = calls) => of.call(procedures.domainGetState, { dom, flags: 0 }),
    shutDown: () => calls.call(procedures.domainShutdownFlags, { dom, flags: 0 }, { waitsFor: "Domain" }),
    destroy: () => calls.call(procedures.domainDestroyFlags, { dom, flags: 0 }, { waitsFor: "Power" }),
  };
}

/** Lets the call that was sent last be given up; gives what becomes of it then. */
async function giveUp(call: Promise<unknown>, { sent }: { sent: readonly Sent[] }) {
  const aftermath = Promise.withResolvers<Aftermath>();
  sent.at(-1)?.fail(new CallTimeoutError("X", 1, aftermath.promise));
  await assert.rejects(call, DomainHungError);
  return async (fate: Aftermath) => {
    aftermath.resolve(fate);
    await aftermath.promise;
    await Promise.resolve();
  };
}

describe("the calls about one domain", () => {
  test("are made one after the other, in their order", async () => {
    const { sent, look } = world();
    const looks = [look(), look(), look()];
    for (const [index, done] of looks.entries()) {
      assert.equal(sent.length, index + 1);
      sent[index]?.reply();
      await done;
      await Promise.resolve();
    }
  });

  test("are made one after the other also when one that waited was given its turn last", async () => {
    const { sent, look } = world();
    const first = look();
    const second = look();
    sent[0]?.reply();
    await first;
    const third = look();
    await Promise.resolve();
    assert.equal(sent.length, 2);
    sent[1]?.reply();
    await second;
    await Promise.resolve();
    sent[2]?.reply();
    await third;
  });

  test("wait for none about another", async () => {
    const { sent, look, turns } = world();
    void look();
    void look(turns.of({ kind: "Name", name: "other" }));
    assert.equal(sent.length, 2);
  });

  test("are made no more after one that is not answered, and are told when it is", async () => {
    const all = world();
    const waiting = all.look();
    const first = assert.rejects(all.look(), DomainHungError);
    const over = await giveUp(waiting, all);
    await first;
    await assert.rejects(all.look(), DomainHungError);
    assert.equal(all.sent.length, 1);
    assert.deepEqual(all.answered, []);
    await over("Answered");
    assert.deepEqual(all.answered, [vm]);
    const again = all.look();
    all.sent[1]?.reply();
    await again;
  });

  test("that look and that cut its power are made while its process hangs, and no other effect", async () => {
    const all = world();
    await giveUp(all.shutDown(), all);
    void all.look();
    void all.destroy();
    assert.equal(all.sent.length, 3);
    await assert.rejects(all.shutDown(), DomainHungError);
  });

  test("are all held back while libvirt holds it, for a look would hang only then", async () => {
    const all = world();
    await giveUp(all.look(), all);
    await assert.rejects(all.shutDown(), DomainHungError);
    await assert.rejects(all.destroy(), DomainHungError);
    assert.equal(all.sent.length, 1);
  });
});

describe("the daemon", () => {
  const hungBy = async (call: Promise<unknown>) => {
    const error: unknown = await call.catch((reason: unknown) => reason);
    assert.ok(error instanceof DomainHungError);
    return error;
  };
  const late = () => new CallTimeoutError("X", 1, new Promise<Aftermath>(() => {}));

  test("is asked once where a domain has not answered for a second, which tells which of them hangs", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 0 });
    for (const answers of [true, false]) {
      const { sent, probes, look } = world();
      const hung = look();
      context.mock.timers.tick(999);
      assert.equal(probes.length, 0);
      context.mock.timers.tick(1);
      assert.equal(probes.length, 1);
      if (answers) probes[0]?.reply();
      await settled();
      context.mock.timers.tick(4000);
      sent[0]?.fail(late());
      assert.equal((await hungBy(hung)).isDaemonSilent, !answers);
      assert.equal((await hungBy(look())).isDaemonSilent, !answers);
      assert.equal(probes.length, 1);
      assert.equal(sent.length, 1);
    }
  });

  test("is asked again once it has answered, as an answer to what was asked before proves nothing", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 0 });
    const { sent, probes, look, turns } = world();
    void look(turns.of({ kind: "Name", name: "other" }));
    context.mock.timers.tick(1000);
    const hung = look();
    context.mock.timers.tick(5000);
    probes[0]?.reply();
    await settled();
    sent[1]?.fail(late());
    assert.equal((await hungBy(hung)).isDaemonSilent, true);
    await settled();
    assert.equal(probes.length, 2);
    probes[1]?.reply();
    await settled();
    assert.equal((await hungBy(look())).isDaemonSilent, false);
  });

  test("is not asked where it has answered in time", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 0 });
    const { sent, probes, look } = world();
    const looked = look();
    sent[0]?.reply();
    await looked;
    context.mock.timers.tick(10_000);
    assert.equal(probes.length, 0);
  });
});

describe("a call that was lost with its connection", () => {
  test("is made again after 10 s, and then after twice as long each time, until one is answered", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 0 });
    const all = world();
    for (const [lost, delayMs] of [10_000, 20_000, 40_000].entries()) {
      const over = await giveUp(all.look(), all);
      await over("Lost");
      await assert.rejects(all.look(), /it is asked again at 1970-01-01T00:0/);
      context.mock.timers.tick(delayMs - 1);
      assert.equal(all.answered.length, lost);
      context.mock.timers.tick(1);
      assert.equal(all.answered.length, lost + 1);
    }
    const answered = all.look();
    all.sent.at(-1)?.reply();
    await answered;
    await (
      await giveUp(all.look(), all)
    )("Lost");
    context.mock.timers.tick(10_000);
    assert.equal(all.answered.length, 4);
  });

  test("is made at once where it had hardly begun or this process stood still, or where libvirt has listed all domains since", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 0 });
    const all = world();
    const broken = new ConnectionError("Closed", "it has ended", { sent: true });
    const short = all.look();
    all.sent[0]?.fail(broken);
    await assert.rejects(short, broken);
    const afterStandstill = all.look();
    context.mock.timers.setTime(100_000);
    all.sent[1]?.fail(broken);
    await assert.rejects(afterStandstill, broken);
    const long = all.look();
    context.mock.timers.tick(5000);
    all.sent[2]?.fail(broken);
    await assert.rejects(long, broken);
    await assert.rejects(all.look(), DomainHungError);
    all.turns.listed();
    void all.look();
    assert.equal(all.sent.length, 4);
  });
});
