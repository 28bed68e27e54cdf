import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";

/** How a command is run; what is not given is inherited. */
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Written to the command's stdin. */
  readonly input?: string;
}

/** A command that ended badly; the message holds what it wrote to stderr. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly status: number | string | null;
  readonly stderr: string;

  constructor(command: string, args: readonly string[], status: number | string | null, stderr: string) {
    super(`${command} ${args.join(" ")} ended with ${status}: ${stderr.trim()}`);
    this.status = status;
    this.stderr = stderr;
  }
}

/**
 * Runs a command to its end and resolves to what it wrote to stdout. Rejects with
 * a CommandError if it fails, and with the system's error if it cannot be started.
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
  });
  const status = new Promise<number | string | null>((resolve, reject) => {
    child.on("error", reject).on("close", (code, signal) => resolve(code ?? signal));
  });
  // A command that does not read its input closes the pipe; its status says the rest.
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  const [stdout, stderr, ended] = await Promise.all([text(child.stdout), text(child.stderr), status]);
  if (ended !== 0) throw new CommandError(command, args, ended, stderr);
  return stdout;
}
