import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { eventKey, eventObject, microTime } from "../../../src/kubernetes/event-object.ts";

const TYPE = {
  group: "warmboot.dev",
  version: "v1alpha1",
  kind: "VirtualMachine",
  plural: "virtualmachines",
};
const REPORTER = { reportingController: "warmboot.dev/controller", reportingInstance: "pod-1" };
const content = (note: string, name = "vm", namespace?: string) => ({
  regarding: { type: TYPE, metadata: { name, namespace, uid: "u", resourceVersion: "5" } },
  type: "Normal" as const,
  reason: "Restarted",
  action: "Restart",
  note,
});

test("Every field that the API requires is there", () => {
  const event = eventObject(content("done", "vm", "default"), REPORTER, microTime(0), "abc");
  assert.deepEqual(event, {
    metadata: { name: "vm.abc", namespace: "default" },
    eventTime: "1970-01-01T00:00:00.000000Z",
    reportingController: "warmboot.dev/controller",
    reportingInstance: "pod-1",
    action: "Restart",
    reason: "Restarted",
    regarding: {
      apiVersion: "warmboot.dev/v1alpha1",
      kind: "VirtualMachine",
      namespace: "default",
      name: "vm",
      uid: "u",
      resourceVersion: "5",
    },
    type: "Normal",
    note: "done",
  });
});

test("An event of a cluster-scoped object goes to the namespace default", () => {
  const event = eventObject(content("done"), REPORTER, microTime(0), "abc");
  assert.equal(event.metadata.namespace, "default");
});

test("A note of any length and in any script fits into 1024 bytes, with no character torn", () => {
  const property = fc.property(fc.string({ unit: "grapheme", maxLength: 3000 }), (note) => {
    const sent = eventObject(content(note), REPORTER, microTime(0), "abc").note;
    assert.ok(Buffer.byteLength(sent) <= 1024);
    if (Buffer.byteLength(note) <= 1024) assert.equal(sent, note);
    else assert.ok(note.startsWith(sent.slice(0, -1)) && sent.endsWith("…"));
  });
  fc.assert(property);
  for (let pad = 0; pad < 4; pad += 1) {
    const sent = eventObject(content("x".repeat(pad) + "🚀".repeat(500)), REPORTER, microTime(0), "abc").note;
    assert.ok(Buffer.byteLength(sent) <= 1024 && !sent.includes("\uFFFD"));
  }
});

test("The name of an event fits, however long its object's name is", () => {
  const event = eventObject(content("done", "v".repeat(253)), REPORTER, microTime(0), "0123456789abcdef");
  assert.equal(event.metadata.name.length, 253);
  assert.match(event.metadata.name, /\.0123456789abcdef$/);
});

test("Events that say the same of the same object have one key", () => {
  assert.equal(eventKey(content("a")), eventKey(content("a")));
  assert.notEqual(eventKey(content("a")), eventKey(content("b")));
  assert.notEqual(eventKey(content("a")), eventKey(content("a", "other")));
});
