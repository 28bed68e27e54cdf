import { EventEmitter, once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { FrameSplitter, type Frame } from "../../src/libvirt/protocol/frame.ts";
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

/** Starts a proxy before a daemon's socket. */
export async function startLibvirtProxy(target: string): Promise<LibvirtProxy> {
  const directory = temporaryDirectory();
  const socket = join(directory, "libvirt-sock");
  const told = new EventEmitter();
  const sockets = new Set<Socket>();
  let calls = 0;
  const watch = (frame: Frame) => {
    if (frame.program === keepaliveProgram) told.emit("keepalive");
    else calls += 1;
  };
  const server = createServer((client) => {
    const daemon = createConnection(target);
    for (const end of [client, daemon]) {
      sockets.add(end);
      end.on("error", () => {}).on("close", () => sockets.delete(end));
    }
    client.on("close", () => daemon.destroy());
    daemon.on("close", () => client.destroy());
    const splitter = new FrameSplitter();
    client.on("data", (chunk: Buffer) => splitter.split(chunk, watch));
    client.pipe(daemon).pipe(client);
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
