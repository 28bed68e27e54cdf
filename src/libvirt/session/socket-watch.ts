import { watch } from "node:fs";
import type { FSWatcher } from "node:fs";
import { basename, dirname } from "node:path";

/**
 * Calls `onChange` when something happens to the socket's file: a daemon that starts makes it anew, and waiting out
 * a delay of seconds then would be for nothing. It is a hint only: without it the delay is waited out.
 * The returned function ends the watch.
 */
export function watchSocket(socketPath: string, onChange: () => void): () => void {
  const name = basename(socketPath);
  let watcher: FSWatcher;
  try {
    watcher = watch(dirname(socketPath), { persistent: false }, (_event, changed) => {
      if (changed === name) {
        onChange();
      }
    });
  } catch {
    // The directory does not exist yet, or the user's inotify watches are used up.
    return () => {};
  }
  watcher.on("error", () => watcher.close());
  return () => watcher.close();
}
