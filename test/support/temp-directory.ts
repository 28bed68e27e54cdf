import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The path of a UNIX socket has at most 107 bytes; this leaves room for a socket's name. */
const LONGEST = 60;

/** A new directory with a path short enough for UNIX sockets; remove it with removeDirectory. */
export async function temporaryDirectory(): Promise<string> {
  const root = tmpdir();
  return mkdtemp(join(root.length > LONGEST ? "/tmp" : root, "warmboot-"));
}

/** Removes a directory and what is in it, or nothing if it is gone. */
export async function removeDirectory(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
}
