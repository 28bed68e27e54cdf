import { LibvirtError, procedures, type Domain, type Procedure } from "libvirt";
import type { Caller } from "../caller.ts";
import { redefineMomentaryDomain } from "../momentary-domain.ts";
import { isRefusal } from "../refusal.ts";
import { element, type XmlElement } from "../xml/element.ts";
import { firstBytes, readImageHeader } from "./image-header.ts";
import { callPatiently } from "../hanging-file.ts";

/** What a look at a file has found. */
export type FileLook =
  | { readonly kind: "Read"; readonly bytes: Uint8Array }
  | { readonly kind: "Missing" }
  | { readonly kind: "Directory" }
  /** It is there, or something in its place is; the message is the system's. */
  | { readonly kind: "Unreadable"; readonly message: string }
  /** Nothing follows: a drive without a medium, or libvirt does not let us look. */
  | { readonly kind: "Untold" };

/** Files by their paths. */
export type FileLooks = ReadonlyMap<string, FileLook>;

/** What the hypervisor's system says, in the numbers of Linux. */
const errno = { noEntry: 2, notADirectory: 20, isADirectory: 21, noMedium: 123 } as const;

/** The domain that files are disks of, so that libvirt reads them: it opens them when it is asked for their bytes. */
export function domainWith(
  files: readonly string[],
  { type, arch }: { type: string; arch: string },
): XmlElement {
  const disks = files.map((file, unit) =>
    element("disk", { type: "file", device: "disk" }, [
      // Other formats cannot be looked at; and nothing of the file shall be taken for a reference to another one.
      element("driver", { name: "qemu", type: "raw" }),
      element("source", { file }),
      element("target", { dev: targetOf(unit), bus: "scsi" }),
      element("address", { type: "drive", controller: 0, bus: 0, target: 0, unit }),
    ]),
  );
  return element("domain", { type }, [
    element("memory", { unit: "MiB" }, ["1"]),
    element("os", {}, [element("type", { arch }, ["hvm"])]),
    element("devices", {}, [
      element("controller", { type: "scsi", index: 0, model: "virtio-scsi" }),
      ...disks,
    ]),
  ]);
}

/** Reads the first bytes of files on the hypervisor, for one machine. */
export class FileReader {
  readonly #caller: Caller;
  readonly #machine: string;
  readonly #dom: Domain;
  readonly #platform: { type: string; arch: string };

  /** `dom` is a momentary domain, `machine` names the machine among those of the session. */
  constructor(
    { caller, machine }: { caller: Caller; machine: string },
    dom: Domain,
    platform: { type: string; arch: string },
  ) {
    this.#caller = caller;
    this.#machine = machine;
    this.#dom = dom;
    this.#platform = platform;
  }

  /** Looks at files after the domain was made one that has them as its disks. */
  async redefineAndRead(files: readonly string[]): Promise<Map<string, FileLook>> {
    await redefineMomentaryDomain(this.#caller, this.#dom, domainWith(files, this.#platform));
    return this.read(files);
  }

  /**
   * Looks at the files that the domain has, one after the other: libvirt holds the domain meanwhile, so that a file that
   * hangs would hold up all of several calls.
   */
  async read(files: readonly string[]): Promise<Map<string, FileLook>> {
    const looks = new Map<string, FileLook>();
    for (const [index, file] of files.entries()) looks.set(file, await this.#look(targetOf(index)));
    return looks;
  }

  async #look(path: string): Promise<FileLook> {
    try {
      const bytes = await this.#firstBytes(path);
      const reading = readImageHeader(bytes);
      return {
        kind: "Read",
        bytes: reading.kind === "More" ? ((await this.#peek(path, reading.bytes)) ?? bytes) : bytes,
      };
    } catch (error) {
      if (error instanceof LibvirtError) return lookOf(error);
      throw error;
    }
  }

  /** A file may be shorter, and libvirt reads all of the bytes or none. */
  async #firstBytes(path: string): Promise<Uint8Array> {
    const bytes = await this.#peek(path, firstBytes);
    if (bytes !== undefined) return bytes;
    const args = { dom: this.#dom, path, flags: 0 };
    const { physical } = await this.#call(procedures.domainGetBlockInfo, args);
    const size = Math.min(Number(physical), firstBytes);
    return (size === 0 ? undefined : await this.#peek(path, size)) ?? new Uint8Array();
  }

  /** Undefined where the file has fewer bytes. */
  async #peek(path: string, size: number): Promise<Uint8Array | undefined> {
    try {
      const args = { dom: this.#dom, path, offset: 0n, size, flags: 0 };
      return (await this.#call(procedures.domainBlockPeek, args)).buffer;
    } catch (error) {
      if (isRefusal(error, "INVALID_ARG")) return undefined;
      throw error;
    }
  }

  #call<A, R>(procedure: Procedure<A, R>, args: NoInfer<A>): Promise<R> {
    return callPatiently(this.#caller, this.#machine, procedure, args);
  }
}

function lookOf({ code, errno: number, message }: LibvirtError): FileLook {
  if (code !== "SYSTEM_ERROR") return { kind: "Untold" };
  switch (number) {
    case errno.noEntry:
    case errno.notADirectory:
      return { kind: "Missing" };
    case errno.isADirectory:
      return { kind: "Directory" };
    case errno.noMedium:
      return { kind: "Untold" };
    default:
      return { kind: "Unreadable", message };
  }
}

/** The names of disks: sda to sdz, sdaa and so on. */
function targetOf(index: number): string {
  const letters = (rest: number): string =>
    (rest >= 26 ? letters(Math.floor(rest / 26) - 1) : "") + String.fromCodePoint(97 + (rest % 26));
  return `sd${letters(index)}`;
}
