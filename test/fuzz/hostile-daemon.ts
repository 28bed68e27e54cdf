import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { FrameSplitter, MessageType, type Header } from "../../src/libvirt/protocol/frame.ts";
import { removeDirectory, temporaryDirectory } from "../support/temp-directory.ts";

/** What a hostile daemon says. */
export interface Script {
  /** Takes the calls that the client has sent since it was asked last; answers bytes in chunks, or that it says no more. */
  answer(calls: readonly Header[]): { readonly chunks: readonly Buffer[]; readonly ends: boolean };
}

/** A real UNIX socket behind which one client after the other meets a daemon that says what its script says. */
export class HostileDaemon implements AsyncDisposable {
  readonly #directory = temporaryDirectory();
  readonly #server: Server;
  #script: Script | undefined;

  constructor() {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  /** Begins to listen. */
  async start(): Promise<void> {
    this.#server.listen(this.#path);
    await once(this.#server, "listening");
  }

  /** Where the daemon is for the next client, which gets to hear this. */
  uri(script: Script): string {
    this.#script = script;
    return `test+unix:///default?socket=${this.#path}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    await once(this.#server, "close");
    await removeDirectory(this.#directory);
  }

  get #path(): string {
    return join(this.#directory, "sock");
  }

  #serve(socket: Socket): void {
    const script = this.#script;
    const splitter = new FrameSplitter();
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk: Buffer) => {
      const calls: Header[] = [];
      splitter.split(chunk, (frame) => {
        if (frame.type === MessageType.Call) calls.push(frame);
      });
      const said = script?.answer(calls);
      if (said !== undefined) void say(socket, said.chunks, said.ends);
    });
  }
}

/** Chunk by chunk, so that the client reads them as they were cut. */
async function say(socket: Socket, chunks: readonly Buffer[], ends: boolean): Promise<void> {
  for (const chunk of chunks) {
    if (socket.writable) socket.write(chunk);
    await setImmediate();
  }
  if (ends) socket.end();
}
