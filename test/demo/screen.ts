/** What the demo prints: steps with their time, then a timeline, then tables. */

const isTerminal = process.stdout.isTTY;

function styled(code: number, text: string): string {
  return isTerminal ? `\u001B[${code}m${text}\u001B[0m` : text;
}

export const bold = (text: string): string => styled(1, text);
export const dim = (text: string): string => styled(2, text);
export const green = (text: string): string => styled(32, text);
export const red = (text: string): string => styled(31, text);

let silent = false;

/** Prints one line. */
export function say(line = ""): void {
  if (!silent) process.stdout.write(`${line}\n`);
}

/** Prints one line and nothing after it: what is abandoned and still runs has nothing to tell any more. */
export function sayLast(line: string): void {
  say(line);
  silent = true;
}

/** A duration for people. */
export function duration(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Does a step, and says what it is and how long it took. */
export async function step<T>(title: string, work: () => Promise<T>): Promise<T> {
  const beganAtMs = performance.now();
  say(`${bold("==>")} ${title}`);
  const result = await work();
  say(dim(`    ${duration(performance.now() - beganAtMs)}`));
  return result;
}

/** Prints a command as one would type it, and what it printed. */
export function transcript(command: string, output: string): void {
  say(`${dim("$")} ${bold(command)}`);
  for (const line of output.trimEnd().split("\n")) say(`  ${line}`);
}
