import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { removeDirectory, temporaryDirectory } from "./temp-directory.ts";

/** Builds for ever, and is ended by a signal in the middle of it. */
const builder = (pipe: string) => `
  import { obtain } from "${import.meta.resolve("./cache.ts")}";
  import { run } from "${import.meta.resolve("./run.ts")}";
  process.once("SIGTERM", () => process.exit(143));
  const command = "mkdir half-built; exec > ${pipe}; echo building; exec sleep 600";
  const build = (directory) => run("sh", ["-c", command], { cwd: directory });
  await obtain({ name: "endless", title: "endless", files: [], build }, () => {});
`;

test("a build that is interrupted leaves neither a process nor a file", async () => {
  const directory = temporaryDirectory();
  await using undo = new AsyncDisposableStack();
  undo.defer(() => removeDirectory(directory));
  // The command alone holds its other end: it closes when that has ended.
  const pipe = join(directory, "pipe");
  execFileSync("mkfifo", [pipe]);
  const cache = join(directory, "cache");
  await mkdir(cache);
  const child = spawn(process.execPath, ["--input-type=module", "--eval", builder(pipe)], {
    env: { ...process.env, WARMBOOT_CACHE: cache },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const exited = once(child, "exit");
  const command = createReadStream(pipe);
  undo.defer(() => void command.destroy());
  await once(command, "data");
  assert.equal((await readdir(cache)).length, 1);
  const closed = once(command, "end");
  child.kill("SIGTERM");
  assert.deepEqual(await exited, [143, null]);
  assert.deepEqual(await readdir(cache), []);
  await closed;
});
