/** What was told so far, for a test to wait for the next of it. */
export class Told<T> {
  readonly #told: T[] = [];
  readonly #waiting: ((value: T) => void)[] = [];

  add(value: T): void {
    const waiter = this.#waiting.shift();
    if (waiter === undefined) this.#told.push(value);
    else waiter(value);
  }

  next(): Promise<T> {
    const value = this.#told.shift();
    return value === undefined
      ? new Promise((resolve) => this.#waiting.push(resolve))
      : Promise.resolve(value);
  }

  async take(count: number): Promise<T[]> {
    const values: T[] = [];
    while (values.length < count) values.push(await this.next());
    return values;
  }

  get rest(): number {
    return this.#told.length;
  }
}
