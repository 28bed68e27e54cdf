import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream, existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { withoutServices } from "./debian.ts";
import { inFile } from "./file-watch.ts";
import { removeDirectory, temporaryDirectory } from "./temp-directory.ts";

describe("while packages are installed", () => {
  let directory: string;
  let policy: string;
  beforeEach(async () => {
    directory = temporaryDirectory();
    policy = join(directory, "policy-rc.d");
  });
  afterEach(() => removeDirectory(directory));

  const gone = () =>
    inFile(
      policy,
      30_000,
      async () => !existsSync(policy) || undefined,
      async () => `${policy} is not removed`,
    );

  /**
   * A process that installs something for as long as the pipe "end" is not written to, if `obeys` is not set.
   * Resolves when it does.
   */
  async function installing(obeys: boolean) {
    const [told, end] = [join(directory, "told"), join(directory, "end")];
    execFileSync("mkfifo", [told, end]);
    // What apt-get does with a SIGINT while dpkg runs, or while it downloads.
    const command = `${obeys ? "" : "trap '' INT;"} echo begun > ${told}; read line < ${end}`;
    const installer = `
      import { withoutServices } from "${import.meta.resolve("./debian.ts")}";
      process.once("SIGTERM", () => process.exit(143));
      await withoutServices(["sh", "-c", ${JSON.stringify(command)}], ${JSON.stringify(policy)});
    `;
    const installs = spawn(process.execPath, ["--input-type=module", "--eval", installer], {
      stdio: "inherit",
    });
    await once(createReadStream(told), "data");
    return { installs, exited: once(installs, "exit"), end };
  }

  test("services are forbidden to start, and not any more afterwards", async () => {
    const answer = join(directory, "answer");
    await withoutServices(["sh", "-c", `${policy} nginx start || echo $? > ${answer}`], policy);
    assert.equal(await readFile(answer, "utf8"), "101\n");
    assert.ok(!existsSync(policy));
  });

  test("somebody else's policy stays as it is", async () => {
    await writeFile(policy, "#!/bin/sh\nexit 0\n");
    await withoutServices(["true"], policy);
    await withoutServices([], policy);
    assert.equal(await readFile(policy, "utf8"), "#!/bin/sh\nexit 0\n");
  });

  test("an installation that fails is told in its own words, and our policy goes", async () => {
    const failing = withoutServices(["sh", "-c", "echo no space left; exit 100"], policy);
    await assert.rejects(failing, { status: 100, stderr: "no space left" });
    assert.ok(!existsSync(policy));
  });

  test("somebody ends the set-up: a download ends, too, and our policy goes", async () => {
    const { installs, exited } = await installing(true);
    installs.kill("SIGTERM");
    assert.deepEqual(await exited, [143, null]);
    await gone();
  });

  test("somebody ends the set-up: dpkg is not disturbed, and our policy goes when it is through", async () => {
    const { installs, exited, end } = await installing(false);
    installs.kill("SIGTERM");
    await exited;
    assert.ok(existsSync(policy));
    await writeFile(end, "end\n");
    await gone();
  });

  test("somebody kills the set-up: dpkg is not disturbed, and our policy goes when it is through", async () => {
    const { installs, exited, end } = await installing(true);
    installs.kill("SIGKILL");
    await exited;
    assert.ok(existsSync(policy));
    await writeFile(end, "end\n");
    await gone();
  });

  test("a policy of ours that was left behind is removed by the next set-up", async () => {
    await assert.rejects(withoutServices(["sh", "-c", "kill -KILL $PPID"], policy), { status: "SIGKILL" });
    assert.ok(existsSync(policy));
    await withoutServices([], policy);
    assert.ok(!existsSync(policy));
  });
});
