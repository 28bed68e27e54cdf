import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { failpointFiles } from "../../src/failpoints.ts";
import { inFile } from "../support/file-watch.ts";
import { removeDirectory, temporaryDirectory } from "../support/temp-directory.ts";

const program = (name: string) => fileURLToPath(new URL(`../../src/${name}`, import.meta.url));

let directory: string;
beforeEach(() => {
  directory = temporaryDirectory();
  writeFileSync(file("armedBy"), `${process.pid}`);
});
afterEach(() => removeDirectory(directory));

const file = (name: keyof typeof failpointFiles) => join(directory, failpointFiles[name]);

describe("the program, where the variable of the failpoints is set", () => {
  /** With a kubeconfig that is not there: a program that did not mind the variable would say so. */
  const run = (env: NodeJS.ProcessEnv) => {
    const { status, stdout } = spawnSync(process.execPath, [program("main.ts"), "--kubeconfig", "/nowhere"], {
      encoding: "utf8",
      env: { ...process.env, ...env },
    });
    assert.equal(status, 1);
    return stdout;
  };
  const forTests = /WARMBOOT_FAILPOINT is set.* for its own tests alone. Unset it/;

  test("ends at once and says why, unless a test has started it", () => {
    assert.match(run({ WARMBOOT_FAILPOINT: "pass/begin=kill" }), forTests);
  });

  test("ends also with a directory that another process has armed, or nobody", () => {
    const env = { WARMBOOT_FAILPOINT: "=list", WARMBOOT_FAILPOINT_DIRECTORY: directory };
    writeFileSync(file("armedBy"), "1");
    assert.match(run(env), forTests);
    assert.match(run({ ...env, WARMBOOT_FAILPOINT_DIRECTORY: "/nowhere" }), forTests);
  });

  test("goes on where a test has armed it", () => {
    const said = run({ WARMBOOT_FAILPOINT: "=list", WARMBOOT_FAILPOINT_DIRECTORY: directory });
    assert.match(said, /\/nowhere/);
    assert.doesNotMatch(said, forTests);
  });

  test("ends where its value says nothing", () => {
    const said = run({ WARMBOOT_FAILPOINT: "begin", WARMBOOT_FAILPOINT_DIRECTORY: directory });
    assert.match(said, /is \\"begin\\", not =list/);
  });
});

describe("a process with a failpoint", () => {
  /** Passes two points, one of them three times, each time with a line on its standard output. */
  const script = `
    const { armFailpoints } = await import(${JSON.stringify(program("failpoints.ts"))});
    const { passed } = await import(${JSON.stringify(program("steps.ts"))});
    const { writeSync } = await import("node:fs");
    armFailpoints(process.env, process.ppid);
    for (const point of ["a", "b", "a", "a"]) { passed(point); writeSync(1, point); }`;
  const start = (failpoint?: string) => {
    const env = { ...process.env, WARMBOOT_FAILPOINT: failpoint, WARMBOOT_FAILPOINT_DIRECTORY: directory };
    const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
      env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
    return { child, ended: once(child, "close").then(([code, signal]) => [said, code ?? signal] as const) };
  };
  const reached = () =>
    inFile(
      file("at"),
      30_000,
      async () => existsSync(file("at")) || undefined,
      async () => "not reached",
    );

  test("is any other where the variable is not set", async () => {
    assert.deepEqual(await start().ended, ["abaa", 0]);
    assert.ok(!existsSync(file("passed")));
  });

  test("dies at the first passage of its point, or at the one that is named", async () => {
    assert.deepEqual(await start("b=kill").ended, ["a", "SIGKILL"]);
    assert.deepEqual(await start("a#2=kill").ended, ["ab", "SIGKILL"]);
    assert.deepEqual(await start("a#4=kill").ended, ["abaa", 0]);
  });

  test("lists what it passes, and how often", async () => {
    assert.deepEqual(await start("=list").ended, ["abaa", 0]);
    assert.equal(readFileSync(file("passed"), "utf8"), "a#1\nb#1\na#2\na#3\n");
  });

  test("stops until somebody continues it", async () => {
    const { child, ended } = start("a#2=stop");
    await reached();
    const state = () => /State:\s(\w)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1];
    // The file is there before the signal is, and no event tells of a process that stops.
    while (state() !== "T") await new Promise(setImmediate);
    child.kill("SIGCONT");
    assert.deepEqual(await ended, ["abaa", 0]);
  });

  test("waits until it is let go", async () => {
    execFileSync("mkfifo", [file("go")]);
    const { ended } = start("b=wait");
    await reached();
    writeFileSync(file("go"), "");
    assert.deepEqual(await ended, ["abaa", 0]);
  });
});

test("requests to the API server are named by method, resource and subresource", () => {
  const script = `
    const { armFailpoints } = await import(${JSON.stringify(program("failpoints.ts"))});
    const { channel } = await import("node:diagnostics_channel");
    armFailpoints(process.env, process.ppid);
    const group = "/apis/warmboot.dev/v1alpha1";
    for (const [method, path] of [
      ["PUT", group + "/namespaces/default/virtualmachines/vm/status?fieldManager=warmboot"],
      ["GET", group + "/virtualmachines?limit=500"],
      ["GET", group + "/namespaces/lab/virtualmachines?watch=true&resourceVersion=1"],
      ["GET", "/api/v1/namespaces/kube-system"],
      ["POST", "/apis/events.k8s.io/v1/namespaces/default/events"],
    ]) channel("undici:request:create").publish({ request: { method, path } });`;
  const env = { ...process.env, WARMBOOT_FAILPOINT: "=list", WARMBOOT_FAILPOINT_DIRECTORY: directory };
  execFileSync(process.execPath, ["--input-type=module", "--eval", script], { env });
  assert.deepEqual(readFileSync(file("passed"), "utf8").trim().split("\n"), [
    "kubernetes/PUT/virtualmachines/status/begin#1",
    "kubernetes/GET/virtualmachines/begin#1",
    "kubernetes/WATCH/virtualmachines/begin#1",
    "kubernetes/GET/namespaces/begin#1",
    "kubernetes/POST/events/begin#1",
  ]);
});
