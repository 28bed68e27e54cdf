import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cachePath, obtain, type Recipe } from "./cache.ts";
import { run } from "./run.ts";
import type { Report } from "./report.ts";

const parts = join(import.meta.dirname, "..", "parts");

/** Between two lines about a build that takes minutes. */
const PROGRESS_EVERY_MS = 12_000;

/** The same wherever it is built; no question to Git, which refuses somebody else's clone. */
const FLAGS = ["-trimpath", "-buildvcs=false"];

/** Static, so that a binary runs wherever the cache is mounted. */
const ENVIRONMENT = { ...process.env, CGO_ENABLED: "0" };

/** A program of ours in Go, kept below test/parts/. */
export interface GoProgram {
  readonly folder: "apiserver" | "supervisor";
  readonly binary: string;
  readonly title: string;
}

/** The real API server, etcd and kubectl in one binary. */
export const KUBE: GoProgram = { folder: "apiserver", binary: "kube", title: "API server, etcd and kubectl" };

/** What runs a daemon, adopts its orphans and ends them all. */
export const SUPERVISOR: GoProgram = {
  folder: "supervisor",
  binary: "supervisor",
  title: "process supervisor",
};

/** The path of the program's binary, built unless the cache has one of the same sources. */
export async function goBinary(program: GoProgram, report: Report): Promise<string> {
  return join(await obtain(await recipeOf(program), report), program.binary);
}

/** Whether the cache has it. */
export async function isBuilt(program: GoProgram): Promise<boolean> {
  return existsSync(await cachePath(await recipeOf(program)));
}

async function recipeOf(program: GoProgram): Promise<Recipe> {
  const folder = join(parts, program.folder);
  const names = (await readdir(folder)).filter((name) => /\.go$|^go\.(mod|sum)$/.test(name)).sort();
  const flags = [...FLAGS, `-ldflags=${await linkerFlags(folder)}`];
  return {
    name: program.folder,
    title: program.title,
    files: names.map((name) => join(folder, name)),
    words: flags,
    build: (directory, report) => build(program, folder, flags, join(directory, program.binary), report),
  };
}

/** Small; and Kubernetes is told its version, as its own build does it: without it, `kubectl version` fails. */
async function linkerFlags(folder: string): Promise<string> {
  const module = await readFile(join(folder, "go.mod"), "utf8");
  const version = /k8s\.io\/kubernetes (v[\d.]+)/.exec(module)?.[1];
  if (version === undefined) return "-s -w";
  const variables = ["k8s.io/client-go/pkg/version.gitVersion", "k8s.io/component-base/version.gitVersion"];
  return ["-s -w", ...variables.map((name) => `-X ${name}=${version}`)].join(" ");
}

async function build(
  program: GoProgram,
  folder: string,
  flags: readonly string[],
  output: string,
  report: Report,
): Promise<void> {
  const begin = Date.now();
  let doing = "fetching sources";
  const progress = setInterval(() => {
    report(`${program.title}: ${Math.round((Date.now() - begin) / 1000)} s, ${doing}`);
  }, PROGRESS_EVERY_MS);
  // Gigabytes: in the cache's directory they go with it when the build is interrupted.
  const temporary = join(dirname(output), "tmp");
  await mkdir(temporary);
  const options = { cwd: folder, env: { ...ENVIRONMENT, GOTMPDIR: temporary } };
  try {
    const packages = await run("go", ["list", ...flags, "-deps", "."], options);
    const total = packages.trim().split("\n").length;
    let compiled = 0;
    const onStderrLine = (line: string) => {
      // -v names each package that was compiled; whatever else it prints has a space in it.
      if (!line.includes(" ")) doing = `${++compiled} of up to ${total} packages compiled`;
    };
    await run("go", ["build", "-v", ...flags, "-o", output, "."], { ...options, onStderrLine });
  } finally {
    clearInterval(progress);
  }
  await rm(temporary, { recursive: true });
}
