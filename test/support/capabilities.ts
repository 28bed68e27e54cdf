import { copyFile, mkdir, readFile, readdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheDirectory } from "./cache.ts";

/**
 * libvirt asks QEMU what it can do, which takes 1.5 s, and keeps the answer with
 * the versions that it holds for. It checks those itself, so daemons that come
 * and go can hand the answer on.
 */
const kept = () => join(cacheDirectory(), "libvirt-capabilities");

/** Gives a new daemon what earlier ones found out. */
export async function seedCapabilities(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const name of await names(kept())) await copyFile(join(kept(), name), join(directory, name));
}

/** Keeps what this daemon found out anew: of a QEMU that was not known, or was upgraded. */
export async function keepCapabilities(directory: string): Promise<void> {
  await mkdir(kept(), { recursive: true });
  for (const name of await names(directory)) {
    const found = await readFile(join(directory, name));
    const known = await readFile(join(kept(), name)).catch(() => undefined);
    if (known?.equals(found)) continue;
    const aside = join(kept(), `${name}.${process.pid}`);
    await writeFile(aside, found);
    await rename(aside, join(kept(), name));
  }
}

async function names(directory: string): Promise<string[]> {
  const all = await readdir(directory).catch((): string[] => []);
  return all.filter((name) => name.endsWith(".xml"));
}
