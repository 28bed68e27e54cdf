import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { type Listing, ObjectCache, type ObjectEvent } from "../../../src/kubernetes/cache.ts";
import { keyOf } from "../../../src/kubernetes/resource.ts";

interface Widget {
  metadata: { name: string; uid: string; resourceVersion: string };
}
const widget = (name: string, uid: string, version: number): Widget => ({
  metadata: { name, uid, resourceVersion: String(version) },
});

/** A cache and the events that its observer saw, in short. */
function cached() {
  const told: string[] = [];
  const cache: ObjectCache<Widget> = new ObjectCache((event: ObjectEvent<Widget>) => {
    const { name, uid, resourceVersion } = event.object.metadata;
    const shown = cache.store.get(name);
    assert.equal(shown, event.type === "Deleted" ? undefined : event.object, "the cache shows the event");
    const from = event.type === "Modified" ? `${event.previous.metadata.resourceVersion}->` : "";
    told.push(`${event.type} ${name}/${uid}@${from}${resourceVersion}`);
  });
  const list = (objects: Widget[], rewound = false, version = "100") => {
    const listing: Listing = { seen: new Set(objects.map(keyOf)), version, rewound };
    for (const object of objects) cache.putListed(object, listing);
    cache.endList(listing);
  };
  return { cache, told, list };
}

test("What is new, changed and gone is told; what is known is not", () => {
  const { cache, told, list } = cached();
  list([widget("a", "1", 5), widget("b", "2", 6)]);
  list([widget("a", "1", 5), widget("c", "3", 8)]);
  cache.put(widget("a", "1", 9));
  cache.put(widget("a", "1", 9));
  cache.remove("a", "1", widget("a", "1", 10));
  assert.deepEqual(told, [
    "Added a/1@5",
    "Added b/2@6",
    "Added c/3@8",
    "Deleted b/2@6",
    "Modified a/1@5->9",
    "Deleted a/1@10",
  ]);
});

test("Another UID under the same name is a deletion and an addition, by watch and by list", () => {
  for (const how of ["watch", "list"]) {
    const { cache, told, list } = cached();
    list([widget("a", "1", 5)]);
    if (how === "watch") cache.put(widget("a", "2", 9));
    else list([widget("a", "2", 9)]);
    assert.deepEqual(told, ["Added a/1@5", "Deleted a/1@5", "Added a/2@9"]);
  }
});

test("The late end of an object that was replaced says nothing of its successor", () => {
  const { cache, told, list } = cached();
  list([widget("a", "2", 9)]);
  cache.remove("a", "1");
  assert.deepEqual(told, ["Added a/2@9"]);
});

test("An accepted write is shown at once, told never, and not undone by the older state", () => {
  const { cache, told, list } = cached();
  list([widget("a", "1", 5)]);
  assert.equal(cache.accept(widget("a", "1", 7)), true);
  assert.equal(cache.store.get("a")?.metadata.resourceVersion, "7");
  cache.put(widget("a", "1", 6));
  cache.put(widget("a", "1", 7));
  list([widget("a", "1", 6)], false, "6");
  assert.equal(cache.store.get("a")?.metadata.resourceVersion, "7");
  cache.put(widget("a", "1", 8));
  assert.deepEqual(told, ["Added a/1@5", "Modified a/1@7->8"]);
});

test("A write to an object that is gone or was replaced since is not accepted", () => {
  const { cache, list } = cached();
  list([widget("a", "2", 9)]);
  assert.equal(cache.accept(widget("a", "1", 10)), false);
  assert.equal(cache.accept(widget("b", "1", 10)), false);
  assert.equal(cache.accept(widget("a", "2", 9)), false);
  assert.equal(cache.store.size, 1);
});

test("A restored backup is believed although it is older", () => {
  const { told, list } = cached();
  list([widget("a", "1", 50), widget("b", "2", 60)]);
  list([widget("a", "1", 40), widget("b", "2", 60)], true);
  assert.deepEqual(told, ["Added a/1@50", "Added b/2@60", "Modified a/1@50->40"]);
});

test("A restored backup is believed although its versions have caught up", () => {
  const { told, list } = cached();
  list([widget("a", "1", 50), widget("b", "2", 60)]);
  list([widget("a", "1", 40), widget("b", "2", 65)], false, "70");
  assert.deepEqual(told, ["Added a/1@50", "Added b/2@60", "Modified a/1@50->40", "Modified b/2@60->65"]);
});

test("A list that was taken before one's own write takes nothing of it back", () => {
  const { cache, told, list } = cached();
  list([widget("a", "1", 50)], false, "60");
  cache.accept(widget("a", "1", 80));
  list([widget("a", "1", 70)], false, "75");
  assert.deepEqual(told, ["Added a/1@50"]);
  assert.equal(cache.store.get("a")?.metadata.resourceVersion, "80");
});

test("Whatever was missed, a list makes the told events add up to the truth", () => {
  const objects = fc.dictionary(
    fc.constantFrom("a", "b", "c", "d"),
    fc.record({ uid: fc.constantFrom("1", "2"), version: fc.integer({ min: 1, max: 30 }) }),
  );
  const property = fc.property(fc.array(objects, { minLength: 1 }), (states) => {
    const alive = new Map<string, Widget>();
    const cache = new ObjectCache<Widget>((event) => {
      const { name } = event.object.metadata;
      if (event.type === "Added") assert.ok(!alive.has(name), "added twice");
      else
        assert.equal(alive.get(name)?.metadata.uid, event.object.metadata.uid, "of the object that is known");
      if (event.type === "Deleted") alive.delete(name);
      else alive.set(name, event.object);
    });
    for (const [age, state] of states.entries()) {
      // Versions grow from one list to the next.
      const now = Object.entries(state).map(([name, { uid, version }]) =>
        widget(name, uid, age * 100 + version),
      );
      const listing = { seen: new Set(now.map(keyOf)), version: `${age * 100 + 99}`, rewound: false };
      for (const object of now) cache.putListed(object, listing);
      cache.endList(listing);
      assert.deepEqual(new Map(now.map((each) => [each.metadata.name, each])), alive);
      assert.equal(cache.store.size, alive.size);
    }
  });
  fc.assert(property);
});
