import assert from "node:assert/strict";
import { test } from "node:test";
import type { DomainEvent, ListedDomain } from "libvirt";
import { Mirror } from "../../../src/hypervisor/mirror.ts";

const uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";
const listed: ListedDomain = { name: "web", uuid, id: 1, state: "Running", reason: "Booted" };
const at = { epochMs: 1000, monotonicMs: 1 };

function event(
  name: string,
  what: { event: "Stopped"; detail: "Shutdown" } | { event: "Defined"; detail: "Renamed" },
): DomainEvent {
  return { type: "Lifecycle", domain: { name, uuid, id: undefined }, receivedAtMs: 1, ...what };
}
const stopped = event("web", { event: "Stopped", detail: "Shutdown" });

test("a listed domain is found by its name and by its UUID, and is fresh", () => {
  const mirror = new Mirror();
  mirror.reset([listed]);
  for (const reference of [
    { kind: "Name", name: "web" },
    { kind: "UUID", uuid },
  ] as const) {
    assert.equal(mirror.find(reference)?.domain.id, 1);
    assert.equal(mirror.find(reference)?.stale, false);
  }
});

test("an event makes its domain stale, and a stop is remembered with its time", () => {
  const mirror = new Mirror();
  mirror.reset([listed]);
  mirror.note(stopped, at);
  const found = mirror.find({ kind: "UUID", uuid });
  assert.equal(found?.stale, true);
  assert.deepEqual(found.domain.lastStop, at);
});

test("an answer that an event has overtaken leaves the domain stale", () => {
  const mirror = new Mirror();
  mirror.reset([listed]);
  const before = mirror.events(uuid);
  mirror.note(stopped, at);
  mirror.set({ name: "web", uuid, id: 1, state: "Running", reason: "Booted" }, before);
  assert.equal(mirror.find({ kind: "UUID", uuid })?.stale, true);
  mirror.set({ name: "web", uuid, state: "Shutoff", reason: "Shutdown" }, mirror.events(uuid));
  assert.equal(mirror.find({ kind: "UUID", uuid })?.stale, false);
});

test("a domain that an event tells of for the first time is known, and stale", () => {
  const mirror = new Mirror();
  mirror.note(event("new", { event: "Defined", detail: "Renamed" }), at);
  assert.equal(mirror.find({ kind: "Name", name: "new" })?.stale, true);
});

test("a renamed domain is found by its new name only, and another may take the old one", () => {
  const mirror = new Mirror();
  mirror.reset([listed]);
  mirror.note(event("www", { event: "Defined", detail: "Renamed" }), at);
  assert.equal(mirror.find({ kind: "Name", name: "web" }), undefined);
  assert.equal(mirror.find({ kind: "Name", name: "www" })?.domain.uuid, uuid);
  const other = { ...listed, uuid: "00000000-0000-4000-8000-000000000000" };
  mirror.set({ name: other.name, uuid: other.uuid, state: "Shutoff", reason: "Unknown" }, 0);
  mirror.remove(uuid);
  assert.equal(mirror.find({ kind: "Name", name: "web" })?.domain.uuid, other.uuid);
});

test("a new list replaces everything but the times at which domains stopped", () => {
  const mirror = new Mirror();
  mirror.reset([listed, { ...listed, name: "gone", uuid: "00000000-0000-4000-8000-000000000000" }]);
  mirror.note(stopped, at);
  mirror.reset([listed]);
  assert.equal(mirror.find({ kind: "Name", name: "gone" }), undefined);
  assert.deepEqual(mirror.find({ kind: "Name", name: "web" })?.domain.lastStop, at);
});
