import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { KeepaliveProcedure } from "../../../src/libvirt/connection/keepalive.ts";
import {
  FrameSplitter,
  MessageStatus,
  MessageType,
  encodeFrame,
} from "../../../src/libvirt/protocol/frame.ts";
import type { Frame, Header } from "../../../src/libvirt/protocol/frame.ts";
import { PROGRAM_VERSION, Program } from "../../../src/libvirt/protocol/procedure.ts";
import type { EventProcedure, Procedure } from "../../../src/libvirt/protocol/procedure.ts";
import { connectionProcedures as opening, procedures } from "../../../src/libvirt/protocol/procedures.ts";
import { remoteError } from "../../../src/libvirt/protocol/types.ts";
import { decodeWhole } from "../../../src/libvirt/xdr/decode.ts";
import type { XdrWriter } from "../../../src/libvirt/xdr/writer.ts";

/** What a client asks where it must know whether the daemon has a worker for a further call. It is answered at once. */
const question = procedures.nodeGetMemoryParameters;

/** Values in the order in which they come, for whoever waits for the next. */
class Inbox<T> {
  readonly #values: T[] = [];
  readonly #waiters: ((value: T) => void)[] = [];

  put(value: T): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) {
      this.#values.push(value);
    } else {
      waiter(value);
    }
  }

  take(): Promise<T> {
    const value = this.#values.shift();
    if (value !== undefined) {
      return Promise.resolve(value);
    }
    const { promise, resolve } = Promise.withResolvers<T>();
    this.#waiters.push(resolve);
    return promise;
  }
}

type Called = Pick<Procedure<unknown, unknown>, "name" | "number" | "program">;

/** How a daemon answers one of its procedures. */
export interface Rule {
  readonly program: number;
  readonly number: number;
  readonly answer: (client: ScriptedClient, frame: Frame) => Promise<void>;
}

/** An answer that is an error. */
export class Refusal {
  readonly code: number;

  constructor(code: number) {
    this.code = code;
  }
}

/** States how a procedure is answered: with a result or a Refusal, at once or later; undefined leaves it unanswered. */
export function rule<A, R>(
  procedure: Procedure<A, R>,
  decide: (args: A, client: ScriptedClient) => R | Refusal | undefined | Promise<R | Refusal | undefined>,
): Rule {
  return {
    program: procedure.program,
    number: procedure.number,
    answer: async (client, { payload, serial }) => {
      const decided = await decide(decodeWhole(procedure.args, payload), client);
      if (decided instanceof Refusal) {
        client.fail(procedure, serial, decided.code);
      } else if (decided !== undefined) {
        client.reply(procedure, serial, decided);
      }
    },
  };
}

/** A UNIX socket behind which a test says what the daemon does. */
export class ScriptedDaemon {
  readonly #directory: string;
  readonly #server: Server;
  readonly #clients = new Inbox<ScriptedClient>();
  readonly #sockets = new Set<Socket>();

  static async listen(): Promise<ScriptedDaemon> {
    const daemon = await ScriptedDaemon.create();
    await daemon.start();
    return daemon;
  }

  /** A daemon that does not run yet. */
  static async create(): Promise<ScriptedDaemon> {
    return new ScriptedDaemon(await mkdtemp(join(tmpdir(), "libvirt-")));
  }

