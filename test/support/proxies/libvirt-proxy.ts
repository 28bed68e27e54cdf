import { once } from "node:events";
import { utimesSync } from "node:fs";
import { createConnection, createServer, type Socket } from "node:net";
import { join } from "node:path";
import type { EventProcedure, Procedure } from "libvirt";
import {
  FrameSplitter,
  MessageType,
  encodeFrame,
  type Frame,
  type Header,
} from "../../../src/libvirt/protocol/frame.ts";
import { Program } from "../../../src/libvirt/protocol/procedure.ts";
import { XdrWriter } from "../../../src/libvirt/xdr/writer.ts";
import { removeDirectory, temporaryDirectory } from "../temp-directory.ts";
import { Faults, type Matches } from "./faults.ts";

/** A message between a client and the daemon, on its way through the proxy. */
export interface LibvirtMessage extends Frame {
  readonly from: "Client" | "Daemon";
  /** Which of the proxy's connections, counted from 0. */
  readonly connection: number;
  /** The whole message as it is on the wire. */
  readonly bytes: Buffer;
}

/**
 * What can become of a message:
 * - `Cut`: so many bytes of it arrive, and the connection has ended for both sides.
 * - `Lose`: it never arrives; the connection stays.
 * - `Double`: it arrives twice.
 * - `Hold`: it arrives later, and those after it on the same way may overtake it.
 * - `Trickle`: it arrives in pieces of so many bytes, each when `next` says so; those after it wait.
 * - `Answer`: a call never reaches the daemon, and is answered as if it had been done.
 */
export type LibvirtFate =
  | { readonly kind: "Cut"; readonly afterBytes: number }
  | { readonly kind: "Lose" | "Double" | "Answer" }
  | { readonly kind: "Hold"; readonly until: Promise<unknown> }
  | { readonly kind: "Trickle"; readonly bytes: number; readonly next: () => Promise<unknown> };

/** A socket that leads to libvirt's, and knows the messages that go through it. */
export interface LibvirtProxy extends AsyncDisposable {
  readonly socket: string;
  /** The URI of the test driver through this proxy. */
  readonly uri: string;
  readonly faults: Faults<LibvirtMessage, LibvirtFate>;
  /** How many calls the clients have made; keepalive is no call. */
  readonly calls: number;
  /** How many connections were accepted so far, and are open now. */
  readonly connections: number;
  readonly open: number;
  /** Ends the connections there are. */
  cut(): void;
  /** Nothing comes through any more on the connections there are, and neither side hears that of the other. */
  stall(): void;
  /** Changes the socket's file as a daemon that starts does, so that a client that waits to connect does it at once. */
  touch(): void;
}

type Called = Pick<Procedure<unknown, unknown>, "program" | "number">;

/** The calls of a procedure. */
export function callOf({ program, number }: Called): Matches<LibvirtMessage> {
  return (message) =>
    message.from === "Client" && message.program === program && message.procedure === number;
}

/** The replies to the calls of a procedure. */
export function replyTo({ program, number }: Called): Matches<LibvirtMessage> {
  return (message) =>
    message.type === MessageType.Reply && message.program === program && message.procedure === number;
}

/** The events of a kind about a domain; a daemon tells every client of all domains. */
export function eventOf(
  { number }: Pick<EventProcedure<unknown>, "number">,
  domain: string,
): Matches<LibvirtMessage> {
  return (message) => message.procedure === number && isEvent(message) && names(message, domain);
}

/** All messages about a domain or about none: events of other domains and keepalive are left out. */
export function concerning(domain: string): Matches<LibvirtMessage> {
  return (message) => !isKeepalive(message) && (!isEvent(message) || names(message, domain));
}

/** What the daemon tells of its own accord. */
export function isEvent({ type, program }: LibvirtMessage): boolean {
  return type === MessageType.Message && program === Program.Remote;
}

/** What the daemon answers. */
export function isReply({ type }: LibvirtMessage): boolean {
  return type === MessageType.Reply;
}

/** The name as XDR writes it, with its length before it: one name may begin as another does. */
function names({ payload }: LibvirtMessage, domain: string): boolean {
  const name = new XdrWriter();
  name.uint(Buffer.byteLength(domain));
  return payload.includes(Buffer.concat([name.finish(), Buffer.from(domain)]));
}

/** Keepalive messages of a client or of the daemon. */
export function isKeepalive({ program }: LibvirtMessage): boolean {
  return program === Program.Keepalive;
}

