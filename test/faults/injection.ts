import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { failpointFiles } from "../../src/failpoints.ts";
import type { ApiServer } from "../support/apiserver.ts";
import type { Libvirtd } from "../support/libvirtd.ts";

/** What the runner has at hand at a point, and the machine's name. */
interface AtHand {
  api: ApiServer;
  libvirtd: Libvirtd;
  /** Runs virsh on the driver of the machine. */
  virsh: (...args: string[]) => Promise<string>;
  name: string;
}

/** What happens when a controller has come to a point. */
export interface Injection {
  name: string;
  /** What the failpoint does to the process itself. */
  verb: "kill" | "stop" | "wait";
  /** What the runner does meanwhile, before it lets the process go on. */
  meanwhile?: (parts: AtHand) => Promise<unknown>;
  /** Whether libvirtd ends: its test driver forgets everything then. */
  endsLibvirtd?: boolean;
  /** Whether all other cases feel it. */
  isShared?: boolean;
}

const stopped = (seconds: number): Injection => ({
  name: `stop-${seconds}`,
  verb: "stop",
  // The time itself is the fault: nothing tells of its end.
  meanwhile: () => delay(seconds * 1000),
});

/** All of them by their names. */
export const injections: readonly Injection[] = [
  { name: "kill", verb: "kill" },
  stopped(20),
  stopped(35),
  stopped(75),
  {
    name: "libvirtd-kill",
    verb: "wait",
    endsLibvirtd: true,
    meanwhile: async ({ libvirtd }) => {
      await libvirtd.signal("KILL");
      await libvirtd.exited();
      await libvirtd.start();
    },
  },
  {
    name: "libvirtd-restart",
    verb: "wait",
    endsLibvirtd: true,
    meanwhile: ({ libvirtd }) => libvirtd.restart(),
  },
  // Of a machine that runs, virsh says so.
  { name: "other-start", verb: "wait", meanwhile: ({ virsh, name }) => virsh("start", name).catch(() => {}) },
  { name: "api-restart", verb: "wait", isShared: true, meanwhile: ({ api }) => api.restart() },
  {
    name: "api-kill",
    verb: "wait",
    isShared: true,
    meanwhile: async ({ api }) => {
      await api.kill();
      await api.apiServer.exited();
      await api.startApiServer();
    },
  },
];

/** Prepares the directory of a failpoint for a controller that this process starts. */
export function armDirectory(directory: string): void {
  writeFileSync(join(directory, failpointFiles.armedBy), `${process.pid}`);
  execFileSync("mkfifo", [join(directory, failpointFiles.go)]);
}

/** Whether the point was reached. */
export function isReached(directory: string): boolean {
  return existsSync(join(directory, failpointFiles.at));
}
