import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { lacking, type Machine } from "./requirements.ts";

/** A machine that has what it takes, and nothing cached. */
const fresh: Machine = {
  platform: "linux",
  architecture: "x64",
  isRoot: true,
  hasAptGet: true,
  needsGo: true,
  needsApiServer: true,
  goVersion: "go1.26.8",
  cache: "/root/.cache/warmboot",
  freeBytes: 20e9,
};

describe("what a machine lacks is told before anything long begins", () => {
  test("nothing, where everything is there", () => {
    assert.deepEqual(lacking(fresh), []);
  });

  const lacks: [sentence: string, change: Partial<Machine>, line: RegExp][] = [
    ["another architecture", { architecture: "arm64" }, /^This is linux on arm64: .* use such a machine\.$/],
    ["another system", { platform: "darwin" }, /^This is darwin on x64/],
    ["somebody who is not root", { isRoot: false }, /^Root is needed, .*: run this again as root\.$/],
    ["no apt-get", { hasAptGet: false }, /^There is no apt-get, .*: use Debian/],
    ["no Go", { goVersion: undefined }, /^Go is not on the PATH, .*: install Go 1\.26/],
    ["the Go of Debian bookworm", { goVersion: "go1.19.8" }, /^This is go1\.19\.8, .*: install Go 1\.26/],
    [
      "a disk that is full",
      { freeBytes: 2.1e9 },
      /6 GB of disk, and \/root\/\.cache\/warmboot has 2\.1 GB free/,
    ],
  ];
  for (const [sentence, change, line] of lacks) {
    test(`${sentence}, in one line`, () => {
      const [only, ...more] = lacking({ ...fresh, ...change });
      assert.match(only ?? "", line);
      assert.deepEqual(more, []);
    });
  }

  test("all of it at once", () => {
    assert.equal(lacking({ ...fresh, isRoot: false, hasAptGet: false, goVersion: undefined }).length, 3);
  });

  test("nothing that only a build needs, once that is done", () => {
    const built = { needsGo: false, needsApiServer: false };
    assert.deepEqual(lacking({ ...fresh, ...built, goVersion: undefined, freeBytes: 0 }), []);
  });
});
