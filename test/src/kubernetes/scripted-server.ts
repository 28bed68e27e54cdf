import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { KubernetesClient } from "../../../src/kubernetes/client.ts";
import type { Credentials } from "../../../src/kubernetes/credentials.ts";

/** One request that a test answers as it likes. */
export class Exchange {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  readonly #response: ServerResponse;

  constructor(request: IncomingMessage, response: ServerResponse, body: string) {
    const url = new URL(request.url ?? "/", "http://server");
    this.method = request.method ?? "";
    this.path = url.pathname;
    this.query = url.searchParams;
    this.headers = request.headers;
    this.body = body;
    this.#response = response;
  }

  /** Answers with JSON, or with the very text. */
  answer(code: number, body: unknown, headers: Record<string, string> = {}): void {
    this.#response.writeHead(code, { "content-type": "application/json", ...headers });
    this.#response.end(typeof body === "string" ? body : JSON.stringify(body));
  }

  /** Answers with a Status object that says no. */
  refuse(code: number, reason: string, headers: Record<string, string> = {}): void {
    this.answer(code, { kind: "Status", code, reason, message: "as the test says" }, headers);
  }

  /** Sends a piece of an answer that goes on: a line of JSON, or the very text. */
  send(piece: unknown): void {
    if (!this.#response.headersSent) this.#response.writeHead(200, { "content-type": "application/json" });
    this.#response.write(typeof piece === "string" ? piece : `${JSON.stringify(piece)}\n`);
  }

  /** Begins an answer without saying anything in it. */
  open(): void {
    this.#response.writeHead(200, { "content-type": "application/json" });
    this.#response.flushHeaders();
  }

  /** Ends the answer in good order. */
  end(): void {
    this.#response.end();
  }

  /** Resets the connection. */
  cut(): void {
    this.#response.socket?.resetAndDestroy();
  }

  /** Resolves when the client has ended the connection. */
  async gone(): Promise<void> {
    if (!this.#response.destroyed) await once(this.#response, "close");
  }
}

type Fits = (exchange: Exchange) => boolean;

/** A server that stands in for the API server where the real one cannot be made to misbehave. */
export class ScriptedServer implements AsyncDisposable {
  readonly #server = createServer((request, response) => void this.#arrived(request, response));
  readonly #waiting: { fits: Fits; take: (exchange: Exchange) => void }[] = [];
  readonly #arrivals: Exchange[] = [];
  connections = 0;

  static async start(): Promise<ScriptedServer> {
    const scripted = new ScriptedServer();
    scripted.#server.on("connection", () => (scripted.connections += 1));
    scripted.#server.listen(0, "127.0.0.1");
    await once(scripted.#server, "listening");
    return scripted;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  }

  /** The next request that nobody has taken yet, of those that fit. */
  next(fits: Fits = () => true): Promise<Exchange> {
    const index = this.#arrivals.findIndex(fits);
    const [arrived] = index < 0 ? [] : this.#arrivals.splice(index, 1);
    if (arrived !== undefined) return Promise.resolve(arrived);
    return new Promise((take) => this.#waiting.push({ fits, take }));
  }

  /** A client of this server. */
  client(credentials: Partial<Credentials> = {}, deadlineMs = 5_000): KubernetesClient {
    return new KubernetesClient({ ...anonymous(this.url), ...credentials }, { deadlineMs });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #arrived(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const exchange = new Exchange(request, response, await text(request));
    const index = this.#waiting.findIndex(({ fits }) => fits(exchange));
    const [waiter] = index < 0 ? [] : this.#waiting.splice(index, 1);
    if (waiter === undefined) this.#arrivals.push(exchange);
    else waiter.take(exchange);
  }
}

/** Credentials that prove nothing. */
export function anonymous(server: string): Credentials {
  return {
    server,
    namespace: undefined,
    current: () => Promise.resolve({ headers: {}, material: { tls: {} } }),
    renew: () => Promise.resolve(false),
  };
}
