import { spawn } from "node:child_process";
import { EventEmitter, on, once } from "node:events";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
const fastClock = new URL("fast-clock.ts", import.meta.url);

/** A line of the controller's log. */
export interface LogLine {
  level: string;
  /** RFC 3339 with milliseconds. */
  time: string;
  msg: string;
  namespace?: string;
  name?: string;
  attempt?: string;
  stage?: string;
  effect?: string;
  outcome?: string;
  reason?: string;
  result?: string;
  method?: string;
  evidence?: string[];
  tookMs?: number;
  offForMs?: number;
  downtimeMs?: number;
  /** An error of the program's own, with its stack. */
  err?: unknown;
}

/** The controller as a process of its own, started as users start it. */
export interface ControllerProcess extends AsyncDisposable {
  readonly pid: number;
  /** Everything that it has logged. */
  readonly lines: readonly LogLine[];
  /** Resolves to the first line that fits, logged already or yet to come; rejects when the process ends before. */
  logged(fits: (line: LogLine) => boolean): Promise<LogLine>;
  /** Resolves to how it ends, whoever ends it: an exit code or a signal's name. */
  readonly ended: Promise<number | string>;
  /** Calls back for each line from now on. */
  follow(listener: (line: LogLine) => void): void;
  /** Ends it as an administrator does and resolves to its exit code. */
  stop(): Promise<number | null>;
  /** Ends it as a crash does. */
  kill(): Promise<void>;
}

/** Resolves when libvirt has taken a controller's order to ask a guest to shut down. */
export async function guestAsked(controller: ControllerProcess, machine: string): Promise<void> {
  await controller.logged(
    ({ name, effect, outcome }) => name === machine && effect === "Shutdown" && outcome === "Done",
  );
}

/** Starts the controller of a hypervisor's domains, and resolves when it works. */
export async function startedController(
  kubeconfig: string,
  uri: string,
  ...args: string[]
): Promise<ControllerProcess> {
  const controller = startController(kubeconfig, "--connect", uri, ...args);
  await controller.logged(({ msg }) => msg === "ready");
  return controller;
}

/** Starts the controller; it ends with this process at the latest. */
export function startController(kubeconfig: string, ...args: string[]): ControllerProcess {
  return launchController(kubeconfig, args, {});
}

/** Starts another version of the controller: the checkout in a directory, with its packages installed. */
export function startControllerOf(
  directory: string,
  kubeconfig: string,
  ...args: string[]
): ControllerProcess {
  return spawnController([join(directory, "src", "main.ts"), "--kubeconfig", kubeconfig, ...args]);
}

/** Starts the controller with further variables in its environment. */
export function launchController(
  kubeconfig: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): ControllerProcess {
  return spawnController([main, "--kubeconfig", kubeconfig, ...args], env);
}

/** The same, with a clock that goes so many times as fast: what it gives up after a minute, it gives up in seconds. */
export function startHastyController(
  times: number,
  kubeconfig: string,
  ...args: string[]
): ControllerProcess {
  const preload = ["--import", `${fastClock.href}?times=${times}`];
  return spawnController([...preload, main, "--kubeconfig", kubeconfig, ...args]);
}

function spawnController(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): ControllerProcess {
  const command = [process.execPath, ...args, "--log-format", "json"];
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", ...command], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  const { pid } = child;
  if (pid === undefined)
    throw new Error("the controller could not be started: is setpriv (util-linux) installed?");
  const lines: LogLine[] = [];
  const told = new EventEmitter();
  const ended = once(child, "close").then(([code, signal]: unknown[]) => {
    told.emit("close");
    return (code ?? signal) as number | string;
  });
  createInterface(child.stdout).on("line", (text) => {
    const line = JSON.parse(text) as LogLine;
    lines.push(line);
    told.emit("line", line);
  });
  const signal = async (name: NodeJS.Signals): Promise<number | null> => {
    child.kill(name);
    await ended;
    return child.exitCode;
  };
  const stop = () => signal("SIGTERM");
  return {
    pid,
    lines,
    ended,
    async logged(fits) {
      const known = lines.find(fits);
      if (known !== undefined) return known;
      for await (const [line] of on(told, "line", { close: ["close"] }) as AsyncIterable<[LogLine]>) {
        if (fits(line)) return line;
      }
      throw new Error("the controller ended before it logged what was waited for");
    },
    follow: (listener) => void told.on("line", listener),
    stop,
    kill: async () => void (await signal("SIGKILL")),
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
}
