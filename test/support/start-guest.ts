import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { boots, domainXml, guestLines, guestReady, guestSays, type GuestOptions } from "./guest.ts";
import type { Libvirtd } from "./libvirtd.ts";

const AGENT_WITHIN_MS = 30_000;

/** The agent's channel in the XML of a running domain. */
const CONNECTED = "name='org.qemu.guest_agent.0' state='connected'";

/** A guest to define, but for what its definer adds. */
export type NewGuest = Omit<GuestOptions, "serialLog">;

/** A guest that a test or the demo has defined. */
export interface RunningGuest {
  readonly name: string;
  readonly serialLog: string;
  /** Resolves to the boot ID when its nth boot has come up, counted from 1. */
  ready(nth?: number): Promise<string>;
  /** IDs of all boots that came up, in order. */
  boots(): Promise<string[]>;
  /** Resolves when it has said a line the nth time, such as "button". */
  says(text: string, nth?: number): Promise<void>;
  /** Everything that it has said, less the kernel's own lines. */
  said(): Promise<string[]>;
}

/** Defines a guest that stays off. */
export async function defineGuest(libvirtd: Libvirtd, options: NewGuest): Promise<RunningGuest> {
  const { name } = options;
  const serialLog = join(libvirtd.directory, `${name}.log`);
  const file = join(libvirtd.directory, `${name}.xml`);
  await writeFile(file, await domainXml({ ...options, serialLog }));
  await libvirtd.virsh("define", file);
  return {
    name,
    serialLog,
    ready: (nth) => guestReady(serialLog, nth),
    boots: () => boots(serialLog),
    says: (text, nth) => guestSays(serialLog, text, nth),
    said: async () =>
      (await guestLines(serialLog)).flatMap((line) => /^warmboot-guest (.*)$/.exec(line)?.[1] ?? []),
  };
}

/** Defines a guest, starts it, and resolves when it has come up, and its agent if it is to have one. */
export async function startGuest(libvirtd: Libvirtd, options: NewGuest): Promise<RunningGuest> {
  const guest = await defineGuest(libvirtd, options);
  await libvirtd.virsh("start", guest.name);
  await guest.ready();
  if (options.agent !== undefined && options.agent !== "absent") await agentConnected(libvirtd, guest.name);
  return guest;
}

/** libvirt's event for it may have come before anybody listened, so one asks. */
async function agentConnected(libvirtd: Libvirtd, name: string): Promise<void> {
  const within = AbortSignal.timeout(AGENT_WITHIN_MS);
  while (!(await libvirtd.virsh("dumpxml", name)).includes(CONNECTED)) {
    if (within.aborted) throw new Error(`the agent of ${name} is not connected within ${AGENT_WITHIN_MS} ms`);
    await delay(20);
  }
}
