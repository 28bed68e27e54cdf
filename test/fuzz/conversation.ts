import assert from "node:assert/strict";
import { CallTimeoutError, Connection, ConnectionError, LibvirtError, type Procedure } from "libvirt";
import { HEADER_BYTES, MessageType, encodeFrame, type Header } from "../../src/libvirt/protocol/frame.ts";
import { connectionProcedures as opening } from "../../src/libvirt/protocol/procedures.ts";
import { subscriptions } from "../../src/libvirt/session/subscriptions.ts";
import { Random } from "../simulation/random.ts";
import type { HostileDaemon, Script } from "./hostile-daemon.ts";
import { mutate, withTrueLength } from "./mutate.ts";
import { allProcedures, procedureOf } from "./protocol.ts";
import { sample } from "./sample.ts";
import { frameOf } from "./traffic.ts";
import { chunks } from "./wire.ts";

/** How many calls a conversation makes, and how many of them a connection has under way at a time. */
const calls = 6;
const callsAtATime = 4;

/** The messages that a daemon sends, by what they are. */
export class Replies {
  readonly events: readonly Buffer[];
  readonly #byProcedure: ReadonlyMap<Procedure<unknown, unknown>, readonly Buffer[]>;

  constructor(messages: readonly Buffer[]) {
    const isOfType = (type: number) => (message: Buffer) => frameOf(message).type === type;
    this.events = messages.filter(isOfType(MessageType.Message));
    this.#byProcedure = Map.groupBy(messages.filter(isOfType(MessageType.Reply)), (message) => {
      const procedure = procedureOf(frameOf(message));
      assert.ok(procedure !== undefined);
      return procedure;
    });
  }

  /** A good reply to this call; an empty one where none is known. */
  to(call: Header, random: Random): Buffer {
    const procedure = procedureOf(call);
    const known = (procedure && this.#byProcedure.get(procedure)) ?? [];
    const reply = Buffer.from(
      known[random.below(known.length)] ?? encodeFrame({ ...call, type: MessageType.Reply }, () => {}),
    );
    reply.writeUInt32BE(call.serial, 20);
    return reply;
  }
}

/**
 * A real connection to a daemon that answers its calls with damaged replies, and sends damaged events between them.
 * Answers how the connection ended. Throws where a call is left without an answer, where one is answered by an error that
 * is not the client's own, and where the connection is in another state than closed in the end.
 */
export async function runConversation(
  daemon: HostileDaemon,
  replies: Replies,
  random: Random,
): Promise<string> {
  const uri = daemon.uri(new HostileScript(replies, random));
  let connection: Connection;
  try {
    connection = await Connection.open(uri, { openTimeoutMs: 60_000 });
  } catch (error) {
    assert.ok(error instanceof ConnectionError, String(error));
    return `connection: not opened, ${error.kind}`;
  }
  for (const { listen } of subscriptions)
    listen(connection, (event) => assert.equal(typeof event.type, "string"));
  const made = Array.from({ length: calls }, () => callOf(connection, random));
  for (const result of await Promise.allSettled(made)) {
    if (result.status === "rejected") assert.ok(isOwn(result.reason), String(result.reason));
  }
  const { kind } = await connection.closed;
  assert.equal(connection.state.status, "Closed");
  return `connection: ended, ${kind}`;
}

async function callOf(connection: Connection, random: Random): Promise<unknown> {
  const procedure = allProcedures[random.below(allProcedures.length)];
  assert.ok(procedure !== undefined);
  const args = sample(procedure.args.shape, random);
  return connection.call(procedure, args, { timeoutMs: 60_000 });
}

function isOwn(error: unknown): boolean {
  return (
    error instanceof ConnectionError || error instanceof LibvirtError || error instanceof CallTimeoutError
  );
}

/** Goes along with the opening, mostly; then answers everything that is asked, and ends when it has said enough. */
class HostileScript implements Script {
  readonly #replies: Replies;
  readonly #random: Random;
  readonly #opening = new Map<number, Buffer>();
  #answered = 0;
  #hasDamaged = false;

  constructor(replies: Replies, random: Random) {
    this.#replies = replies;
    // Of its own: the order in which client and daemon draw from one would be that of the threads' turns.
    this.#random = new Random(random.below(0xffff_ffff));
    const { authList, connectSupportsFeature, connectOpen } = opening;
    this.#good(authList, { types: [0] });
    this.#good(connectSupportsFeature, { supported: 1 });
    this.#good(connectOpen, {});
  }

  answer(asked: readonly Header[]): { chunks: readonly Buffer[]; ends: boolean } {
    const said = asked.flatMap((call) => this.#answer(call));
    // Behind a message that claims to be longer than it is, the client waits for the rest and asks no more.
    const isOver = this.#answered >= (this.#hasDamaged ? callsAtATime : calls);
    const ends = isOver || (this.#hasDamaged && this.#answered === 0) || this.#random.chance(0.02);
    // In another order, as replies may come.
    const shuffled = said.map((bytes) => ({ bytes, at: this.#random.next() })).sort((a, b) => a.at - b.at);
    return { chunks: chunks(Buffer.concat(shuffled.map(({ bytes }) => bytes)), this.#random), ends };
  }

  #answer(call: Header): Buffer[] {
    const isOpening = call.serial <= this.#opening.size;
    const good = isOpening ? this.#opening.get(call.procedure) : this.#replies.to(call, this.#random);
    if (!isOpening) this.#answered += 1;
    const reply = Buffer.from(good ?? Buffer.alloc(0));
    if (reply.length > 0) reply.writeUInt32BE(call.serial, 20);
    const isDamaged = this.#random.chance(isOpening ? 0.02 : 0.5);
    const events = Array.from({ length: isOpening ? 0 : this.#random.below(3) }, () => this.#event());
    return [isDamaged ? this.#damaged(reply) : reply, ...events];
  }

  #event(): Buffer {
    const { events } = this.#replies;
    const event = events[this.#random.below(events.length)] ?? Buffer.alloc(0);
    return this.#random.chance(0.2) ? this.#damaged(event) : event;
  }

  #damaged(message: Buffer): Buffer {
    this.#hasDamaged = true;
    // A damaged header ends the connection: what follows it is not read.
    const intact = this.#random.chance(0.7) ? HEADER_BYTES : 0;
    const { events } = this.#replies;
    const damaged = Buffer.concat([
      message.subarray(0, intact),
      mutate(message.subarray(intact), this.#random, events),
    ]);
    return this.#random.chance(0.9) ? withTrueLength(damaged) : damaged;
  }

  #good<A, R>({ program, number, result }: Procedure<A, R>, value: R): void {
    const header = { program, version: 1, procedure: number, type: MessageType.Reply, serial: 0, status: 0 };
    this.#opening.set(
      number,
      encodeFrame(header, (to) => result.encode(to, value)),
    );
  }
}
