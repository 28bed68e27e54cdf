import assert from "node:assert/strict";
import { test } from "node:test";
import { Store } from "../../../src/kubernetes/store.ts";

const vm = (name: string, hosts: string[]) => ({ metadata: { name, namespace: "default" }, hosts });
const store = () => new Store<ReturnType<typeof vm>>({ host: (object) => object.hosts });

test("Objects are found by key and by each value of an index", () => {
  const vms = store();
  vms.set(vm("a", ["h1", "h2"]));
  vms.set(vm("b", ["h2"]));
  assert.equal(vms.size, 2);
  assert.equal(vms.get("default/a")?.metadata.name, "a");
  assert.deepEqual([...vms.keys()], ["default/a", "default/b"]);
  assert.deepEqual(
    vms.byIndex("host", "h1").map((each) => each.metadata.name),
    ["a"],
  );
  assert.deepEqual(
    vms.byIndex("host", "h2").map((each) => each.metadata.name),
    ["a", "b"],
  );
  assert.deepEqual(vms.byIndex("host", "h3"), []);
  assert.throws(() => vms.byIndex("colour", "red"), /no index "colour"/);
});

test("A replaced or deleted object leaves its former values in every index", () => {
  const vms = store();
  const first = vm("a", ["h1"]);
  assert.equal(vms.set(first), undefined);
  assert.equal(vms.set(vm("a", ["h2"])), first);
  assert.deepEqual(vms.byIndex("host", "h1"), []);
  assert.equal(vms.byIndex("host", "h2").length, 1);
  vms.delete("default/a");
  assert.deepEqual(vms.byIndex("host", "h2"), []);
  assert.equal(vms.delete("default/a"), undefined);
  assert.deepEqual(vms.list(), []);
});

test("An index function that throws leaves the store as it was", () => {
  const vms = new Store<{ metadata: { name: string }; broken?: boolean }>({
    any: ({ broken }) => {
      if (broken === true) throw new Error("broken");
      return ["x"];
    },
  });
  vms.set({ metadata: { name: "a" } });
  assert.throws(() => vms.set({ metadata: { name: "a" }, broken: true }), /broken/);
  assert.equal(vms.byIndex("any", "x").length, 1);
});
