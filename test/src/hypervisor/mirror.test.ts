import assert from "node:assert/strict";
import { test } from "node:test";
import type { DomainEvent, ListedDomain } from "libvirt";
import { Mirror } from "../../../src/hypervisor/mirror.ts";

const uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";
const listed: ListedDomain = { name: "web", uuid, id: 1, state: "Running", reason: "Booted" };
const at = { epochMs: 1000, monotonicMs: 1 };

function event(
  name: string,
  what:
    | { event: "Started"; detail: "Booted" }
    | { event: "Stopped"; detail: "Shutdown" | "Failed" }
    | { event: "Defined"; detail: "Renamed" | "Updated" },
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

test("a start that failed is no stop, although libvirt tells it as one; the crash of a guest that runs is", () => {
  const failed = event("web", { event: "Stopped", detail: "Failed" });
  const later = { epochMs: at.epochMs + 1000, monotonicMs: at.monotonicMs + 1000 };
  const lastStop = (mirror: Mirror) => mirror.find({ kind: "UUID", uuid })?.domain.lastStop;
  const mirror = new Mirror();
  mirror.reset([listed]);
  mirror.note(stopped, at);
  mirror.note(failed, later);
  assert.deepEqual(lastStop(mirror), at);
  mirror.note(event("web", { event: "Started", detail: "Booted" }), later);
  mirror.note(failed, later);
  assert.deepEqual(lastStop(mirror), later);
  const crashing = new Mirror();
  crashing.reset([listed]);
  crashing.note(failed, at);
  assert.deepEqual(lastStop(crashing), at);
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

test("when a domain was defined last is remembered, also over answers and a new list", () => {
  const mirror = new Mirror();
  mirror.reset([listed]);
  mirror.note(event("web", { event: "Defined", detail: "Updated" }), at);
  mirror.set({ name: "web", uuid, id: 1, state: "Running", reason: "Booted" }, mirror.events(uuid));
  mirror.reset([listed]);
  assert.deepEqual(mirror.find({ kind: "UUID", uuid })?.domain.lastDefined, at);
});

test("a new list replaces everything but the times at which domains stopped", () => {
  const mirror = new Mirror();
  mirror.reset([listed, { ...listed, name: "gone", uuid: "00000000-0000-4000-8000-000000000000" }]);
  mirror.note(stopped, at);
  mirror.reset([listed]);
  assert.equal(mirror.find({ kind: "Name", name: "gone" }), undefined);
  assert.deepEqual(mirror.find({ kind: "Name", name: "web" })?.domain.lastStop, at);
});

test("a later list makes stale what runs as another boot or no longer, and nothing else", () => {
  const mirror = new Mirror();
  const same = { ...listed, name: "same", uuid: "00000000-0000-4000-8000-000000000001" };
  const gone = { ...listed, name: "gone", uuid: "00000000-0000-4000-8000-000000000002" };
  mirror.reset([listed, same, gone]);
  const dead = { ...listed, id: undefined, state: "Shutoff", reason: "Unknown" } as const;
  const concerned = mirror.compare([dead, same]);
  assert.deepEqual(
    concerned.map(({ name }) => name),
    ["web", "gone"],
  );
  assert.deepEqual(
    [listed, same, gone].map(({ name }) => mirror.find({ kind: "Name", name })?.stale),
    [true, false, true],
  );
});

const agentEvent = (state: "Connected" | "Disconnected"): DomainEvent => ({
  type: "AgentLifecycle",
  domain: { name: "web", uuid, id: 1 },
  receivedAtMs: 1,
  state,
  reason: "Channel",
});
const found = (mirror: Mirror) => mirror.find({ kind: "UUID", uuid });
const answer = { name: "web", uuid, id: 1, state: "Running", reason: "Booted" } as const;

test("the agent's state is what the last event or the last answer said, and no answer that an event overtook", () => {
  const mirror = new Mirror();
  mirror.reset([listed]);
  assert.equal(found(mirror)?.domain.agent, undefined);
  mirror.set({ ...answer, agent: "Disconnected", knowsAgent: true }, mirror.events(uuid));
  assert.equal(found(mirror)?.domain.agent, "Disconnected");
  const before = mirror.events(uuid);
  mirror.note(agentEvent("Connected"), at);
  mirror.set({ ...answer, agent: "Disconnected", knowsAgent: true }, before);
  assert.equal(found(mirror)?.domain.agent, "Connected");
  // An answer that was not asked for the agent says nothing of it.
  mirror.set(answer, mirror.events(uuid));
  assert.equal(found(mirror)?.domain.agent, "Connected");
  mirror.note(stopped, at);
  assert.equal(found(mirror)?.domain.agent, undefined);
});

test("after a new connection an agent's state is to be asked for; where there was no agent, nothing is", () => {
  const mirror = new Mirror();
  const other = { ...listed, name: "plain", uuid: "00000000-0000-4000-8000-000000000001" };
  mirror.reset([listed, other]);
  mirror.note(agentEvent("Connected"), at);
  mirror.reset([listed, other]);
  assert.equal(found(mirror)?.knowsAgent, false);
  assert.equal(mirror.find({ kind: "Name", name: "plain" })?.knowsAgent, true);
  mirror.set({ ...answer, agent: "Connected", knowsAgent: true }, mirror.events(uuid));
  assert.equal(found(mirror)?.knowsAgent, true);
});

test("of a burst of Reboot events the first counts; a later reboot counts anew, also over a new connection", () => {
  const reboot: DomainEvent = { type: "Reboot", domain: { name: "web", uuid, id: 1 }, receivedAtMs: 1 };
  const atMs = (monotonicMs: number) => ({ epochMs: monotonicMs, monotonicMs });
  const mirror = new Mirror();
  mirror.reset([listed]);
  for (const ms of [5000, 5040, 5900]) mirror.note(reboot, atMs(ms));
  assert.deepEqual(found(mirror)?.domain.lastReboot, atMs(5000));
  mirror.note(reboot, atMs(7000));
  mirror.reset([listed]);
  mirror.note(reboot, atMs(7040));
  assert.deepEqual(found(mirror)?.domain.lastReboot, atMs(7000));
});

test("without a list what was known is stale, and what it lacks may be there, until a list completes it", () => {
  const mirror = new Mirror();
  mirror.reset([listed]);
  assert.equal(mirror.isComplete, true);
  mirror.reset(undefined);
  assert.equal(mirror.isComplete, false);
  assert.equal(found(mirror)?.stale, true);
  const met = { name: "met", uuid: "00000000-0000-4000-8000-000000000001", id: 2 };
  mirror.meet(met);
  assert.equal(mirror.find({ kind: "Name", name: "met" })?.stale, true);
  const fresh = mirror.set(answer, mirror.events(uuid));
  mirror.meet(listed);
  assert.deepEqual(found(mirror)?.domain, fresh, "what is known of it stays");
  const unheard = { ...listed, name: "new", uuid: "00000000-0000-4000-8000-000000000002" };
  mirror.complete([{ ...listed, id: 9 }, { ...listed, ...met }, unheard]);
  assert.equal(mirror.isComplete, true);
  assert.equal(found(mirror)?.stale, true, "it runs as another boot");
  assert.equal(mirror.find({ kind: "Name", name: "new" })?.stale, true);
});
