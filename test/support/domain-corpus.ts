import { copyFile, mkdir, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { guestImage } from "./guest-image.ts";
import type { Libvirtd } from "./libvirtd.ts";
import { toStderr } from "./report.ts";
import { run } from "./run.ts";

const CORPUS = join(import.meta.dirname, "..", "integration", "corpus");

/** Where the domains' files are, as the daemon sees it. */
const IMAGES = "/var/lib/libvirt/images";

/** The first line of a domain's file says why it cannot be started here, if it cannot. */
const DEFINE_ONLY = /^<!-- .*Define only: (.+)\. -->$/m;

/** Sizes of files by the end of their names; a floppy has no other, and memory's is in the domain. */
const SIZES = [
  [/^drivers\.img$/, 1440 * 1024],
  [/^nvdimm\.img$/, 2 ** 24],
  [/\.(img|iso|raw)$/, 2 ** 20],
] as const;

/** A domain as people write them. */
export interface CorpusDomain {
  /** The name of its file. */
  readonly file: string;
  readonly name: string;
  readonly xml: string;
  /** Why it cannot be started here; undefined where it can. */
  readonly defineOnly: string | undefined;
}

/** All domains of the corpus, in the order of their files' names. */
export async function corpusDomains(): Promise<CorpusDomain[]> {
  const files = (await readdir(CORPUS)).filter((file) => file.endsWith(".xml")).sort();
  return Promise.all(
    files.map(async (file) => {
      const xml = await readFile(join(CORPUS, file), "utf8");
      const name = /<name>(.*)<\/name>/.exec(xml)?.[1];
      if (name === undefined) throw new Error(`${file} has no name`);
      return { file: basename(file, ".xml"), name, xml, defineOnly: DEFINE_ONLY.exec(xml)?.[1] };
    }),
  );
}

/** The same domain under another name and UUID. */
export function underAnotherName({ name, xml }: CorpusDomain, other: string, otherUuid: string): string {
  const uuid = /<uuid>(.*)<\/uuid>/.exec(xml)?.[1];
  const renamed = xml.replace(`<name>${name}</name>`, `<name>${other}</name>`);
  return uuid === undefined ? renamed : renamed.replaceAll(uuid, otherUuid);
}

/** Makes the files and the storage pool that the domains name, without content. */
export async function layOutImages(libvirtd: Libvirtd, domains: readonly CorpusDomain[]): Promise<void> {
  const directory = join(libvirtd.directory, "lib", "images");
  await mkdir(directory, { recursive: true });
  const blank = join(libvirtd.directory, "blank.qcow2");
  const overlay = join(libvirtd.directory, "overlay.qcow2");
  await run("qemu-img", ["create", "-q", "-f", "qcow2", blank, "16M"]);
  const onGolden = ["-u", "-b", `${IMAGES}/golden.qcow2`, "-F", "qcow2"];
  await run("qemu-img", ["create", "-q", "-f", "qcow2", ...onGolden, overlay, "16M"]);
  const { kernel, initramfs } = await guestImage(toStderr);
  const copies = [
    [/\.overlay\.qcow2$/, overlay],
    [/\.qcow2$/, blank],
    [/^vmlinuz$/, kernel],
    [/^initrd\.img$/, initramfs],
  ] as const;
  const named = domains.flatMap(({ xml }) => [...xml.matchAll(/(?:libvirt\/images\/|volume=')([\w.-]+)/g)]);
  for (const file of new Set(["golden.qcow2", ...named.flatMap(([, file]) => file ?? [])])) {
    const path = join(directory, file);
    const original = copies.find(([pattern]) => pattern.test(file))?.[1];
    const size = SIZES.find(([pattern]) => pattern.test(file))?.[1];
    if (original !== undefined) await copyFile(original, path);
    else if (size !== undefined) await writeFile(path, "").then(() => truncate(path, size));
  }
  await libvirtd.virsh("pool-create-as", "default", "dir", "--target", IMAGES);
}
