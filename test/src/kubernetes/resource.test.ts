import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { compareResourceVersions, keyOf, parseKey, resourcePath } from "../../../src/kubernetes/resource.ts";

const VM = { group: "warmboot.dev", version: "v1alpha1", kind: "VirtualMachine", plural: "virtualmachines" };
const POD = { group: "", version: "v1", kind: "Pod", plural: "pods" };

test("Paths of collections, objects and subresources, in the core group and in others", () => {
  const table = [
    [POD, {}, "/api/v1/pods"],
    [POD, { namespace: "a" }, "/api/v1/namespaces/a/pods"],
    [VM, { namespace: "a" }, "/apis/warmboot.dev/v1alpha1/namespaces/a/virtualmachines"],
    [VM, { name: "b" }, "/apis/warmboot.dev/v1alpha1/virtualmachines/b"],
    [
      VM,
      { namespace: "a", name: "b", subresource: "status" },
      "/apis/warmboot.dev/v1alpha1/namespaces/a/virtualmachines/b/status",
    ],
  ] as const;
  for (const [type, where, path] of table) assert.equal(resourcePath(type, where), path);
});

test("No name can leave its place in a path", () => {
  const property = fc.property(fc.string({ minLength: 1, unit: "grapheme" }), (name) => {
    let path: string;
    try {
      path = resourcePath(VM, { namespace: "a", name, subresource: "status" });
    } catch {
      // "." and ".." and torn characters are refused.
      return;
    }
    const url = new URL(`https://server${path}`);
    assert.equal(url.pathname, path);
    assert.equal(url.search + url.hash, "");
    assert.equal(path.split("/").length, 9);
  });
  fc.assert(property);
  for (const name of ["", ".", ".."]) assert.throws(() => resourcePath(VM, { name }), TypeError);
});

test("A key says namespace and name, and can be read back", () => {
  assert.equal(keyOf({ metadata: { name: "vm", namespace: "default" } }), "default/vm");
  assert.equal(keyOf({ metadata: { name: "host" } }), "host");
  assert.deepEqual(parseKey("default/vm"), { namespace: "default", name: "vm" });
  assert.deepEqual(parseKey("host"), { name: "host" });
});

test("resourceVersions are compared as numbers, also beyond what a double holds", () => {
  const property = fc.property(
    fc.bigInt({ min: 0n, max: 2n ** 80n }),
    fc.bigInt({ min: 0n, max: 2n ** 80n }),
    (a, b) => {
      const sign = a < b ? -1 : a > b ? 1 : 0;
      assert.equal(Math.sign(compareResourceVersions(String(a), String(b))), sign);
    },
  );
  fc.assert(property);
});
