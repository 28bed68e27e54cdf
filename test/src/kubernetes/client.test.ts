import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { inspect } from "node:util";
import { KubernetesClient } from "../../../src/kubernetes/client.ts";
import { ApiError, MalformedResponseError, UnreachableError } from "../../../src/kubernetes/errors.ts";
import { anonymous, ScriptedServer } from "./scripted-server.ts";

const TYPE = { group: "test.warmboot.dev", version: "v1", kind: "Widget", plural: "widgets" };
const REFERENCE = { namespace: "default", name: "a" };
const PATH = "/apis/test.warmboot.dev/v1/namespaces/default/widgets";
const WIDGET = { metadata: { ...REFERENCE, resourceVersion: "5" } };

/** A port on which nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => assert.fail("did not fail"),
    (error: unknown) => error,
  );
}

test("Each method asks for what it says", async () => {
  await using server = await ScriptedServer.start();
  await using client = server.client();
  const table: [() => Promise<unknown>, string, string, Record<string, string>, string | undefined][] = [
    [() => client.get(TYPE, REFERENCE), "GET", `${PATH}/a`, {}, undefined],
    [() => client.create(TYPE, WIDGET), "POST", PATH, {}, "application/json"],
    [
      () => client.replace(TYPE, WIDGET, { subresource: "status", fieldManager: "warmboot" }),
      "PUT",
      `${PATH}/a/status`,
      { fieldManager: "warmboot" },
      "application/json",
    ],
    [
      () => client.mergePatch(TYPE, REFERENCE, { spec: null }),
      "PATCH",
      `${PATH}/a`,
      {},
      "application/merge-patch+json",
    ],
    [() => client.delete(TYPE, { ...REFERENCE, uid: "u" }), "DELETE", `${PATH}/a`, {}, "application/json"],
  ];
  for (const [call, method, path, query, contentType] of table) {
    const answered = call();
    const request = await server.next();
    assert.equal(request.method, method);
    assert.equal(request.path, path);
    assert.deepEqual(Object.fromEntries(request.query), query);
    assert.equal(request.headers["content-type"], contentType);
    assert.equal(request.headers.accept, "application/json");
    assert.equal(request.headers["user-agent"], "warmboot");
    if (method === "POST" || method === "PUT") {
      assert.deepEqual(JSON.parse(request.body), {
        ...WIDGET,
        apiVersion: "test.warmboot.dev/v1",
        kind: "Widget",
      });
    }
    if (method === "DELETE") assert.deepEqual(JSON.parse(request.body), { preconditions: { uid: "u" } });
    request.answer(200, WIDGET);
    await answered;
  }
});

test("An API server may live below a path", async () => {
  await using server = await ScriptedServer.start();
  await using client = server.client(anonymous(`${server.url}/k8s/clusters/c-1`));
  const answered = client.get(TYPE, REFERENCE);
  const request = await server.next();
  assert.equal(request.path, `/k8s/clusters/c-1${PATH}/a`);
  request.answer(200, WIDGET);
  await answered;
});

test("A refusal is an ApiError with everything that it says", async () => {
  await using server = await ScriptedServer.start();
  await using client = server.client();
  const failed = failureOf(client.get(TYPE, REFERENCE));
  (await server.next()).refuse(429, "TooManyRequests", { "retry-after": "2" });
  const error = await failed;
  assert.ok(error instanceof ApiError);
  assert.equal(error.reason, "TooManyRequests");
  assert.equal(error.retryAfterMs, 2000);
  assert.equal(error.request, `GET ${PATH}/a`);
});

test("A refusal that is a page of a proxy is an ApiError too, and the page is not quoted", async () => {
  await using server = await ScriptedServer.start();
  await using client = server.client();
  const failed = failureOf(client.get(TYPE, REFERENCE));
  (await server.next()).answer(502, "<html>token=hunter2</html>");
  const error = await failed;
  assert.ok(error instanceof ApiError && error.code === 502);
  assert.doesNotMatch(inspect(error, { depth: 9 }), /hunter2/);
});

test("Answers that are no API server's are not believed and not quoted", async () => {
  await using server = await ScriptedServer.start();
  await using client = server.client();
  const bodies = {
    NotJson: "<html>hunter2</html>",
    UnexpectedShape: '"hunter2"',
    TooLarge: " ".repeat(17 * 2 ** 20),
  };
  for (const [problem, body] of Object.entries(bodies)) {
    const failed = failureOf(client.get(TYPE, REFERENCE));
    (await server.next()).answer(200, body);
    const error = await failed;
    assert.ok(error instanceof MalformedResponseError, String(error));
    assert.equal(error.problem, problem);
    assert.doesNotMatch(inspect(error, { depth: 9 }), /hunter2/);
  }
  const failed = failureOf(client.list(TYPE));
  (await server.next()).answer(200, WIDGET);
  const error = await failed;
  assert.ok(error instanceof MalformedResponseError && error.problem === "UnexpectedShape");
});

test("A server that cannot be reached is named, with the reason and what to look at", async () => {
  const port = await closedPort();
  await using greeter = createServer((socket) => socket.resume().end("SSH-2.0-OpenSSH_9.2\r\n")).listen(
    0,
    "127.0.0.1",
  );
  await once(greeter, "listening");
  const address = greeter.address();
  const greeterPort = typeof address === "object" && address !== null ? address.port : 0;
  const table: [string, RegExp, RegExp][] = [
    [`http://127.0.0.1:${port}`, /^ECONNREFUSED$/, /connection refused; is it running/],
    ["http://does-not-exist.invalid", /^(ENOTFOUND|EAI_AGAIN)$/, /DNS/],
    [`http://127.0.0.1:${greeterPort}`, /^HTTPParserError$/, /does not speak HTTP/],
    [`https://127.0.0.1:${greeterPort}`, /^(ERR_SSL_|EPROTO)/, /TLS/],
  ];
  for (const [server, code, advice] of table) {
    await using client = new KubernetesClient(anonymous(server));
    const error = await failureOf(client.get(TYPE, REFERENCE));
    assert.ok(error instanceof UnreachableError, String(error));
    assert.match(error.code, code);
    assert.match(error.message, advice);
    assert.ok(error.message.includes(server));
    assert.doesNotMatch(inspect(error, { depth: 9 }), /OpenSSH/);
  }
});

test("A connection that is cut in the middle of an answer is an UnreachableError", async () => {
  await using server = await ScriptedServer.start();
  await using client = server.client();
  const failed = failureOf(client.get(TYPE, REFERENCE));
  const request = await server.next();
  request.send('{"metadata":');
  request.cut();
  assert.ok((await failed) instanceof UnreachableError);
});

test("A request that gets no answer ends at its deadline, before and within the answer", async () => {
  await using server = await ScriptedServer.start();
  await using client = server.client();
  for (const begin of [false, true]) {
    const failed = failureOf(client.get(TYPE, REFERENCE, { deadlineMs: 200 }));
    const request = await server.next();
    if (begin) request.send('{"metadata":');
    const error = await failed;
    assert.ok(error instanceof UnreachableError && error.code === "DeadlineExceeded");
    assert.match(error.message, /no answer within 200 ms/);
    await request.gone();
  }
});

test("Credentials that do not come end at the deadline too", async () => {
  await using server = await ScriptedServer.start();
  await using client = server.client({ current: () => new Promise(() => {}) }, 20);
  const error = await failureOf(client.get(TYPE, REFERENCE));
  assert.ok(error instanceof UnreachableError && error.code === "DeadlineExceeded");
});

test("A caller that gives up gets its own reason", async () => {
  await using server = await ScriptedServer.start();
  await using client = server.client();
  const stop = new AbortController();
  const failed = failureOf(client.get(TYPE, REFERENCE, { signal: stop.signal }));
  const request = await server.next();
  const reason = new Error("shutting down");
  stop.abort(reason);
  assert.equal(await failed, reason);
  await request.gone();
  assert.equal(await failureOf(client.get(TYPE, REFERENCE, { signal: stop.signal })), reason);
});

test("A closed client says so, and ends what was under way", async () => {
  await using server = await ScriptedServer.start();
  const client = server.client();
  const failed = failureOf(client.get(TYPE, REFERENCE));
  await server.next();
  await client.close();
  for (const error of [await failed, await failureOf(client.get(TYPE, REFERENCE))]) {
    assert.ok(error instanceof UnreachableError, String(error));
    assert.match(error.message, /this client has been closed/);
  }
});

test("Refused credentials are renewed and the request repeated, once", async () => {
  await using server = await ScriptedServer.start();
  let token = "old";
  let renewals = 0;
  await using client = server.client({
    current: () => Promise.resolve({ headers: { authorization: `Bearer ${token}` }, material: { tls: {} } }),
    renew: () => {
      renewals += 1;
      token = "new";
      return Promise.resolve(renewals === 1);
    },
  });
  const answered = client.get(TYPE, REFERENCE);
  const first = await server.next();
  assert.equal(first.headers.authorization, "Bearer old");
  first.refuse(401, "Unauthorized");
  const second = await server.next();
  assert.equal(second.headers.authorization, "Bearer new");
  second.answer(200, WIDGET);
  await answered;
  const failed = failureOf(client.get(TYPE, REFERENCE));
  (await server.next()).refuse(401, "Unauthorized");
  const error = await failed;
  assert.ok(error instanceof ApiError && error.reason === "Unauthorized");
});

test("No failure shows the token that was sent", async () => {
  await using server = await ScriptedServer.start();
  const current = () =>
    Promise.resolve({ headers: { authorization: "Bearer hunter2" }, material: { tls: {} } });
  await using client = server.client({ current });
  const scripts: ((server: ScriptedServer) => Promise<void>)[] = [
    async () => (await server.next()).refuse(403, "Forbidden"),
    async () => (await server.next()).cut(),
    async () => (await server.next()).answer(200, "hunter2"),
    async () => {},
  ];
  for (const script of scripts) {
    const failed = failureOf(client.get(TYPE, REFERENCE, { deadlineMs: 200 }));
    await script(server);
    assert.doesNotMatch(inspect(await failed, { depth: 20, showHidden: true }), /hunter2/);
  }
});

test("A thousand calls share a few connections, and watches have their own", async () => {
  await using server = await ScriptedServer.start();
  await using client = new KubernetesClient(anonymous(server.url), { connections: 2 });
  const serving = (async () => {
    for (let served = 0; served < 1000; served += 1) (await server.next()).answer(200, WIDGET);
  })();
  await Promise.all(Array.from({ length: 1000 }, () => client.get(TYPE, REFERENCE)));
  await serving;
  assert.equal(server.connections, 2);
  const streams = Array.from({ length: 5 }, () => client.stream(PATH, { watch: true }));
  for (let opened = 0; opened < 5; opened += 1) (await server.next()).open();
  await Promise.all(streams);
  const answered = client.get(TYPE, REFERENCE);
  (await server.next()).answer(200, WIDGET);
  await answered;
  assert.equal(server.connections, 7);
});

test("Renewed certificates mean new connections; what is under way ends on the old ones", async () => {
  await using server = await ScriptedServer.start();
  let ca = Buffer.from("first");
  await using client = server.client({
    current: () => Promise.resolve({ headers: {}, material: { tls: { ca: Buffer.from(ca) } } }),
  });
  const call = async () => {
    const answered = client.get(TYPE, REFERENCE);
    const request = await server.next();
    return { answered, request };
  };
  const finish = async ({ answered, request }: Awaited<ReturnType<typeof call>>) => {
    request.answer(200, WIDGET);
    await answered;
  };
  await finish(await call());
  const underWay = await call();
  assert.equal(server.connections, 2);
  ca = Buffer.from("second");
  await finish(await call());
  assert.equal(server.connections, 3, "equal material keeps its connections, other material does not");
  await finish(underWay);
  await finish(await call());
  assert.equal(server.connections, 3);
});

test("After a deadline, connections that may be half open are not used again", async () => {
  await using server = await ScriptedServer.start();
  await using client = server.client();
  const calls = Array.from({ length: 3 }, () => client.get(TYPE, REFERENCE));
  const requests = await Promise.all(calls.map(() => server.next()));
  for (const request of requests) request.answer(200, WIDGET);
  await Promise.all(calls);
  const late = failureOf(client.get(TYPE, REFERENCE, { deadlineMs: 200 }));
  await server.next();
  const { connections } = server;
  await late;
  const answered = client.get(TYPE, REFERENCE);
  (await server.next()).answer(200, WIDGET);
  await answered;
  assert.equal(server.connections, connections + 1);
});

test("Closing also ends what is under way on connections that were left", async () => {
  await using server = await ScriptedServer.start();
  const client = server.client();
  const opening = client.stream(PATH, { watch: true });
  const watch = await server.next();
  watch.open();
  const body = await opening;
  client.reconnect();
  await client.close();
  await watch.gone();
  assert.equal(body.destroyed, true);
});
