import { EventEmitter, once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";
import { join } from "node:path";
import {
  FrameSplitter,
  MessageType,
  encodeFrame,
  type Frame,
  type Header,
} from "../../src/libvirt/protocol/frame.ts";
import { removeDirectory, temporaryDirectory } from "./temp-directory.ts";

/** libvirt's program for keepalive messages, "keep" in ASCII. */
const keepaliveProgram = 0x6b656570;

/** A socket that leads to libvirt's and watches what its clients say. */
export interface LibvirtProxy extends AsyncDisposable {
  readonly socket: string;
  /** How many calls the clients have made; keepalive is no call. */
  readonly calls: number;
  /** Resolves at the next keepalive message of a client or of the daemon. */
  keepalive(): Promise<void>;
}

/** What a proxy does beyond passing on. */
export interface LibvirtProxyOptions {
  /**
   * Told of each call, with a number for its connection: what it answers true to never reaches the daemon, and is
   * answered as if it had been done. The frame's payload is valid only until it returns.
   */
  readonly swallows?: (call: Frame, connection: number) => boolean;
  /** Told of each message of a client and of the daemon. The frame's payload is valid only until it returns. */
  readonly hears?: (message: Frame) => void;
}

/** Starts a proxy before a daemon's socket. */
export async function startLibvirtProxy(
  target: string,
  { swallows, hears }: LibvirtProxyOptions = {},
): Promise<LibvirtProxy> {
  const directory = temporaryDirectory();
  const socket = join(directory, "libvirt-sock");
  const told = new EventEmitter();
  const sockets = new Set<Socket>();
  let calls = 0;
  let connections = 0;
  const watch = (frame: Frame) => {
    if (frame.program === keepaliveProgram) told.emit("keepalive");
    else calls += 1;
    hears?.(frame);
  };
  const server = createServer((client) => {
    const daemon = createConnection(target);
    for (const end of [client, daemon]) {
      sockets.add(end);
      end.on("error", () => {}).on("close", () => sockets.delete(end));
    }
    client.on("close", () => daemon.destroy());
    daemon.on("close", () => client.destroy());
    if (swallows === undefined) {
      const splitter = new FrameSplitter();
      client.on("data", (chunk: Buffer) => splitter.split(chunk, watch));
      if (hears !== undefined) pass(daemon, hears);
      client.pipe(daemon).pipe(client);
      return;
    }
    const connection = connections;
    connections += 1;
    // Message by message: an answer of the proxy must not fall into the middle of one of the daemon's.
    pass(daemon, (frame) => {
      hears?.(frame);
      client.write(encoded(frame));
    });
    pass(client, (frame) => {
      watch(frame);
      const isSwallowed = frame.program !== keepaliveProgram && swallows(frame, connection);
      if (isSwallowed) client.write(encodeFrame({ ...frame, type: MessageType.Reply }, () => {}));
      else daemon.write(encoded(frame));
    });
  });
  server.listen(socket);
  await once(server, "listening");
  return {
    socket,
    get calls() {
      return calls;
    },
    keepalive: async () => void (await once(told, "keepalive")),
    async [Symbol.asyncDispose]() {
      for (const end of sockets) end.destroy();
      server.close();
      await once(server, "close");
      await removeDirectory(directory);
    },
  };
}

function pass(from: Socket, onFrame: (frame: Frame) => void): void {
  const splitter = new FrameSplitter();
  from.on("data", (chunk: Buffer) => splitter.split(chunk, onFrame));
}

function encoded({ payload, ...header }: Header & { payload: Buffer }): Buffer {
  return encodeFrame(header, (to) => to.opaque(payload));
}
