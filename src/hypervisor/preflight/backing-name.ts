import { posix } from "node:path";
import { z } from "zod";

/** Where the file is that an image's header names. */
export type NamedFile =
  | { readonly kind: "File"; readonly path: string; readonly format?: string | undefined }
  /** On a server, or behind something that libvirt does not let us look at. */
  | { readonly kind: "Elsewhere" };

/** QEMU's own names nest two or three nodes. */
const longestNesting = 8;

const elsewhere: NamedFile = { kind: "Elsewhere" };

/**
 * The file that an image names, as QEMU reads the name: relative to the image's own directory, or as JSON. A name that
 * begins with a protocol, such as "nbd:", leads elsewhere.
 */
export function resolveName(image: string, name: string): NamedFile {
  if (name.startsWith("json:")) return readJsonName(image, name.slice("json:".length));
  if (/^[^/]*:/.test(name)) return elsewhere;
  return { kind: "File", path: besides(image, name) };
}

function besides(image: string, name: string): string {
  return tidy(posix.isAbsolute(name) ? name : `${directoryOf(image)}/${name}`);
}

function readJsonName(image: string, json: string): NamedFile {
  try {
    return fromNode(image, node.parse(JSON.parse(json)), 0);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) return elsewhere;
    throw error;
  }
}

type Node = Record<string, unknown>;
const node = z.record(z.string(), z.unknown());

/** A node of QEMU's, whose members may be nested or have names with dots, such as "file.filename". */
function fromNode(image: string, of: Node, depth: number): NamedFile {
  const driver = of["driver"];
  const filename = of["filename"];
  const isFile = driver === undefined || (typeof driver === "string" && fileDrivers.has(driver));
  if (isFile && typeof filename === "string") return { kind: "File", path: besides(image, filename) };
  const inner = member(of, "file");
  if (inner === undefined || depth >= longestNesting) return elsewhere;
  if (typeof inner === "string") return elsewhere;
  const found = fromNode(image, inner, depth + 1);
  // What wraps the file says how it is read.
  return found.kind === "File" && typeof driver === "string" && !fileDrivers.has(driver)
    ? { ...found, format: driver }
    : found;
}

const fileDrivers = new Set(["file", "host_device", "host_cdrom"]);

function member(of: Node, name: string): Node | string | undefined {
  const value = of[name];
  if (typeof value === "string") return value;
  const nested = node.safeParse(value);
  if (nested.success) return nested.data;
  const prefix = `${name}.`;
  const flat = Object.entries(of).filter(([key]) => key.startsWith(prefix));
  return flat.length === 0
    ? undefined
    : Object.fromEntries(flat.map(([key, inner]) => [key.slice(prefix.length), inner]));
}

function directoryOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf("/"), 0));
}

/** Only what means the same whatever is a symbolic link: the way over ".." may lead through one. */
function tidy(path: string): string {
  return path.replaceAll(/\/(?:\.?\/)+/g, "/");
}
