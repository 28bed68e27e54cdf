import { at, attribute, type XmlElement } from "../xml/element.ts";
import { resolveName } from "./backing-name.ts";
import type { FileLook, FileLooks } from "./file-reader.ts";
import { readImageHeader, type ImageHeader } from "./image-header.ts";

/** How many images libvirt follows from a disk downwards. */
export const longestChain = 200;

/** A file that a disk is on, or that one of its images needs. */
export interface Image {
  readonly path: string;
  /** Its format as it is said, in libvirt's words; undefined where nobody says and it is looked at. */
  readonly format: string | undefined;
  /** What the XML says that it is an overlay of; without it, its header says. */
  readonly backing?: Image | "None" | undefined;
  /** Whether the image begins elsewhere in its file, so that its header is not where headers are. */
  readonly hasOffset?: boolean | undefined;
}

/** A file that an image needs. */
export interface Needed {
  readonly image: Image;
  readonly as: "backing file" | "data file";
}

/** The image that a <disk> or a <backingStore> is on, with what the XML says of its chain; undefined for other sources. */
export function imageOf(
  store: XmlElement,
  path: string | undefined,
  format: string | undefined,
): Image | undefined {
  if (path === undefined || !path.startsWith("/")) return undefined;
  const hasOffset = at(store, "source", "slices") !== undefined;
  return { path, format, backing: backingOf(store), hasOffset };
}

/** Undefined where the XML leaves it to the header; an empty <backingStore> ends the chain, as does one that leads elsewhere. */
function backingOf(store: XmlElement): Image["backing"] {
  const backing = at(store, "backingStore");
  if (backing === undefined) return undefined;
  const source = at(backing, "source");
  const path = attribute(source, "file") ?? attribute(source, "dev");
  return imageOf(backing, path, attribute(at(backing, "format"), "type")) ?? "None";
}

/** The header of an image, as its format is said to be or, where nobody says, as it looks. */
export function headerOf({ format, hasOffset }: Image, look: FileLook | undefined): ImageHeader | undefined {
  if (look?.kind !== "Read" || format === "raw" || hasOffset === true) return undefined;
  const reading = readImageHeader(look.bytes);
  if (reading.kind !== "Header") return undefined;
  return format === undefined || format === reading.header.format ? reading.header : undefined;
}

/** The files that an image needs beside itself, as far as libvirt lets us look. */
export function neededBy(image: Image, looks: FileLooks): Needed[] {
  const header = headerOf(image, looks.get(image.path));
  const needed: Needed[] = [];
  const backing =
    image.backing ?? (header?.backing && named(image, header.backing.name, header.backing.format));
  if (backing !== undefined && backing !== "None") needed.push({ image: backing, as: "backing file" });
  const data = header?.dataFile === undefined ? undefined : named(image, header.dataFile, "raw");
  if (data !== undefined) needed.push({ image: data, as: "data file" });
  return needed;
}

function named({ path }: Image, name: string, format: string | undefined): Image | undefined {
  const file = resolveName(path, name);
  return file.kind === "File" ? { path: file.path, format: file.format ?? format } : undefined;
}
