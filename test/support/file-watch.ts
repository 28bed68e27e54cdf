import { watch } from "node:fs";
import { basename, dirname } from "node:path";

/**
 * Resolves to what `look` finds, which is asked now and whenever the file was
 * written to; undefined means: not yet. The file need not be there, its directory
 * must. Rejects after `withinMs` with `complaint`.
 */
export async function inFile<T>(
  path: string,
  withinMs: number,
  look: () => Promise<T | undefined>,
  complaint: () => Promise<string>,
): Promise<T> {
  let change = Promise.withResolvers<void>();
  const watcher = watch(dirname(path), (_event, name) => {
    if (name === null || name === basename(path)) change.resolve();
  });
  const late = AbortSignal.timeout(withinMs);
  late.addEventListener("abort", () => change.resolve());
  try {
    for (;;) {
      // Armed before the look: what is written during it is not missed.
      change = Promise.withResolvers();
      const found = await look();
      if (found !== undefined) return found;
      if (late.aborted) throw new Error(`${await complaint()} within ${withinMs} ms`);
      await change.promise;
    }
  } finally {
    watcher.close();
  }
}
