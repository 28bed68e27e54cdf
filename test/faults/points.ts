/** One passage of a named point: "libvirt/DOMAIN_SET_METADATA/sent#2". */
export type Passage = string;

/** The point of a passage. */
export function pointOf(passage: Passage): string {
  return passage.replace(/#\d+$/, "");
}

/** What changes something, or tells of a change: each passage of these counts. */
const changes = [
  /^libvirt\/DOMAIN_(SET|DESTROY|CREATE|SHUTDOWN|REBOOT|RESET|DEFINE|UNDEFINE|ATTACH|MANAGED_SAVE_REMOVE)/,
  /^libvirt\/(NETWORK|STORAGE_POOL|STORAGE_VOL|NODE_DEVICE)_(CREATE|REFRESH)/,
  /^kubernetes\/(PUT|POST|PATCH)/,
  /^(effect|decided|notice|status|watch|event)\//,
];

/**
 * The passages that a matrix tries of those that a path makes: all, or every one of what changes something, and of what
 * only reads the first and the last.
 */
export function chosenPassages(passages: readonly Passage[], all: boolean): Passage[] {
  if (all) return [...passages];
  const last = new Map(passages.map((passage) => [pointOf(passage), passage]));
  return passages.filter(
    (passage) =>
      changes.some((change) => change.test(passage)) ||
      passage.endsWith("#1") ||
      last.get(pointOf(passage)) === passage,
  );
}

/** A sample of so many in an order that a seed fixes. */
export function sampled<T>(all: readonly T[], count: number, seed: number): T[] {
  const random = randomFrom(seed);
  return all
    .map((one) => ({ one, order: random() }))
    .toSorted((first, second) => first.order - second.order)
    .slice(0, count)
    .map(({ one }) => one);
}

/** Mulberry32: numbers from 0 to 1 that a seed fixes. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
