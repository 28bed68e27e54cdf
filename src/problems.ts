/** So many problems are remembered of one thing: words with numbers in them may be new at every try. */
const mostRemembered = 16;

/** What is wrong with each of some things, so that it is told once and not at every try. */
export class Problems {
  readonly #met = new Map<string, Set<string>>();

  /** Notes a problem. Whether it is news: it was not met since all was well. */
  meet(about: string, problem: string): boolean {
    const met = this.#met.get(about) ?? new Set();
    this.#met.set(about, met);
    if (met.has(problem)) return false;
    if (met.size === mostRemembered) met.clear();
    met.add(problem);
    return true;
  }

  /** What something is wrong with. */
  things(): Iterable<string> {
    return this.#met.keys();
  }

  /** Notes that all is well. Whether that is news. */
  end(about: string): boolean {
    return this.#met.delete(about);
  }
}
