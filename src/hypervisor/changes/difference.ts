import { attribute, childElements, textOf, type XmlElement } from "../xml/element.ts";
import { identityOf } from "./identity.ts";

/** An element of the running domain and its counterpart of the next start; at least one of the two is there. */
export interface Place {
  /** Names from below the domain's element to this one, such as "devices/disk/source"; empty for the domain's own. */
  readonly path: string;
  readonly running: XmlElement | undefined;
  readonly next: XmlElement | undefined;
  /** What contains it; undefined for the domain's own element. */
  readonly parent: Place | undefined;
  /** Which of several it is that nothing else tells apart, from 1 on; undefined where there is one. */
  readonly ordinal: number | undefined;
}

/** One thing in which two domains differ. A value is undefined on the side that does not have it. */
export type Difference = { readonly place: Place } & (
  | { readonly kind: "Element" }
  | { readonly kind: "Text"; readonly running: string | undefined; readonly next: string | undefined }
  | {
      readonly kind: "Attribute";
      readonly name: string;
      readonly running: string | undefined;
      readonly next: string | undefined;
    }
);

/** What the comparison leaves to its caller. */
export interface Judgement {
  /** Whether a difference means nothing; of an element that both sides have, whether nothing in it means anything. */
  readonly isMeaningless: (difference: Difference) => boolean;
  /** Whether two values that are not the same mean the same. */
  readonly isSame: (running: string, next: string) => boolean;
}

/** In these, what is inside is told one by one, also where one side does not have the element itself. */
const containers = new Set(["cpu", "devices", "features", "os"]);

/** More than these of a kind are compared in their order only, so that a domain of thousands takes no minutes. */
const mostToMatch = 64;

/** Where a difference is: its place's path, with "@" and the name for an attribute, with "#" for a text. */
export function pathOf(difference: Difference): string {
  const { path } = difference.place;
  if (difference.kind === "Attribute") return `${path}@${difference.name}`;
  return difference.kind === "Text" ? `${path}#` : path;
}

/** Whether only one side has what a difference is about, and which. */
export function onlySide(difference: Difference): "running" | "next" | undefined {
  const { running, next } = difference.kind === "Element" ? difference.place : difference;
  if (running === undefined) return "next";
  return next === undefined ? "running" : undefined;
}

/**
 * All that differs at a place and below it and means something: its text, then attributes by name, then elements in an
 * order of their own, which does not depend on the order of elements of different names.
 */
export function* differencesAt(place: Place, judgement: Judgement): Generator<Difference> {
  for (const difference of ownDifferences(place, judgement)) {
    if (!judgement.isMeaningless(difference)) yield difference;
  }
  for (const below of placesBelow(place, judgement)) yield* differencesOf(below, judgement);
}

function* differencesOf(place: Place, judgement: Judgement): Generator<Difference> {
  const difference: Difference = { kind: "Element", place };
  if (judgement.isMeaningless(difference)) return;
  const isOnBoth = place.running !== undefined && place.next !== undefined;
  if (isOnBoth || containers.has(place.path)) {
    yield* differencesAt(place, judgement);
    return;
  }
  if (isWordOfItsOwn(place) || !differencesAt(place, judgement).next().done) yield difference;
}

/** Another element whose content means nothing means nothing either. */
function isWordOfItsOwn({ running, next, parent }: Place): boolean {
  return parent?.path === "devices" || isBare(running ?? next);
}

function isBare(node: XmlElement | undefined): boolean {
  return (
    Object.keys(node?.attributes ?? {}).length === 0 && childElements(node).length === 0 && !textOf(node)
  );
}

function* ownDifferences(place: Place, { isSame }: Judgement): Generator<Difference> {
  const names = new Set([place.running, place.next].flatMap((node) => Object.keys(node?.attributes ?? {})));
  const differ = (a: string | undefined, b: string | undefined) =>
    a !== b && (a === undefined || b === undefined || !isSame(a, b));
  const [running, next] = [textOf(place.running), textOf(place.next)];
  if (differ(running, next)) yield { kind: "Text", place, running, next };
  for (const name of [...names].sort()) {
    const [running, next] = [attribute(place.running, name), attribute(place.next, name)];
    if (differ(running, next)) yield { kind: "Attribute", place, name, running, next };
  }
}

/** What a person wants to know first; the rest follows by name. */
const firstNames = ["memory", "currentMemory", "vcpu", "cpu", "os"];

/** The elements inside, each with its counterpart. */
function* placesBelow(parent: Place, judgement: Judgement): Generator<Place> {
  const [running, next] = [groups(parent.path, parent.running), groups(parent.path, parent.next)];
  for (const key of [...new Set([...running.keys(), ...next.keys()])].sort(byRankAndName)) {
    yield* placesOfGroup(parent, running.get(key) ?? [], next.get(key) ?? [], judgement);
  }
}

/** Made once: it takes a hundred times as long as comparing with it. */
const collator = new Intl.Collator("en", { numeric: true });

function byRankAndName(a: string, b: string): number {
  return rank(a) - rank(b) || collator.compare(a, b) || (a < b ? -1 : 1);
}

function rank(key: string): number {
  const index = firstNames.indexOf(key.trimEnd());
  return index < 0 ? firstNames.length : index;
}

/** The elements inside by what tells them apart. */
function groups(path: string, parent: XmlElement | undefined): Map<string, XmlElement[]> {
  return Map.groupBy(childElements(parent), (node) => `${node.name} ${identityOf(path, node)}`);
}

/** Elements that nothing tells apart: in their order, but a device that is the same on both sides wherever it is. */
function* placesOfGroup(
  parent: Place,
  running: readonly XmlElement[],
  next: readonly XmlElement[],
  judgement: Judgement,
): Generator<Place> {
  const name = (running[0] ?? next[0])?.name ?? "";
  const path = parent.path === "" ? name : `${parent.path}/${name}`;
  const isNumbered = Math.max(running.length, next.length) > 1;
  const place = (a: number | undefined, b: number | undefined): Place => ({
    path,
    running: a === undefined ? undefined : running[a],
    next: b === undefined ? undefined : next[b],
    parent,
    ordinal: isNumbered ? (a ?? b ?? 0) + 1 : undefined,
  });
  const [left, right] = [[...running.keys()], [...next.keys()]];
  if (parent.path === "devices" && isNumbered && running.length + next.length <= mostToMatch) {
    for (const a of running.keys()) {
      const at = right.findIndex((b) => differencesAt(place(a, b), judgement).next().done);
      if (at < 0) continue;
      left.splice(left.indexOf(a), 1);
      right.splice(at, 1);
    }
  }
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    yield place(left[index], right[index]);
  }
}
