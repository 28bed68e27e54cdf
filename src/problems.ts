/** What is wrong with each of some things, so that it is told once and not at every try. */
export class Problems {
  readonly #met = new Map<string, string>();

  /** Notes a problem. Whether it is news: nothing was wrong with this, or something else. */
  meet(about: string, problem: string): boolean {
    const isNews = this.#met.get(about) !== problem;
    this.#met.set(about, problem);
    return isNews;
  }

  /** Notes that all is well. Whether that is news. */
  end(about: string): boolean {
    return this.#met.delete(about);
  }
}
