/** What is to be undone if this process ends now. */
const owed = new Set<() => void>();

process.on("exit", () => {
  // The latest first: a build ends before its directory goes.
  for (const undo of [...owed].toReversed()) undo();
});

/**
 * Has something undone when this process ends in the middle of it, by process.exit() or an error. A signal ends a
 * process without a word unless somebody listens. The answer is to be called when there is nothing to undo any more.
 */
export function atExit(undo: () => void): () => void {
  owed.add(undo);
  return () => void owed.delete(undo);
}
