import { existsSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { cacheDirectory } from "./cache.ts";
import { aptGet } from "./debian.ts";
import { isBuilt, KUBE, SUPERVISOR } from "./go-build.ts";
import { CommandError, run } from "./run.ts";

/** What the set-up finds on a machine before it changes anything. */
export interface Machine {
  /** As Node names them: "linux", "x64". */
  readonly platform: string;
  readonly architecture: string;
  readonly isRoot: boolean;
  readonly hasAptGet: boolean;
  /** Something of ours is not cached, and is built with Go; the API server takes the room. */
  readonly needsGo: boolean;
  readonly needsApiServer: boolean;
  /** What "go version" says; undefined without Go. */
  readonly goVersion: string | undefined;
  /** Where builds are kept, and how much room is there. */
  readonly cache: string;
  readonly freeBytes: number;
}

/** Sources, Go's cache and temporary files of a first build, with some room to spare. */
const BUILD_BYTES = 6e9;

/** Since then Go fetches by itself the later version that a go.mod asks for. */
const OLDEST_GO = 21;

/**
 * Rejects with an error that has a line for each thing that this machine lacks, and what to do about it. Takes
 * milliseconds, where what needs them would fail after minutes.
 */
export async function checkRequirements(): Promise<void> {
  const all = lacking(await thisMachine());
  if (all.length > 0) throw new Error(all.join("\n"));
}

/** What a machine lacks, one line each. */
export function lacking(machine: Machine): string[] {
  const { platform, architecture, goVersion } = machine;
  const problems: string[] = [];
  if (platform !== "linux" || architecture !== "x64") {
    problems.push(
      `This is ${platform} on ${architecture}: the guests need Linux on x86-64, use such a machine.`,
    );
  }
  if (!machine.isRoot) {
    problems.push("Root is needed, for a libvirtd that is apart from the host's: run this again as root.");
  }
  if (!machine.hasAptGet) {
    problems.push("There is no apt-get, and QEMU and the guests' kernel are Debian's: use Debian or Ubuntu.");
  }
  if (machine.needsGo && goVersion === undefined) {
    problems.push("Go is not on the PATH, and builds the API server: install Go 1.26 (https://go.dev/dl/).");
  } else if (machine.needsGo && isTooOld(goVersion ?? "")) {
    problems.push(
      `This is ${goVersion}, which is too old to build the API server: install Go 1.26 (https://go.dev/dl/).`,
    );
  }
  if (machine.needsApiServer && machine.freeBytes < BUILD_BYTES) {
    problems.push(
      `Building the API server needs ${gigabytes(BUILD_BYTES)} GB of disk, and ${machine.cache} has ` +
        `${gigabytes(machine.freeBytes)} GB free: make room, or name another place by WARMBOOT_CACHE and GOCACHE.`,
    );
  }
  return problems;
}

async function thisMachine(): Promise<Machine> {
  const needsApiServer = process.env["KUBEBUILDER_ASSETS"] === undefined && !(await isBuilt(KUBE));
  const cache = cacheDirectory();
  const { bavail, bsize } = await statfs(existing(cache));
  return {
    platform: process.platform,
    architecture: process.arch,
    isRoot: process.getuid?.() === 0,
    hasAptGet: existsSync(aptGet),
    needsGo: needsApiServer || !(await isBuilt(SUPERVISOR)),
    needsApiServer,
    goVersion: await goVersion(),
    cache,
    freeBytes: bavail * bsize,
  };
}

async function goVersion(): Promise<string | undefined> {
  try {
    return (await run("go", ["env", "GOVERSION"])).trim();
  } catch (error) {
    if (
      error instanceof CommandError ||
      (error instanceof Error && "code" in error && error.code === "ENOENT")
    ) {
      return undefined;
    }
    throw error;
  }
}

/** Such as "go1.19.8"; a development version is as good as the newest. */
function isTooOld(version: string): boolean {
  const minor = /^go1\.(\d+)/.exec(version)?.[1];
  return minor !== undefined && Number(minor) < OLDEST_GO;
}

function existing(path: string): string {
  return existsSync(path) ? path : existing(dirname(path));
}

function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(1).replace(/\.0$/, "");
}
