import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, mock, test } from "node:test";
import { setImmediate as settled } from "node:timers/promises";
import * as fc from "fast-check";
import { ConnectionError, procedures } from "libvirt";
import { Calls } from "../../../src/libvirt/connection/calls.ts";
import { Workers } from "../../../src/libvirt/connection/workers.ts";
import { FrameSplitter, type Frame } from "../../../src/libvirt/protocol/frame.ts";
import { replyFrame } from "./peer.ts";

const dom = { name: "vm", uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f", id: 7 };
const { domainReset, domainGetState, nodeGetMemoryParameters } = procedures;

/** The workers that libvirtd begins with, and the most that it has. */
const first = 5;
const most = 20;
const perConnection = 4;

/** A call as the daemon has it. */
interface Job {
  readonly hangs: boolean;
  readonly answer: () => void;
}

/** The worker pool of libvirtd 9.0.0. That a thread begins, takes a call and comes back happens whenever the test says. */
class Pool {
  readonly hanging: Job[] = [];
  /** What no worker has taken. */
  readonly queue: Job[] = [];
  /** Workers that wait for a call: no others count as free. */
  #free = first;
  #total = first;
  #beginning = 0;
  #returning = 0;
  readonly #running = new Set<Job>();

  arrive(job: Job): void {
    // Where more calls wait than workers are free, the difference of the two unsigned numbers is not 0 either.
    if (this.#free - this.queue.length === 0 && this.#total < most) {
      this.#total += 1;
      this.#beginning += 1;
    }
    this.queue.push(job);
  }

  steps(): (() => void)[] {
    const wake = () => {
      this.#free -= 1;
      this.#take();
    };
    const begin = () => {
      this.#beginning -= 1;
      this.#wait();
    };
    const comeBack = () => {
      this.#returning -= 1;
      this.#wait();
    };
    const finish = (job: Job) => () => {
      this.#running.delete(job);
      job.answer();
      this.#returning += 1;
    };
    return [
      ...(this.#free > 0 && this.queue.length > 0 ? [wake] : []),
      ...(this.#beginning > 0 ? [begin] : []),
      ...(this.#returning > 0 ? [comeBack] : []),
      ...[...this.#running].map(finish),
    ];
  }

  #wait(): void {
    if (this.queue.length > 0) this.#take();
    else this.#free += 1;
  }

  #take(): void {
    const job = this.queue.shift();
    assert.ok(job);
    if (job.hangs) this.hanging.push(job);
    else this.#running.add(job);
  }
}

/** Connections to such a daemon. What comes on one keeps its order; what the daemon sends does so on all of them. */
class World implements Disposable {
  readonly pool = new Pool();
  /** How often the daemon was asked whether it has a worker. */
  questions = 0;
  answered = 0;
  readonly #workers: Workers | undefined;
  readonly #connections: Calls[] = [];
  readonly #requests: (() => void)[][] = [];
  readonly #replies: (() => void)[] = [];

  constructor(connections: number, { workers }: { workers: Workers | undefined }) {
    this.#workers = workers;
    for (let index = 0; index < connections; index += 1) {
      const requests: (() => void)[] = [];
      this.#requests.push(requests);
      const calls: Calls = new Calls(perConnection, (bytes) => {
        const { procedure, serial } = read(bytes);
        if (procedure === nodeGetMemoryParameters.number) this.questions += 1;
        const hangs = procedure === domainReset.number;
        const reply = () => {
          if (this.#requests[index] === requests) calls.reply(read(replyTo(procedure, serial)));
        };
        requests.push(() => this.pool.arrive({ hangs, answer: () => this.#replies.push(reply) }));
      });
      this.#connections.push(calls);
    }
  }

  /** Makes a call on a connection, which hangs or is answered. */
  call(connection: number, { hangs }: { hangs: boolean }): void {
    const calls = this.#connections[connection];
    assert.ok(calls);
    const procedure = hangs ? domainReset : domainGetState;
    calls.add<object, object>(procedure, { dom, flags: 0 }, {}, this.#workers).then(
      () => (this.answered += 1),
      () => {},
    );
  }

  /** Ends a connection: what has come to the daemon is carried out all the same. */
  lose(connection: number): void {
    this.#requests[connection] = [];
    this.#connections[connection]?.fail(new ConnectionError("Disconnected", "lost"));
  }

  /** Makes these calls one after the other while everything happens in the order that `choose` gives, until nothing more does. */
  async run(calls: readonly (() => void)[], choose: (count: number) => number): Promise<void> {
    const toMake = [...calls];
    const next = (queue: (() => void)[]) => (queue.length > 0 ? [() => queue.shift()?.()] : []);
    const wait = () => mock.timers.tick(10);
    let hasWaited = false;
    for (;;) {
      const requests = this.#requests.flatMap(next);
      // What is sent has come long before somebody waits for so long.
      const mayWait: boolean = !hasWaited && requests.length === 0;
      const steps: (() => void)[] = [
        ...next(toMake),
        ...requests,
        ...next(this.#replies),
        ...this.pool.steps(),
        ...(mayWait ? [wait] : []),
      ];
      if (steps.length === 0) return;
      const step = steps[choose(steps.length)];
      assert.ok(step);
      hasWaited = step === wait;
      step();
      // What comes of it in this process comes before anything else.
      await settled();
      await settled();
    }
  }

  [Symbol.dispose](): void {
    for (const index of this.#connections.keys()) this.lose(index);
  }
}

function read(bytes: Buffer): Frame {
  const frames: Frame[] = [];
  new FrameSplitter().split(bytes, (frame) => frames.push(frame));
  const [frame] = frames;
  assert.ok(frame);
  return frame;
}

function replyTo(procedure: number, serial: number): Buffer {
  switch (procedure) {
    case domainGetState.number:
      return replyFrame(domainGetState, serial, { state: 1, reason: 1 });
    case nodeGetMemoryParameters.number:
      return replyFrame(nodeGetMemoryParameters, serial, { params: [], nparams: 8 });
    default:
      return assert.fail(`procedure ${procedure} is not answered`);
  }
}

/** Calls come before what becomes of them. */
const callsFirst = () => 0;

beforeEach(() => mock.timers.enable({ apis: ["setTimeout"] }));
afterEach(() => mock.timers.reset());

describe("a daemon that takes on no worker where several calls wait for one", () => {
  test("has none left for others when seven calls that hang come at once", async () => {
    using world = new World(3, { workers: undefined });
    const hang = Array.from({ length: 7 }, (_, index) => () => world.call(index % 2, { hangs: true }));
    await world.run(hang, callsFirst);
    assert.deepEqual([world.pool.hanging.length, world.pool.queue.length], [6, 1]);
    await world.run([() => world.call(2, { hangs: false })], callsFirst);
    assert.deepEqual([world.answered, world.pool.queue.length], [0, 2]);
  });

  test("is sent calls so that it has one for each, in whatever order things happen", async () => {
    const call = fc.record({ connection: fc.nat(4), hangs: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(
        fc.array(call, { maxLength: 30 }),
        fc.nat(4),
        fc.infiniteStream(fc.noBias(fc.nat())),
        async (calls, lost, order) => {
          using world = new World(5, { workers: new Workers() });
          const choose = (count: number) => (order.next().value ?? 0) % count;
          const hanging = [0, 0, 0, 0, 0];
          // Two places of each connection stay, and with them workers of the daemon.
          const wanted = calls.filter(({ connection, hangs }) => {
            if (hangs) hanging[connection] = (hanging[connection] ?? 0) + 1;
            return !hangs || (hanging[connection] ?? 0) <= perConnection - 2;
          });
          const make = (call: (typeof calls)[number]) => () => world.call(call.connection, call);
          await world.run(wanted.map(make), choose);
          const made = (isMade: boolean) => wanted.filter(({ hangs }) => hangs === isMade).length;
          assert.equal(world.pool.queue.length, 0, "calls without a worker");
          assert.equal(world.pool.hanging.length, made(true));
          assert.equal(world.answered, made(false));
          world.lose(lost);
          const others = [0, 1, 2, 3, 4].filter((connection) => connection !== lost);
          const further = others.flatMap((connection) =>
            [true, false].map((hangs) => ({ connection, hangs })),
          );
          await world.run(further.map(make), choose);
          assert.equal(world.pool.queue.length, 0, "calls of the lost connection hang on");
          assert.equal(world.answered, made(false) + others.length);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("is asked for a worker where more calls hang than it begins with, and for each only once", async () => {
    using world = new World(3, { workers: new Workers() });
    const call = (count: number, hangs: boolean) =>
      Array.from({ length: count }, (_, index) => () => world.call(index % 3, { hangs }));
    await world.run(call(20, false), callsFirst);
    assert.deepEqual([world.answered, world.questions], [20, 0], "calls that are answered soon");
    await world.run(call(7, true), callsFirst);
    await world.run(call(20, false), callsFirst);
    assert.deepEqual([world.answered, world.questions], [40, 3]);
  });
});
