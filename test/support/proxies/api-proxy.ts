import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { Agent, createServer, request as ask } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { buffer } from "node:stream/consumers";
import type { ApiServer } from "../apiserver.ts";
import { removeDirectory, temporaryDirectory } from "../temp-directory.ts";
import { Faults, type Matches } from "./faults.ts";

/** What a client asks of the API server. */
export interface ApiRequest {
  readonly method: string;
  readonly verb: "List" | "Watch" | "Get" | "Write";
  /** Such as "virtualmachines", or "virtualmachines/status". */
  readonly resource: string;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** What an API server has answered. */
export interface ApiAnswer {
  readonly code: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/**
 * What can become of a request:
 * - `Refuse`: the API server never hears of it.
 * - `LoseRequest`: neither does it, and the connection is reset.
 * - `CutRequest`: the API server hears so many bytes of its body, and the connections are reset.
 * - `LoseAnswer`: the API server carries it out, and the connection is reset instead of its answer.
 * - `CutAnswer`: the same after so many bytes of the answer's body, negative ones counted from its end; of a watch these
 *   are bytes of its next event.
 * - `Hold`: it reaches the API server later; `HoldAnswer`: the client hears of it later.
 * - `Ask`: other query parameters are sent than the client's.
 * - `Answer`: the client gets this instead, and the API server never hears of it.
 * - `Lines`: each line of a watch becomes these.
 */
export type ApiFate =
  | {
      readonly kind: "Refuse";
      readonly code: number;
      readonly reason: string;
      readonly retryAfterSeconds?: number;
    }
  | { readonly kind: "LoseRequest" | "LoseAnswer" }
  | { readonly kind: "CutRequest" | "CutAnswer"; readonly afterBytes: number }
  | { readonly kind: "Hold" | "HoldAnswer"; readonly until: Promise<unknown> }
  | { readonly kind: "Ask"; readonly query: Readonly<Record<string, string>> }
  | { readonly kind: "Answer"; readonly answer: ApiAnswer }
  | { readonly kind: "Lines"; readonly through: Through };

/** What each line of a watch becomes, at once or later; those after it wait. */
export type Through = (line: string) => readonly string[] | Promise<readonly string[]>;

/** An API server to its clients, which knows their requests and does not always do what they ask. */
export interface ApiProxy extends AsyncDisposable {
  /** A copy of the kubeconfig that leads here. */
  readonly kubeconfig: string;
  readonly faults: Faults<ApiRequest, ApiFate>;
  /** Resets the connections of the requests under way that match, such as watches. */
  cut(matches: Matches<ApiRequest>): void;
}

/** Requests of a kind for a resource. */
export function apiRequest(verb: ApiRequest["verb"], resource: string): Matches<ApiRequest> {
  return (request) => request.verb === verb && request.resource === resource;
}

/** Starts a proxy before an API server, in whose name and with whose certificate it answers. */
export async function startApiProxy(api: ApiServer, kubeconfig: string): Promise<ApiProxy> {
  const directory = temporaryDirectory();
  const cert = await readFile(api.caFile);
  const key = await readFile(join(dirname(api.caFile), "apiserver.key"));
  const proxy = new ProxiedApi(api.url, cert);
  const server = createServer({ cert, key }, (request, response) => void proxy.serve(request, response));
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const own = join(directory, "kubeconfig.json");
  await writeFile(own, redirected(await readFile(kubeconfig, "utf8"), `https://127.0.0.1:${port}`), {
    mode: 0o600,
  });
  return {
    kubeconfig: own,
    faults: proxy.faults,
    cut: (matches) => proxy.cut(matches),
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      proxy.close();
      await once(server, "close");
      await removeDirectory(directory);
    },
  };
}

function redirected(kubeconfig: string, server: string): string {
  const config = JSON.parse(kubeconfig);
  config.clusters[0].cluster.server = server;
  return JSON.stringify(config);
}

class ProxiedApi {
  readonly faults = new Faults<ApiRequest, ApiFate>();
  readonly #url: string;
  readonly #ca: Buffer;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #underWay = new Map<ServerResponse, ApiRequest>();

  constructor(url: string, ca: Buffer) {
    this.#url = url;
    this.#ca = ca;
  }

