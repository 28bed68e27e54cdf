import { readFile } from "node:fs/promises";
import { inFile } from "./file-watch.ts";

const WITHIN_MS = 30_000;

const READY = /^warmboot-guest ready boot=(\S+) behaviour=\S+$/;

/** What the guest said so far, line by line; a line that is being written is left out. */
export async function guestLines(serialLog: string): Promise<string[]> {
  const text = await readFile(serialLog, "utf8").catch(() => "");
  const lines = text.split(/\r?\n/).slice(0, -1);
  // The firmware may leave something on the line before the guest.
  return lines.map((line) => line.slice(Math.max(0, line.indexOf("warmboot-guest "))));
}

/** The IDs of all boots that got ready, in their order: each boot has one of its own. */
export async function boots(serialLog: string): Promise<string[]> {
  const lines = await guestLines(serialLog);
  return lines.flatMap((line) => READY.exec(line)?.[1] ?? []);
}

/**
 * Resolves to the ID of the guest's nth boot, counted from 1, when that is ready:
 * from then on a press of the power button is not lost.
 */
export async function guestReady(serialLog: string, nth = 1, withinMs = WITHIN_MS): Promise<string> {
  const look = async () => (await boots(serialLog))[nth - 1];
  return inFile(serialLog, withinMs, look, () => missing(serialLog, `boot number ${nth}`));
}

/**
 * Resolves when the guest has said a line the nth time: "button", at each press of
 * its power button, or "button ignored".
 */
export async function guestSays(
  serialLog: string,
  text: string,
  nth = 1,
  withinMs = WITHIN_MS,
): Promise<void> {
  const look = async () => {
    const lines = await guestLines(serialLog);
    return lines.filter((line) => line === `warmboot-guest ${text}`)[nth - 1];
  };
  await inFile(serialLog, withinMs, look, () => missing(serialLog, `"${text}" number ${nth}`));
}

async function missing(serialLog: string, what: string): Promise<string> {
  const tail = (await guestLines(serialLog)).slice(-10).join("\n");
  return `the guest's log ${serialLog}, which ends with\n${tail}\nhas no ${what}`;
}
