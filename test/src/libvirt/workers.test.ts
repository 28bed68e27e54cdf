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
const question = procedures.nodeGetMemoryParameters;

/** A procedure of each kind. */
const kinds = {
  hanging: { procedure: procedures.domainReset, hangs: true },
  hangingWithPriority: { procedure: procedures.domainDestroyFlags, hangs: true },
  answered: { procedure: procedures.domainGetXmlDesc, hangs: false },
  answeredWithPriority: { procedure: procedures.domainGetState, hangs: false },
} as const;
type Kind = keyof typeof kinds;

/** libvirtd's defaults, and a client's places on one connection. */
const [first, most, withPriority, perConnection] = [5, 20, 5, 4];

/** A call as the daemon has it. */
interface Job {
  readonly hangs: boolean;
  readonly hasPriority: boolean;
  readonly answer: () => void;
}

/** Threads of one kind. Only those that wait for a call count as free. */
interface Threads {
  free: number;
  /** That have begun, or have ended a call, and do not wait yet. */
  onTheirWay: number;
}

/** The worker pool of libvirtd 9.0.0. That a thread begins, takes a call and comes back happens whenever the test says. */
class Pool {
  readonly hanging: Job[] = [];
  /** What no worker has taken. */
  readonly queue: Job[] = [];
  readonly #ordinary: Threads = { free: first, onTheirWay: 0 };
  readonly #priority: Threads = { free: withPriority, onTheirWay: 0 };
  readonly #most: number;
  #total = first;
  readonly #running = new Map<Job, Threads>();

  constructor(mostWorkers = most) {
    this.#most = mostWorkers;
  }

  arrive(job: Job): void {
    // Where more calls wait than workers are free, the difference of the two unsigned numbers is not 0 either.
    if (this.#ordinary.free - this.queue.length === 0 && this.#total < this.#most) {
      this.#total += 1;
      this.#ordinary.onTheirWay += 1;
    }
    this.queue.push(job);
  }

  /** Threads that begin to work or to wait. */
  moves(): (() => void)[] {
    const moves: (() => void)[] = [];
    for (const threads of [this.#ordinary, this.#priority]) {
      const next = this.#nextFor(threads);
      if (threads.free > 0 && next !== undefined)
        moves.push(() => {
          threads.free -= 1;
          this.#take(next, threads);
        });
      if (threads.onTheirWay > 0)
        moves.push(() => {
          threads.onTheirWay -= 1;
          if (next === undefined) threads.free += 1;
          else this.#take(next, threads);
        });
    }
    return moves;
  }

  /** Calls that end. */
  ends(): (() => void)[] {
    return [...this.#running].map(([job, threads]) => () => {
      this.#running.delete(job);
      job.answer();
      threads.onTheirWay += 1;
    });
  }

  #nextFor(threads: Threads): Job | undefined {
    return this.queue.find(({ hasPriority }) => hasPriority || threads === this.#ordinary);
  }

  #take(job: Job, threads: Threads): void {
    this.queue.splice(this.queue.indexOf(job), 1);
    if (job.hangs) this.hanging.push(job);
    else this.#running.set(job, threads);
  }
}

/**
 * Connections to such a daemon. What comes on one keeps its order; what the daemon sends does so on all of them. What is
 * sent comes within 10 ms, and then to a thread where one is free within 40; only a call may take long.
 */
class World implements Disposable {
  readonly pool: Pool;
  /** How often the daemon was asked whether it has a worker. */
  questions = 0;
  answered = 0;
  /** On one connection. */
  mostInFlight = 0;
  readonly #connections: Calls[] = [];
  readonly #requests: { arrive: () => void; sentAtMs: number }[][] = [];
  readonly #replies: (() => void)[] = [];
  #nowMs = 0;

  constructor(connections: number, { workers, pool }: { workers: Workers | undefined; pool?: Pool }) {
    this.pool = pool ?? new Pool();
    for (let index = 0; index < connections; index += 1) this.#connect(index, workers);
  }

