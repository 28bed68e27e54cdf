import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { bytesOf, declaredVolume, definition, longestDefinition } from "../../crds/machine.ts";

describe("the bytes of a capacity", () => {
  const cases: [capacity: string, bytes: number][] = [
    ["512", 512],
    ["1k", 1000],
    ["1Ki", 1024],
    ["500M", 500_000_000],
    ["512Mi", 536_870_912],
    ["10G", 10_000_000_000],
    ["10Gi", 10_737_418_240],
    ["2T", 2_000_000_000_000],
    ["2Ti", 2_199_023_255_552],
    ["1P", 1_000_000_000_000_000],
    ["1Pi", 1_125_899_906_842_624],
  ];
  for (const [capacity, bytes] of cases)
    test(`of ${capacity} are ${bytes}`, () => {
      const volume = declaredVolume.parse({ pool: "default", name: "web-1", capacity });
      assert.equal(bytesOf(volume.capacity ?? ""), bytes);
    });
});

describe("a definition as the controller reads it", () => {
  test("may be in a ConfigMap", () => {
    const configMapKeyRef = { name: "web-1", key: "domain.xml" };
    assert.deepEqual(definition.parse({ configMapKeyRef }), { configMapKeyRef });
  });

  test("has its longest length in the resource itself, and not more", () => {
    assert.ok(definition.safeParse({ xml: "a".repeat(longestDefinition) }).success);
    assert.ok(!definition.safeParse({ xml: "a".repeat(longestDefinition + 1) }).success);
  });

  test("leaves etcd room for the rest of the resource, also where half of it is brackets", () => {
    const longest = "<a/>".repeat(longestDefinition / 4);
    // As the API server writes JSON.
    const stored = JSON.stringify(longest).replaceAll(/[<>&]/g, String.raw`\u003c`);
    const largestRequestOfEtcd = 1.5 * 2 ** 20;
    assert.ok(stored.length < largestRequestOfEtcd - 2 ** 19, `${stored.length} bytes`);
  });
});
