import { attribute } from "../../xml/element.ts";
import type { Place } from "../difference.ts";

/** A place at which the XML of a running domain may differ from its configuration although nobody changed it. */
export interface Addition {
  /**
   * An element, with everything in it, an attribute after "@", or a text, which is "#" ({@link pathOf}). "*" is any
   * one name, "**" any number of them.
   */
  readonly where: string;
  /** Only where just this side has it. */
  readonly only?: "running" | "next";
  /** Only where this is so of the element, or of the one that has the attribute or the text. */
  readonly when?: (place: Place) => boolean;
  /** Why the difference is none. */
  readonly because: string;
}

/** The place itself or the one around it that has this path. */
export function enclosing(place: Place | undefined, path: string): Place | undefined {
  return place === undefined || place.path === path ? place : enclosing(place.parent, path);
}

/** Of a driver: whether it is the one that gives a device of the host away. */
export function isVfio({ running }: Place): boolean {
  return attribute(running, "name") === "vfio";
}
