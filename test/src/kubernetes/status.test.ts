import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, UnreachableError } from "../../../src/kubernetes/errors.ts";
import { writeStatus } from "../../../src/kubernetes/status.ts";
import { type Exchange, ScriptedServer } from "./scripted-server.ts";

const TYPE = { group: "test.warmboot.dev", version: "v1", kind: "Widget", plural: "widgets" };
const WIDGET = { metadata: { namespace: "default", name: "a", uid: "u", resourceVersion: "5" } };

/** The outcome of a status write that the API server answers in this way, or what it rejects with. */
async function outcome(answer: (exchange: Exchange) => void): Promise<unknown> {
  await using server = await ScriptedServer.start();
  await using client = server.client();
  const written = writeStatus(client, TYPE, WIDGET, { phase: "A" }).catch((error: unknown) => error);
  answer(await server.next());
  return await written;
}

const failure = (code: number, reason: string, details: unknown) => (exchange: Exchange) =>
  exchange.answer(code, { kind: "Status", code, reason, message: "status.phase: no", details });

test("Only identity, version and status are sent, whatever else the object has", async () => {
  await using server = await ScriptedServer.start();
  await using client = server.client();
  const object = { ...WIDGET, spec: { size: 1 }, metadata: { ...WIDGET.metadata, labels: { a: "b" } } };
  const written = writeStatus(client, TYPE, object, { phase: "A" }, { fieldManager: "warmboot" });
  const request = await server.next();
  assert.equal(request.path, "/apis/test.warmboot.dev/v1/namespaces/default/widgets/a/status");
  assert.equal(request.query.get("fieldManager"), "warmboot");
  assert.deepEqual(JSON.parse(request.body), {
    apiVersion: "test.warmboot.dev/v1",
    kind: "Widget",
    metadata: WIDGET.metadata,
    status: { phase: "A" },
  });
  request.answer(200, object);
  assert.deepEqual(await written, { kind: "Written", object });
});

test("What the API server says becomes an outcome", async () => {
  const named = { name: "a", kind: "widgets" };
  assert.deepEqual(await outcome(failure(409, "Conflict", named)), { kind: "Conflict" });
  assert.deepEqual(await outcome(failure(404, "NotFound", named)), { kind: "Gone" });
  assert.deepEqual(await outcome(failure(422, "Invalid", named)), {
    kind: "Rejected",
    message: "status.phase: no",
  });
});

test("What is no answer to this write rejects: no such resource type, not allowed, not reached", async () => {
  for (const answer of [failure(404, "NotFound", {}), failure(403, "Forbidden", {})]) {
    assert.ok((await outcome(answer)) instanceof ApiError);
  }
  assert.ok((await outcome((exchange) => exchange.answer(404, "404 page not found"))) instanceof ApiError);
  assert.ok((await outcome((exchange) => exchange.cut())) instanceof UnreachableError);
});

test("A write without a resourceVersion is refused: it would overwrite whatever is there", async () => {
  await using server = await ScriptedServer.start();
  await using client = server.client();
  await assert.rejects(writeStatus(client, TYPE, { metadata: { name: "a" } }, {}), /resourceVersion/);
});
