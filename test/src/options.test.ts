import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

function warmboot(args: string[], environment: NodeJS.ProcessEnv = {}) {
  const env = { ...process.env, KUBECONFIG: "", HOME: "/nonexistent", ...environment };
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: "utf8", env });
  return { status, stdout, stderr };
}

test("--help explains every flag, with its default", () => {
  const { status, stdout } = warmboot(["--help"]);
  assert.equal(status, 0);
  for (const flag of [
    "connect",
    "kubeconfig",
    "context",
    "namespace",
    "workers",
    "log-level",
    "log-format",
  ]) {
    assert.match(stdout, new RegExp(`--${flag} <[a-z]+>\\s+\\w+`));
  }
});

const mistakes: [sentence: string, args: string[], message: RegExp][] = [
  ["a flag that does not exist", ["--conect", "x"], /unknown option '--conect'.*--connect/s],
  ["a URI that is none", ["--connect", "localhost"], /not a libvirt URI; use qemu:\/\/\/system/],
  [
    "a transport that is not there",
    ["--connect", "qemu+ssh://host/system"],
    /transport ssh is not supported/,
  ],
  ["a number that is none", ["--workers", "many"], /whole number from 1 to 10000/],
  ["a level that does not exist", ["--log-level", "loud"], /Allowed choices are error, warn, info, debug/],
  ["an argument too many", ["now"], /too many arguments/],
];
for (const [sentence, args, message] of mistakes) {
  test(`${sentence} is one line that says what is wrong, and no stack`, () => {
    const { status, stdout, stderr } = warmboot(args);
    assert.equal(status, 1);
    assert.equal(stdout, "");
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /\n\s+at /);
    assert.match(stderr, /npm start -- --help/);
  });
}

test("no kubeconfig at all is one line that says where one is looked for", () => {
  const { status, stdout, stderr } = warmboot([]);
  assert.equal(status, 1);
  assert.equal(stderr, "");
  const lines = stdout.trim().split("\n");
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? "", /name one by --kubeconfig, set KUBECONFIG/);
});

test("a kubeconfig that does not exist is one line that names it", () => {
  const { status, stdout } = warmboot([], { KUBECONFIG: "/nonexistent/kubeconfig" });
  assert.equal(status, 1);
  assert.match(stdout, /\/nonexistent\/kubeconfig/);
});