/** Starts a proxy before a daemon's socket. */
export async function startLibvirtProxy(target: string): Promise<LibvirtProxy> {
  const directory = temporaryDirectory();
  const socket = join(directory, "libvirt-sock");
  const faults = new Faults<LibvirtMessage, LibvirtFate>();
  const open = new Set<ProxiedConnection>();
  let calls = 0;
  let connections = 0;
  const cut = () => {
    for (const connection of open) connection.end();
  };
  const server = createServer((client) => {
    const connection = new ProxiedConnection({ number: connections, client, target }, (message) => {
      if (message.from === "Client" && !isKeepalive(message)) calls += 1;
      return faults.judge(message);
    });
    connections += 1;
    open.add(connection);
    client.on("close", () => open.delete(connection));
  });
  server.listen(socket);
  await once(server, "listening");
  return {
    socket,
    uri: `test+unix:///default?socket=${socket}`,
    faults,
    get calls() {
      return calls;
    },
    get connections() {
      return connections;
    },
    get open() {
      return open.size;
    },
    cut,
    stall() {
      for (const connection of open) connection.stall();
    },
    touch: () => utimesSync(socket, new Date(), new Date()),
    async [Symbol.asyncDispose]() {
      cut();
      server.close();
      await once(server, "close");
      await removeDirectory(directory);
    },
  };
}

/** One connection through a proxy, and the daemon's end of it. */
class ProxiedConnection {
  readonly #client: Way;
  readonly #daemon: Way;
  #stalled = false;

  constructor(
    { number, client, target }: { number: number; client: Socket; target: string },
    judge: (message: LibvirtMessage) => LibvirtFate | undefined,
  ) {
    const daemon = createConnection(target);
    this.#client = new Way(client);
    this.#daemon = new Way(daemon);
    for (const [from, socket, to] of [
      ["Client", client, this.#daemon],
      ["Daemon", daemon, this.#client],
    ] as const) {
      const splitter = new FrameSplitter();
      socket.on("data", (chunk: Buffer) =>
        splitter.split(chunk, (frame) => {
          const bytes = encoded(frame);
          // The frame's payload is a view that is valid only now.
          const message = { ...frame, payload: Buffer.from(frame.payload), from, connection: number, bytes };
          const fate = judge(message);
          if (!this.#stalled) this.#pass(message, to, fate);
        }),
      );
      socket.on("error", () => {});
    }
    // What either sent before has to arrive first.
    client.on("close", () => this.#daemon.end());
    daemon.on("close", () => {
      if (!this.#stalled) this.#client.end();
    });
  }

  stall(): void {
    this.#stalled = true;
  }

  end(): void {
    this.#client.destroy();
    this.#daemon.destroy();
  }

  #pass(message: LibvirtMessage, to: Way, fate: LibvirtFate | undefined): void {
    const { bytes, from } = message;
    switch (fate?.kind) {
      case undefined:
        to.send(bytes);
        return;
      case "Lose":
        return;
      case "Double":
        to.send(bytes);
        to.send(bytes);
        return;
      case "Answer":
        this.#client.send(encodeFrame({ ...message, type: MessageType.Reply }, () => {}));
        return;
      case "Hold":
        void fate.until.then(() => to.send(bytes));
        return;
      case "Trickle":
        to.trickle(bytes, fate.bytes, fate.next);
        return;
      case "Cut":
        to.send(bytes.subarray(0, fate.afterBytes));
        to.end();
        (from === "Client" ? this.#client : this.#daemon).destroy();
        return;
      default:
        fate satisfies never;
    }
  }
}

/** What leads to one end of a connection: messages arrive whole and in order, also behind one that trickles. */
class Way {
  readonly #socket: Socket;
  #before: Promise<unknown> = Promise.resolve();
  #ended = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  send(bytes: Buffer): void {
    this.#then(() => this.#write(bytes));
  }

  trickle(bytes: Buffer, pieceBytes: number, next: () => Promise<unknown>): void {
    this.#then(async () => {
      for (let at = 0; at < bytes.length; at += pieceBytes) {
        this.#write(bytes.subarray(at, at + pieceBytes));
        await next();
      }
    });
  }

  /** Lets what was sent arrive, and ends. */
  end(): void {
    this.#then(() => {
      this.#ended = true;
      this.#socket.end();
      // The other end may never answer that.
      this.#socket.once("finish", () => this.#socket.destroy());
    });
  }

  destroy(): void {
    this.#ended = true;
    this.#socket.destroy();
  }

  #then(step: () => unknown): void {
    this.#before = this.#before.then(step);
  }

  #write(bytes: Buffer): void {
    if (!this.#ended && this.#socket.writable) this.#socket.write(bytes);
  }
}

function encoded({ payload, ...header }: Header & { payload: Buffer }): Buffer {
  return encodeFrame(header, (to) => to.opaque(payload));
}
