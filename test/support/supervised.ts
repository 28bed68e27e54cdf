import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { goBinary, SUPERVISOR } from "./go-build.ts";
import { toStderr } from "./report.ts";

/** Signals that a supervised command can be sent. */
export type SignalName = "TERM" | "KILL" | "INT" | "HUP" | "QUIT" | "STOP" | "CONT" | "USR1" | "USR2";

/** What to run, and where it may leave traces. */
export interface SupervisedOptions {
  readonly command: readonly [string, ...string[]];
  /** Takes the command's stdout and stderr; appended to. */
  readonly logFile: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Directories seen elsewhere by the command alone: [source, target]. Needs root. */
  readonly binds?: readonly (readonly [string, string])[];
  /** Directories of which the command alone sees a copy on a file system of a size, such as "1m": [source, target, size]. */
  readonly smalls?: readonly (readonly [string, string, string])[];
  /** Whether the command has a network of its own, with nothing but a loopback device. Needs root. */
  readonly ownNetwork?: boolean;
  /** A directory that goes when all is ended, also when nobody is left to call close(). */
  readonly removes?: string;
}

/**
 * One command under the supervisor of test/parts/supervisor: it and everything it
 * leaves behind ends when this process ends, however that happens.
 */
export interface Supervised extends AsyncDisposable {
  /** The running command's process, undefined while it does not run. */
  readonly pid: number | undefined;
  /** Where the files are that the command sees below "/", those of `smalls` as well, once it was started. */
  readonly root: string;
  /** Starts the command; rejects if it runs. */
  start(): Promise<number>;
  /** Resolves when the signal is sent. */
  signal(name: SignalName): Promise<void>;
  /** Resolves to how the running command ends: a number or a signal's name; at once if it does not run. */
  exited(): Promise<string>;
  /** Ends the command and every process that it left behind, and resolves when none is left. */
  close(): Promise<void>;
}

/** Starts the supervisor; the command waits for start(). */
export async function supervise(options: SupervisedOptions): Promise<Supervised> {
  const binary = await goBinary(SUPERVISOR, toStderr);
  const binds = (options.binds ?? []).flatMap(([source, target]) => ["-bind", `${source}:${target}`]);
  const smalls = (options.smalls ?? []).flatMap((small) => ["-small", small.join(":")]);
  const network = options.ownNetwork === true ? ["-network"] : [];
  const removes = options.removes === undefined ? [] : ["-remove", options.removes];
  const log = openSync(options.logFile, "a");
  const supervisor = spawn(binary, [...binds, ...smalls, ...network, ...removes, "--", ...options.command], {
    stdio: ["pipe", "pipe", log],
    env: options.env ?? process.env,
    // A Ctrl-C at the terminal is ours: it must not reach the daemon before our own cleaning up.
    detached: true,
  });
  closeSync(log);
  const { stdin, stdout } = supervisor;
  if (!stdin || !stdout) throw new Error("the supervisor was started without pipes");
  const ended = once(supervisor, "close");
  const gone = () => new Error(`the supervisor ended:\n${lastLines(options.logFile)}`);
  await once(supervisor, "spawn");

  let pid: number | undefined;
  let exit = Promise.withResolvers<string>();
  exit.resolve("never started");
  // Orders are answered in their order; an exit is told in between.
  const answers: PromiseWithResolvers<string>[] = [];
  createInterface(stdout).on("line", (line) => {
    const [verb, ...words] = line.split(" ");
    if (verb === "exited") {
      pid = undefined;
      exit.resolve(words.join(" "));
      return;
    }
    if (verb === "started") {
      pid = Number(words[0]);
      exit = Promise.withResolvers();
    }
    const answer = answers.shift();
    if (verb === "error") answer?.reject(new Error(`supervisor: ${words.join(" ")}`));
    else answer?.resolve(line);
  });
  supervisor.on("close", () => {
    pid = undefined;
    exit.resolve("ended with its supervisor");
    for (const answer of answers) answer.reject(gone());
  });
  // Writing to a supervisor that ended: the answer's rejection says it.
  stdin.on("error", () => {});

  const order = (line: string): Promise<string> => {
    if (supervisor.exitCode !== null || supervisor.signalCode !== null) return Promise.reject(gone());
    const answer = Promise.withResolvers<string>();
    answers.push(answer);
    stdin.write(`${line}\n`);
    return answer.promise;
  };
  const close = async () => {
    stdin.end();
    await ended;
  };
  return {
    get pid() {
      return pid;
    },
    root: `/proc/${supervisor.pid}/root`,
    async start() {
      const answer = await order("start");
      return Number(answer.split(" ")[1]);
    },
    async signal(name) {
      await order(`signal ${name}`);
    },
    exited: () => exit.promise,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The end of a log, for an error message. */
export function lastLines(file: string, count = 20): string {
  return readFileSync(file, "utf8").trimEnd().split("\n").slice(-count).join("\n");
}
