import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream, readdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { removeDirectory, temporaryDirectory } from "../support/temp-directory.ts";

let directory: string;
beforeEach(async () => {
  directory = temporaryDirectory();
});
afterEach(() => removeDirectory(directory));

const program = (name: string) => join(import.meta.dirname, "..", name);

for (const step of ["A Kubernetes API server", "Five guests"]) {
  test(`Ctrl-C during the demo's step "${step}" removes everything at once, and is no failure`, async () => {
    // Everything that it starts has its files in here.
    const env = { ...process.env, TMPDIR: directory };
    const demo = spawn(process.execPath, [program("demo/demo.ts")], {
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const exited = once(demo, "exit");
    const said: string[] = [];
    createInterface(demo.stderr).on("line", (line) => said.push(line));
    createInterface(demo.stdout).on("line", (line) => {
      said.push(line);
      // A terminal signals npm as well, which passes its own on.
      if (line.includes(step) || line.startsWith("Interrupted")) demo.kill("SIGINT");
    });
    assert.deepEqual(await exited, [130, null]);
    const [last, ...before] = said.toReversed();
    assert.match(last ?? "", /^Interrupted: removing /, said.join("\n"));
    assert.ok(!before.some((line) => /Interrupted|failed/.test(line)), said.join("\n"));
    // What was abandoned half-way ends by itself, and nobody tells of it.
    const deadline = performance.now() + 10_000;
    while (readdirSync(directory).length > 0) {
      assert.ok(
        performance.now() < deadline,
        `left over: ${readdirSync(directory, { recursive: true }).join(" ")}`,
      );
      await delay(20);
    }
  });
}

test("the tests end with what runs them, when that is asked to end", async () => {
  const pipe = join(directory, "pipe");
  execFileSync("mkfifo", [pipe]);
  const file = join(directory, "endless.test.mjs");
  await writeFile(
    file,
    `import { openSync, writeSync } from "node:fs";
    import { test } from "node:test";
    test("endless", () => {
      writeSync(openSync("${pipe}", "w"), "begun");
      return new Promise((resolve) => setTimeout(resolve, 600_000));
    });`,
  );
  // Without what tells Node's runner that it runs within another one, where it would skip everything.
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  const runner = spawn(process.execPath, [program("run.ts"), file], { env, stdio: "ignore" });
  const exited = once(runner, "exit");
  const tests = createReadStream(pipe);
  await once(tests, "data");
  const closed = once(tests, "end");
  runner.kill("SIGTERM");
  assert.deepEqual(await exited, [143, null]);
  await closed;
});
