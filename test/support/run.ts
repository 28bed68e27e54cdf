import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { atExit } from "./at-exit.ts";

/** How a command is run; what is not given is inherited. */
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Written to the command's stdin. */
  readonly input?: string;
  /** Hears each line that it writes to stderr, as it does. */
  readonly onStderrLine?: (line: string) => void;
  /**
   * It must not be cut short: when this process ends, it is interrupted instead of killed, with all that it has
   * started, and takes its time. A Ctrl-C at the terminal does not reach it.
   */
  readonly endsByItself?: boolean;
}

/** Of a longer stderr the end says what was wrong. */
const TOLD_LINES = 20;

/** A command that ended badly; the message holds the end of what it wrote to stderr. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly status: number | string | null;
  readonly stderr: string;

  constructor(command: string, args: readonly string[], status: number | string | null, stderr: string) {
    const end = stderr.trim().split("\n").slice(-TOLD_LINES).join("\n");
    super(`${command} ${args.join(" ")} ended with ${status}: ${end}`);
    this.status = status;
    this.stderr = stderr;
  }
}

/**
 * Runs a command to its end and resolves to what it wrote to stdout. Rejects with
 * a CommandError if it fails, and with the system's error if it cannot be started.
 * The command ends with this process at the latest, or at least is told to.
 */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: options.env,
    stdio: ["pipe", "pipe", "pipe"],
    detached: options.endsByItself,
  });
  const ended = atExit(() => {
    if (!options.endsByItself) child.kill("SIGKILL");
    else if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
  });
  child.on("close", ended);
  const status = new Promise<number | string | null>((resolve, reject) => {
    child.on("error", reject).on("close", (code, signal) => resolve(code ?? signal));
  });
  // A command that does not read its input closes the pipe; its status says the rest.
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  const complaints: string[] = [];
  createInterface(child.stderr).on("line", (line) => {
    complaints.push(line);
    options.onStderrLine?.(line);
  });
  const [stdout, how] = await Promise.all([text(child.stdout), status]);
  if (how !== 0) throw new CommandError(command, args, how, complaints.join("\n"));
  return stdout;
}
