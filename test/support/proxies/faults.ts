/** Says whether a message is the one that is meant. */
export type Matches<M> = (message: M) => boolean;

/** What becomes of a message, or what says so for each; undefined lets it pass. */
export type FateOf<M, F> = F | ((message: M) => F | undefined);

interface Rule<M, F> {
  readonly matches: Matches<M>;
  readonly decide: (message: M) => F | undefined;
}

/**
 * What a proxy does to the messages that go through it, and who waits for one of them.
 * @typeParam M a message as the proxy sees it
 * @typeParam F what can become of one
 */
export class Faults<M, F extends object> {
  readonly #rules = new Set<Rule<M, F>>();
  readonly #waiters = new Set<{ matches: Matches<M>; resolve: (message: M) => void }>();

  /** Lets something become of the next message that matches, and resolves to it once it has come. */
  once(matches: Matches<M>, fate: FateOf<M, F>): Promise<M> {
    const { promise, resolve } = Promise.withResolvers<M>();
    const rule: Rule<M, F> = {
      matches,
      decide: (message) => {
        this.#rules.delete(rule);
        resolve(message);
        return decided(fate, message);
      },
    };
    this.#rules.add(rule);
    return promise;
  }

  /** Lets something become of every message that matches, until {@link heal}. */
  always(matches: Matches<M>, fate: FateOf<M, F>): void {
    this.#rules.add({ matches, decide: (message) => decided(fate, message) });
  }

  /** From now on everything passes. */
  heal(): void {
    this.#rules.clear();
  }

  /** Resolves to the next message that matches, whatever becomes of it. */
  next(matches: Matches<M>): Promise<M> {
    const { promise, resolve } = Promise.withResolvers<M>();
    this.#waiters.add({ matches, resolve });
    return promise;
  }

  /** For the proxy: what becomes of a message. The rule that was stated first counts. */
  judge(message: M): F | undefined {
    for (const waiter of this.#waiters) {
      if (!waiter.matches(message)) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(message);
    }
    for (const rule of this.#rules) {
      if (rule.matches(message)) return rule.decide(message);
    }
    return undefined;
  }
}

function decided<M, F extends object>(fate: FateOf<M, F>, message: M): F | undefined {
  return typeof fate === "function" ? fate(message) : fate;
}