  private constructor(directory: string) {
    this.#directory = directory;
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      this.#clients.put(new ScriptedClient(socket));
    });
  }

  get socketPath(): string {
    return join(this.#directory, "sock");
  }

  get uri(): string {
    return `test+unix:///default?socket=${this.socketPath}`;
  }

  /** Begins to listen. */
  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.socketPath, resolve));
  }

  /** The next client that connects. */
  accept(): Promise<ScriptedClient> {
    return this.#clients.take();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.#directory, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A call as it reached the daemon. */
export interface ReceivedCall<A> {
  readonly serial: number;
  readonly args: A;
}

/** The daemon's end of one connection. */
export class ScriptedClient {
  readonly #socket: Socket;
  readonly #frames = new Inbox<Frame>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #awaitingPong: (() => void)[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    const splitter = new FrameSplitter();
    socket.on("data", (chunk: Buffer) =>
      splitter.split(chunk, (frame) => {
        const { program, procedure, serial } = frame;
        if (program === question.program && procedure === question.number) {
          this.reply(question, serial, { params: [], nparams: 8 });
        } else if (!this.#isAwaitedPong(frame)) {
          this.#frames.put({ ...frame, payload: Buffer.from(frame.payload) });
        }
      }),
    );
    socket.on("error", () => {});
    socket.on("close", () => this.#ended.resolve());
  }

  /** Resolves when the client has gone. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** The next message of whatever kind. */
  next(): Promise<Frame> {
    return this.#frames.take();
  }

  /** The next message, which must be this call. */
  async nextCall<A, R>(procedure: Procedure<A, R>): Promise<ReceivedCall<A>> {
    const frame = await this.next();
    assert.deepEqual(
      { program: frame.program, procedure: frame.procedure, type: frame.type, status: frame.status },
      {
        program: procedure.program,
        procedure: procedure.number,
        type: MessageType.Call,
        status: MessageStatus.Ok,
      },
      `the next message is ${procedure.name}`,
    );
    return { serial: frame.serial, args: decodeWhole(procedure.args, frame.payload) };
  }

  /** Waits for a call and answers it. */
  async answer<A, R>(procedure: Procedure<A, R>, result: R): Promise<A> {
    const { serial, args } = await this.nextCall(procedure);
    this.reply(procedure, serial, result);
    return args;
  }

  reply<A, R>(procedure: Procedure<A, R>, serial: number, result: R): void {
    this.write(replyFrame(procedure, serial, result));
  }

  fail(procedure: Called, serial: number, code: number, message?: string): void {
    const header = { ...replyHeader(procedure, serial), status: MessageStatus.Error };
    this.send(header, (to) =>
      remoteError.encode(to, { code, domain: 10, message, level: 2, int1: 0, int2: 0 }),
    );
  }

  event<P>(event: EventProcedure<P>, payload: P): void {
    const header = { ...replyHeader(event, 0), type: MessageType.Message };
    this.send(header, (to) => event.payload.encode(to, payload));
  }

  ping(): void {
    this.send(keepaliveHeader(KeepaliveProcedure.Ping), () => {});
  }

  pong(): void {
    this.send(keepaliveHeader(KeepaliveProcedure.Pong), () => {});
  }

  /** Pings and waits for the answer: whatever the client wrote before has been read by then. */
  async nextIsPong(): Promise<void> {
    this.ping();
    const { program, procedure } = await this.next();
    assert.deepEqual(
      { program, procedure },
      { program: Program.Keepalive, procedure: KeepaliveProcedure.Pong },
    );
  }

  /** Resolves once the client has read all that was written to it, also while calls are being answered by rules. */
  async hasRead(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#awaitingPong.push(resolve);
    this.ping();
    await promise;
  }

  /** Answers what every connection begins with. */
  async open(): Promise<void> {
    await this.answer(opening.authList, { types: [0] });
    await this.answer(opening.connectSupportsFeature, { supported: 1 });
    await this.answer(opening.connectOpen, {});
  }

  /** Answers calls by rules, in the order in which they come, until the client has gone. */
  async serve(rules: readonly Rule[]): Promise<void> {
    const gone = this.ended.then(() => undefined);
    for (;;) {
      const frame = await Promise.race([this.next(), gone]);
      if (frame === undefined) {
        return;
      }
      const rule = rules.find(
        ({ program, number }) => program === frame.program && number === frame.procedure,
      );
      if (rule !== undefined) {
        await rule.answer(this, frame);
      } else if (frame.type === MessageType.Call) {
        this.fail(
          { name: "", number: frame.procedure, program: frame.program },
          frame.serial,
          3,
          "no support",
        );
      }
    }
  }

  send(header: Header, encodePayload: (to: XdrWriter) => void): void {
    this.write(encodeFrame(header, encodePayload));
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  #isAwaitedPong({ program, procedure }: Frame): boolean {
    if (program !== Program.Keepalive || procedure !== KeepaliveProcedure.Pong) {
      return false;
    }
    const resolve = this.#awaitingPong.shift();
    resolve?.();
    return resolve !== undefined;
  }

  /** Ends the connection after what was written. */
  end(): void {
    this.#socket.end();
  }

  /** Stops reading and answering, as a daemon that was stopped. */
  pause(): void {
    this.#socket.pause();
  }
}

/** A reply as bytes, to be cut and damaged. */
export function replyFrame<A, R>(procedure: Procedure<A, R>, serial: number, result: R): Buffer {
  return encodeFrame(replyHeader(procedure, serial), (to) => procedure.result.encode(to, result));
}

/** The header of a good reply. */
export function replyHeader(
  { number: procedure, program = Program.Remote }: { readonly number: number; readonly program?: number },
  serial: number,
): Header {
  return {
    program,
    version: PROGRAM_VERSION,
    procedure,
    type: MessageType.Reply,
    serial,
    status: MessageStatus.Ok,
  };
}

function keepaliveHeader(procedure: number): Header {
  return {
    program: Program.Keepalive,
    version: PROGRAM_VERSION,
    procedure,
    type: MessageType.Message,
    serial: 0,
    status: MessageStatus.Ok,
  };
}