  async serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on("error", () => {});
    const request = requestOf(incoming, await buffer(incoming), this.#url);
    this.#underWay.set(response, request);
    response.on("close", () => this.#underWay.delete(response));
    try {
      await this.#serve(request, response, this.faults.judge(request));
    } catch {
      // The API server is away, and this one with it.
      reset(response);
    }
  }

  cut(matches: Matches<ApiRequest>): void {
    for (const [response, request] of this.#underWay) if (matches(request)) reset(response);
  }

  close(): void {
    this.#agent.destroy();
  }

  async #serve(request: ApiRequest, response: ServerResponse, fate: ApiFate | undefined): Promise<void> {
    switch (fate?.kind) {
      case "Refuse":
        tell(response, refusal(fate));
        return;
      case "Answer":
        tell(response, fate.answer);
        return;
      case "LoseRequest":
        reset(response);
        return;
      case "CutRequest":
        await this.#sendPart(request, fate.afterBytes);
        reset(response);
        return;
      case "Lines":
        await this.#watch(request, response, fate.through);
        return;
      case "Hold":
        await fate.until;
        break;
      case "Ask":
        for (const [name, value] of Object.entries(fate.query)) request.url.searchParams.set(name, value);
        break;
      case undefined:
      case "LoseAnswer":
      case "CutAnswer":
      case "HoldAnswer":
        break;
      default:
        fate satisfies never;
    }
    if (request.verb === "Watch") {
      const afterBytes = fate?.kind === "CutAnswer" ? fate.afterBytes : undefined;
      await this.#watch(request, response, (line) => [line], afterBytes);
      return;
    }
    const answer = await this.#ask(request);
    if (fate?.kind === "LoseAnswer") reset(response);
    else if (fate?.kind === "CutAnswer") tellPart(response, answer, fate.afterBytes);
    else {
      if (fate?.kind === "HoldAnswer") await fate.until;
      tell(response, answer);
    }
  }

  async #ask(request: ApiRequest): Promise<ApiAnswer> {
    const incoming = await this.#send(request);
    return {
      code: incoming.statusCode ?? 0,
      headers: incoming.headers,
      body: await buffer(incoming),
    };
  }

  async #watch(
    request: ApiRequest,
    response: ServerResponse,
    through: Through,
    afterBytes?: number,
  ): Promise<void> {
    const incoming = await this.#send(request);
    response.on("close", () => incoming.destroy());
    incoming.on("error", () => {});
    response.writeHead(incoming.statusCode ?? 0, { "content-type": incoming.headers["content-type"] });
    // A watch on which nothing happens has begun all the same.
    response.flushHeaders();
    for await (const line of createInterface(incoming)) {
      if (afterBytes !== undefined) {
        response.write(line.slice(0, afterBytes), () => reset(response));
        return;
      }
      for (const each of await through(line)) response.write(`${each}\n`);
    }
    if (incoming.complete) response.end();
    else reset(response);
  }

  async #send(request: ApiRequest): Promise<IncomingMessage> {
    const outgoing = this.#begin(request, this.#agent);
    outgoing.end(request.body);
    const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
    return incoming;
  }

  /** The rest of the body, whose length was promised, never comes. */
  async #sendPart(request: ApiRequest, bytes: number): Promise<void> {
    const outgoing = this.#begin(request, false);
    outgoing.on("error", () => {});
    outgoing.write(request.body.subarray(0, bytes), () => outgoing.destroy());
    await once(outgoing, "close");
  }

  #begin({ method, url, headers }: ApiRequest, agent: Agent | false): ClientRequest {
    const { host: _ours, connection: _hop, ...passed } = headers;
    return ask(url, { method, headers: passed, ca: this.#ca, agent });
  }
}

function requestOf(
  { method = "", url = "", headers }: IncomingMessage,
  body: Buffer,
  base: string,
): ApiRequest {
  const target = new URL(url, base);
  const [resource, name, subresource] = resourceIn(target.pathname);
  return {
    method,
    verb: verbOf(method, name, target),
    resource: subresource === undefined ? resource : `${resource}/${subresource}`,
    url: target,
    headers,
    body,
  };
}

/** The resource, the name and the subresource that a path addresses. */
function resourceIn(path: string): [resource: string, name?: string, subresource?: string] {
  const [, root, ...parts] = path.split("/");
  // Before it there are the version, or group and version, and the namespace where there is one.
  const inGroup = parts.slice(root === "api" ? 1 : 2);
  const [resource = "", ...rest] =
    inGroup[0] === "namespaces" && inGroup.length > 2 ? inGroup.slice(2) : inGroup;
  return [resource, ...rest] as [string, string?, string?];
}

function verbOf(method: string, name: string | undefined, { searchParams }: URL): ApiRequest["verb"] {
  if (method !== "GET") return "Write";
  if (name !== undefined) return "Get";
  return searchParams.get("watch") === "true" ? "Watch" : "List";
}

function refusal({ code, reason, retryAfterSeconds }: ApiFate & { kind: "Refuse" }): ApiAnswer {
  const status = {
    kind: "Status",
    apiVersion: "v1",
    status: "Failure",
    code,
    reason,
    message: "refused by a test",
  };
  return {
    code,
    headers: {
      "content-type": "application/json",
      ...(retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) }),
    },
    body: Buffer.from(JSON.stringify(status)),
  };
}

function tell(response: ServerResponse, { code, headers, body }: ApiAnswer): void {
  const { "content-type": type, "retry-after": later } = headers;
  response.writeHead(code, {
    "content-type": type,
    "content-length": body.length,
    ...(later === undefined ? {} : { "retry-after": later }),
  });
  response.end(body);
}

/** The length that was promised never comes. */
function tellPart(response: ServerResponse, { code, headers, body }: ApiAnswer, afterBytes: number): void {
  const part = body.subarray(0, afterBytes < 0 ? body.length + afterBytes : afterBytes);
  response.writeHead(code, { "content-type": headers["content-type"], "content-length": body.length });
  response.flushHeaders();
  response.write(part, () => reset(response));
}

function reset({ socket }: ServerResponse): void {
  socket?.destroy();
}
