/** Takes one line for people: what is being done, how far it is, how long it took. */
export type Report = (line: string) => void;

/** Prints to stderr, which test runners and pipes leave to people. */
export const toStderr: Report = (line) => {
  process.stderr.write(`${line}\n`);
};

/**
 * Does `work` and reports its start and its end with the time it took. A failure
 * is reported, too, and thrown on.
 */
export async function timed<T>(report: Report, title: string, work: () => Promise<T>): Promise<T> {
  const begin = performance.now();
  const seconds = () => `${((performance.now() - begin) / 1000).toFixed(1)} s`;
  report(`${title} ...`);
  try {
    const result = await work();
    report(`${title}: done in ${seconds()}`);
    return result;
  } catch (error) {
    report(`${title}: failed after ${seconds()}`);
    throw error;
  }
}
