import { createHash } from "node:crypto";
import { existsSync, mkdirSync, rmSync, watch } from "node:fs";
import { mkdir, readFile, readdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import { atExit } from "./at-exit.ts";
import { timed, type Report } from "./report.ts";

/** Something slow to make, and all that decides what comes out. */
export interface Recipe {
  /** Names the entry in the cache directory. */
  readonly name: string;
  /** Names it to people. */
  readonly title: string;
  /** Files whose content decides the result. */
  readonly files: readonly string[];
  /** Whatever else does: versions, flags, the key of another entry. */
  readonly words?: readonly string[];
  /** Fills an empty directory. */
  readonly build: (directory: string, report: Report) => Promise<void>;
}

/**
 * Where slow builds are kept: $WARMBOOT_CACHE, or warmboot below
 * $XDG_CACHE_HOME or ~/.cache. Deleting it costs time and nothing else.
 */
export function cacheDirectory(): string {
  const { WARMBOOT_CACHE, XDG_CACHE_HOME } = process.env;
  return WARMBOOT_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), ".cache"), "warmboot");
}

/** The directory that holds the recipe's result now or will hold it; a changed input changes it. */
export async function cachePath(recipe: Recipe): Promise<string> {
  const hash = createHash("sha256").update(process.arch);
  for (const word of recipe.words ?? []) hash.update(`\0${word}`);
  for (const file of recipe.files) hash.update(`\0${basename(file)}\0`).update(await readFile(file));
  return join(cacheDirectory(), `${recipe.name}-${hash.digest("hex").slice(0, 16)}`);
}

const underway = new Map<string, Promise<string>>();

/**
 * The directory with the recipe's result, built unless the cache has it. An entry
 * appears whole or not at all, whenever a build is interrupted, and of several
 * processes that want the same one, one builds and the others wait for it. What
 * a build has written goes with this process, unless that is killed outright.
 */
export async function obtain(recipe: Recipe, report: Report): Promise<string> {
  const path = await cachePath(recipe);
  if (existsSync(path)) return path;
  const running = underway.get(path);
  if (running) return running;
  const work = build(recipe, path, report).finally(() => underway.delete(path));
  underway.set(path, work);
  return work;
}

async function build(recipe: Recipe, path: string, report: Report): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  const claim = `${path}.claim-${Date.now()}-${process.pid}-${await startTime(process.pid)}`;
  // What a build started may still write into it.
  const removed = atExit(() => rmSync(claim, { recursive: true, force: true, maxRetries: 5 }));
  // At once: this process may end while it waits.
  mkdirSync(claim);
  try {
    await waitForTurn(path, claim, () => report(`${recipe.title}: another process builds it, waiting ...`));
    if (existsSync(path)) return path;
    await timed(report, recipe.title, () => recipe.build(claim, report));
    await rename(claim, path);
    return path;
  } finally {
    await rm(claim, { recursive: true, force: true });
    removed();
  }
}

/**
 * Claims are directories beside the entry: the oldest one whose process lives is
 * being built. Returns when that is `claim`, or when the entry is there.
 */
async function waitForTurn(path: string, claim: string, onWait: () => void): Promise<void> {
  let told = false;
  while (!existsSync(path) && (await oldestClaim(path)) !== basename(claim)) {
    if (!told) onWait();
    told = true;
    await changeIn(dirname(path), 1000);
  }
}

async function oldestClaim(path: string): Promise<string | undefined> {
  const claims: { name: string; since: number }[] = [];
  for (const name of await readdir(dirname(path))) {
    const match = /\.claim-(\d+)-(\d+)-(\d+)$/.exec(name);
    if (!match || !name.startsWith(`${basename(path)}.`)) continue;
    const since = Number(match[1]);
    // The start time tells the builder from a later process with the same number.
    if ((await startTime(Number(match[2]))) === match[3]) claims.push({ name, since });
    // A builder in another container cannot be seen from here: leave it its time.
    else if (Date.now() - since > 3_600_000)
      await rm(join(dirname(path), name), { recursive: true, force: true });
  }
  claims.sort((a, b) => a.since - b.since || (a.name < b.name ? -1 : 1));
  return claims[0]?.name;
}

/** When a process was started, in clock ticks since the machine's boot; empty if it is gone, reaped or not. */
async function startTime(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // The name, in parentheses, may hold spaces; the state is the first field behind it, the start time the 20th.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" ? "" : (fields[19] ?? "");
}

/** Resolves at the next change in a directory, or after `atMostMs`, which also sees a builder die. */
async function changeIn(directory: string, atMostMs: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      watcher.close();
      resolve();
    };
    const watcher = watch(directory, done);
    const timer = setTimeout(done, atMostMs);
  });
}
