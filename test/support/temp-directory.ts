import { mkdtempSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atExit } from "./at-exit.ts";

/** The path of a UNIX socket has at most 107 bytes; this leaves room for a socket's name. */
const LONGEST = 60;

/** What takes each directory that is there off what is undone at the end of this process. */
const removed = new Map<string, () => void>();

/**
 * A new directory with a path short enough for UNIX sockets. Remove it with removeDirectory; it goes with this
 * process at the latest, unless that is killed outright.
 */
export function temporaryDirectory(): string {
  const root = tmpdir();
  // At once: this process may end while it waits.
  const path = mkdtempSync(join(root.length > LONGEST ? "/tmp" : root, "warmboot-"));
  const remove = () => {
    try {
      rmSync(path, { recursive: true, force: true });
    } catch {
      // A daemon still writes into it: its supervisor removes it after the daemon.
    }
  };
  removed.set(path, atExit(remove));
  return path;
}

/** Removes a directory and what is in it, or nothing if it is gone. */
export async function removeDirectory(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
  removed.get(path)?.();
  removed.delete(path);
}
