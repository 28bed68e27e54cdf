import assert from "node:assert/strict";
import { test } from "node:test";
import { apiError, apiErrorOfEvent } from "../../../src/kubernetes/status-response.ts";

const CONFLICT = {
  kind: "Status",
  code: 409,
  reason: "Conflict",
  message: "the object has been modified",
  details: { name: "vm", kind: "virtualmachines" },
};

test("A Status object becomes an error with its code, reason, message and object", () => {
  const error = apiError("PUT /x", 409, CONFLICT);
  assert.equal(error.code, 409);
  assert.equal(error.reason, "Conflict");
  assert.equal(error.message, "PUT /x: 409 Conflict: the object has been modified");
  assert.deepEqual(error.about, { name: "vm", kind: "virtualmachines" });
  assert.equal(error.retryAfterMs, undefined);
  assert.equal(error.expired, false);
});

test("Without a Status object the reason follows from the code, and the body is not quoted", () => {
  for (const body of [undefined, "secret", { secret: 1 }, null, ["secret"]]) {
    const error = apiError("GET /x", 503, body);
    assert.equal(error.reason, "ServiceUnavailable");
    assert.doesNotMatch(error.message, /secret/);
  }
  assert.equal(apiError("GET /x", 418, undefined).reason, "Unknown");
});

test("Retry-After is understood as seconds, as a date, and from the Status object", (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.parse("2026-01-01T00:00:00Z") });
  assert.equal(apiError("GET /x", 429, undefined, "7").retryAfterMs, 7000);
  assert.equal(apiError("GET /x", 429, undefined, "Thu, 01 Jan 2026 00:00:05 GMT").retryAfterMs, 5000);
  assert.equal(apiError("GET /x", 429, undefined, "Thu, 01 Jan 2025 00:00:05 GMT").retryAfterMs, 0);
  assert.equal(apiError("GET /x", 429, undefined, "soon").retryAfterMs, undefined);
  const status = { kind: "Status", details: { retryAfterSeconds: 3 } };
  assert.equal(apiError("GET /x", 429, status).retryAfterMs, 3000);
});

test("A Status that comes as an event of a watch is an error of its own code", () => {
  const gone = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version: 1 (9)" };
  assert.equal(apiErrorOfEvent("watch /x", gone).expired, true);
  assert.equal(apiErrorOfEvent("watch /x", { what: "ever" }).code, 500);
});

test("A message that quotes a whole object is cut", () => {
  const error = apiError("PUT /x", 422, { kind: "Status", reason: "Invalid", message: "x".repeat(1e6) });
  assert.ok(error.message.length < 3000);
});
