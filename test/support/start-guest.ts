import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { boots, domainXml, guestReady, type GuestOptions } from "./guest.ts";
import type { Libvirtd } from "./libvirtd.ts";

/** A guest that a test or the demo has defined. */
export interface RunningGuest {
  readonly name: string;
  readonly serialLog: string;
  /** Resolves to the boot ID when its nth boot has come up, counted from 1. */
  ready(nth?: number): Promise<string>;
  /** IDs of all boots that came up, in order. */
  boots(): Promise<string[]>;
}

/** Defines a guest that stays off. */
export async function defineGuest(
  libvirtd: Libvirtd,
  options: Omit<GuestOptions, "serialLog">,
): Promise<RunningGuest> {
  const { name } = options;
  const serialLog = join(libvirtd.directory, `${name}.log`);
  const file = join(libvirtd.directory, `${name}.xml`);
  await writeFile(file, await domainXml({ ...options, serialLog }));
  await libvirtd.virsh("define", file);
  return { name, serialLog, ready: (nth) => guestReady(serialLog, nth), boots: () => boots(serialLog) };
}

/** Defines a guest, starts it, and resolves when it has come up. */
export async function startGuest(
  libvirtd: Libvirtd,
  options: Omit<GuestOptions, "serialLog">,
): Promise<RunningGuest> {
  const guest = await defineGuest(libvirtd, options);
  await libvirtd.virsh("start", guest.name);
  await guest.ready();
  return guest;
}
