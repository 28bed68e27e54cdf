import { Random } from "../simulation/random.ts";

/** One passage of a named point: "libvirt/DOMAIN_SET_METADATA/sent#2". */
export type Passage = string;

/** The point of a passage. */
export function pointOf(passage: Passage): string {
  return passage.replace(/#\d+$/, "");
}

/** What changes something outside of the process, or tells of a change: each passage of these counts. */
const changes = [
  /^libvirt\/DOMAIN_(SET|DESTROY|CREATE|SHUTDOWN|REBOOT|RESET|DEFINE|UNDEFINE|ATTACH|MANAGED_SAVE_REMOVE)/,
  /^libvirt\/(NETWORK|STORAGE_POOL|STORAGE_VOL|NODE_DEVICE)_(CREATE|REFRESH)/,
  /^kubernetes\/(PUT|POST|PATCH)/,
  /^(effect|notice|status|watch|event)\//,
];

/** A process that dies anywhere between two changes leaves the same behind: of what only reads, the answers are enough. */
const answers = /\/(reply|read)$/;

/** The passages of a path, and how many of them came before its request. */
export interface Passages {
  readonly all: readonly Passage[];
  readonly beforeRequest: number;
}

/**
 * The passages that a matrix tries of those that a path makes after its request: every one of what changes something,
 * and the first and the last answer to each question. What a process does before is the same on every path.
 */
export function chosenPassages({ all, beforeRequest }: Passages): Passage[] {
  const since = all.slice(beforeRequest);
  const first = new Map(since.toReversed().map((passage) => [pointOf(passage), passage]));
  const last = new Map(since.map((passage) => [pointOf(passage), passage]));
  return since.filter((passage) => {
    if (changes.some((change) => change.test(passage))) return true;
    const isEnd = [first, last].some((end) => end.get(pointOf(passage)) === passage);
    return answers.test(passage) && isEnd;
  });
}

/** Of these, those at which it matters that a process stands still: something is under way, or was just done. */
export function standstillPassages(passages: Passages): Passage[] {
  return chosenPassages(passages).filter(
    (passage) => changes.some((change) => change.test(passage)) && /\/(sent|reply)#/.test(passage),
  );
}

/** What a process passes before a request is made, each point once. */
export function openingPassages({ all, beforeRequest }: Passages): Passage[] {
  return all.slice(0, beforeRequest).filter((passage) => passage.endsWith("#1"));
}

/** A sample of so many in an order that a seed fixes. */
export function sampled<T>(all: readonly T[], count: number, seed: number): T[] {
  return new Random(seed).shuffled(all).slice(0, count);
}