  /** Makes a call of this kind on a connection; resolves when it is over. */
  async call(connection: number, kind: Kind): Promise<void> {
    const calls = this.#connections[connection];
    assert.ok(calls);
    await calls.add<object, object>(kinds[kind].procedure, { dom, flags: 0 }, {}, { needsWorker: true }).then(
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
  async run(calls: readonly (() => unknown)[], choose: (count: number) => number): Promise<void> {
    const toMake = [...calls];
    const next = (queue: (() => void)[]) => (queue.length > 0 ? [() => queue.shift()?.()] : []);
    let movingSinceMs = this.#nowMs;
    for (let waits = 0; waits < 10;) {
      const arrivals = this.#requests
        .filter((line) => line.length > 0)
        .map((line) => () => line.shift()?.arrive());
      const moves = this.pool.moves();
      const steps = [...next(toMake), ...arrivals, ...next(this.#replies), ...moves, ...this.pool.ends()];
      waits = steps.length === 0 ? waits + 1 : 0;
      movingSinceMs = moves.length === 0 ? this.#nowMs : movingSinceMs;
      const sentAtMs = Math.min(this.#nowMs, ...this.#requests.flat().map((request) => request.sentAtMs));
      const waitMs = Math.min(10, sentAtMs + 9 - this.#nowMs, movingSinceMs + 39 - this.#nowMs);
      if (waitMs > 0) steps.push(() => this.#wait(waitMs));
      const step = steps[choose(steps.length)];
      assert.ok(step);
      step();
      // What comes of it in this process comes before anything else.
      await settled();
      await settled();
    }
  }

  [Symbol.dispose](): void {
    for (const index of this.#connections.keys()) this.lose(index);
  }

  #wait(ms: number): void {
    this.#nowMs += ms;
    mock.timers.tick(ms);
  }

  #connect(index: number, workers: Workers | undefined): void {
    this.#requests.push([]);
    let inFlight = 0;
    const calls: Calls = new Calls(
      perConnection,
      (bytes) => {
        const { procedure, serial } = read(bytes);
        if (procedure === question.number) this.questions += 1;
        const kind = Object.values(kinds).find((one) => one.procedure.number === procedure);
        const requests = this.#requests[index];
        const reply = () => {
          if (this.#requests[index] !== requests) return;
          inFlight -= 1;
          calls.reply(read(replyTo(procedure, serial)));
        };
        const job = {
          hangs: kind?.hangs ?? false,
          hasPriority: kind?.procedure.hasPriority ?? false,
          answer: () => this.#replies.push(reply),
        };
        requests?.push({ arrive: () => this.pool.arrive(job), sentAtMs: this.#nowMs });
        inFlight += 1;
        this.mostInFlight = Math.max(this.mostInFlight, inFlight);
      },
      workers,
    );
    this.#connections.push(calls);
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
    case procedures.domainGetXmlDesc.number:
      return replyFrame(procedures.domainGetXmlDesc, serial, { xml: "<domain/>" });
    case procedures.domainGetState.number:
      return replyFrame(procedures.domainGetState, serial, { state: 1, reason: 1 });
    case question.number:
      return replyFrame(question, serial, { params: [], nparams: 8 });
    default:
      return assert.fail(`procedure ${procedure} is not answered`);
  }
}

/** So many calls of a kind, on these connections by turns. */
function calls(
  world: World,
  count: number,
  kind: Kind,
  ...connections: readonly number[]
): (() => Promise<void>)[] {
  return Array.from(
    { length: count },
    (_, index) => () => world.call(connections[index % connections.length] ?? 0, kind),
  );
}

/** Calls come before what becomes of them. */
const callsFirst = () => 0;

beforeEach(() => mock.timers.enable({ apis: ["setTimeout"] }));
afterEach(() => mock.timers.reset());

describe("a daemon that takes on no worker where several calls wait for one", () => {
  test("has none left for others when seven calls that hang come at once", async () => {
    using world = new World(3, { workers: undefined });
    await world.run(calls(world, 7, "hanging", 0, 1), callsFirst);
    assert.deepEqual([world.pool.hanging.length, world.pool.queue.length], [6, 1]);
    await world.run([() => world.call(2, "answered")], callsFirst);
    assert.deepEqual([world.answered, world.pool.queue.length], [0, 2]);
    await world.run([() => world.call(2, "answeredWithPriority")], callsFirst);
    assert.equal(world.answered, 1);
  });

  test("is sent calls so that it has one for each, in whatever order things happen", async () => {
    const call = fc.record({
      connection: fc.nat(4),
      kind: fc.constantFrom<Kind[]>(
        ...(["hanging", "hanging", "hanging", "answered", "answered"].concat(Object.keys(kinds)) as Kind[]),
      ),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(call, { maxLength: 30 }),
        fc.nat(4),
        fc.infiniteStream(fc.noBias(fc.nat())),
        async (drawn, lost, order) => {
          using world = new World(5, { workers: new Workers() });
          const choose = (count: number) => (order.next().value ?? 0) % count;
          const hanging = [0, 0, 0, 0, 0];
          // Two places of each connection stay, and with them workers of the daemon.
          const wanted = drawn.filter(({ connection, kind }) => {
            if (kinds[kind].hangs) hanging[connection] = (hanging[connection] ?? 0) + 1;
            return !kinds[kind].hangs || (hanging[connection] ?? 0) <= perConnection - 2;
          });
          const make =
            ({ connection, kind }: (typeof drawn)[number]) =>
            () =>
              world.call(connection, kind);
          await world.run(wanted.map(make), choose);
          const made = (hangs: boolean) => wanted.filter(({ kind }) => kinds[kind].hangs === hangs).length;
          assert.equal(world.pool.queue.length, 0, "calls without a worker");
          assert.equal(world.pool.hanging.length, made(true));
          assert.equal(world.answered, made(false));
          world.lose(lost);
          const others = [0, 1, 2, 3, 4].filter((connection) => connection !== lost);
          const further = others.flatMap((connection) =>
            (["hanging", "answered"] as const).map((kind) => ({ connection, kind })),
          );
          await world.run(further.map(make), choose);
          assert.equal(world.pool.queue.length, 0, "calls of the lost connection hang on");
          assert.ok(world.mostInFlight <= perConnection);
          assert.equal(world.answered, made(false) + others.length);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("is asked for a worker where more calls hang than it begins with, and for each only once", async () => {
    using world = new World(3, { workers: new Workers() });
    await world.run(calls(world, 20, "answered", 0, 1, 2), callsFirst);
    assert.deepEqual([world.answered, world.questions], [20, 0], "calls that are answered soon");
    await world.run(calls(world, 7, "hanging", 0, 1, 2), callsFirst);
    await world.run(calls(world, 20, "answered", 0, 1, 2), callsFirst);
    assert.deepEqual([world.answered, world.questions], [40, 3]);
  });

  test("gives a worker to an ordinary call that comes after two with priority that were sent later", async () => {
    using world = new World(3, { workers: new Workers() });
    await world.run(calls(world, 4, "hanging", 0), callsFirst);
    const ordinary = () => world.call(2, "hanging");
    const withPriority = () => world.call(1, "hangingWithPriority");
    await world.run([ordinary, withPriority, withPriority], callsFirst);
    await world.run([() => world.call(1, "answered")], callsFirst);
    assert.deepEqual([world.answered, world.pool.hanging.length, world.pool.queue.length], [1, 7, 0]);
  });

  test("is asked on no connection that has no place", async () => {
    using world = new World(2, { workers: new Workers() });
    await world.run(calls(world, 5, "hanging", 0, 1), callsFirst);
    const last = (["answered", "hangingWithPriority"] as const).map((kind) => () => world.call(0, kind));
    await world.run(last, callsFirst);
    assert.equal(world.mostInFlight, perConnection);
  });

  test("is asked for a worker also while calls with priority come one after the other", async () => {
    using world = new World(3, { workers: new Workers() });
    await world.run(calls(world, 5, "hanging", 0, 1), callsFirst);
    let before = Infinity;
    const other = () => world.call(2, "answered").then(() => (before = world.answered));
    const talk = async () => {
      for (let said = 0; said < 100; said += 1) await world.call(1, "answeredWithPriority");
    };
    let turns = 0;
    const timePasses = (count: number) => ((turns += 1) % 3 === 0 ? count - 1 : 0);
    await world.run([talk, talk, other], timePasses);
    assert.ok(before < 100, `${before} calls with priority came before`);
    assert.equal(world.answered, 201);
  });

  test("is sent what has priority also when it has no further worker", async () => {
    using world = new World(3, { workers: new Workers(), pool: new Pool(first) });
    await world.run(calls(world, 7, "hanging", 0, 1), callsFirst);
    assert.equal(world.pool.hanging.length, first);
    await world.run(calls(world, 2, "answeredWithPriority", 1, 2), callsFirst);
    assert.equal(world.answered, 2);
  });
});

test("a connection that has much to ask leaves others their part of the workers that are left", async () => {
  using world = new World(3, { workers: new Workers() });
  await world.run(calls(world, 4, "hanging", 0), callsFirst);
  let before = Infinity;
  const other = () => world.call(2, "answered").then(() => (before = world.answered));
  await world.run([...calls(world, 100, "answered", 1), other], callsFirst);
  assert.ok(before < 10, `${before} calls of the other connection came before`);
  assert.equal(world.answered, 101);
});
