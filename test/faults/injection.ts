import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { failpointFiles } from "../../src/failpoints.ts";
import type { ApiServer } from "../support/apiserver.ts";
import type { Driver, Libvirtd } from "../support/libvirtd.ts";
import {
  apiServerKilled,
  guestKilled,
  guestStopped,
  hostRebooted,
  killed,
  saveStuck,
  stopped,
} from "./server-faults.ts";

/** What the runner has at hand at a point, and the machine's name. */
export interface AtHand {
  api: ApiServer;
  libvirtd: Libvirtd;
  /** Runs virsh on the driver of the machine. */
  virsh: (...args: string[]) => Promise<string>;
  name: string;
  /** The process that is at the point. */
  controllerPid: number;
  /** Where the backup is that was made before the request; only for an injection that asks for one. */
  backup: string;
  /** Makes the request again, as a GitOps tool does that finds it missing. */
  request: () => Promise<void>;
  /** Resolves once the request is served, or when its time is up. */
  served: () => Promise<unknown>;
}

/** What happens when a controller has come to a point. */
export interface Injection {
  name: string;
  /** What the failpoint does to the process itself. */
  verb: "kill" | "stop" | "wait";
  /**
   * What the runner does meanwhile, before it lets the process go on. What it resolves to ends a fault that goes on
   * while the process does, after `lastsMs`.
   */
  meanwhile?: (parts: AtHand) => Promise<unknown>;
  lastsMs?: number;
  /** What the runner does when all of that is over. */
  afterwards?: (parts: AtHand) => Promise<unknown>;
  /** Whether the process ends by it, and is followed by another. */
  endsController?: boolean;
  /** Whether libvirtd ends: its test driver forgets everything then. */
  endsLibvirtd?: boolean;
  /** Whether it is about a QEMU process: libvirt's test driver has none. */
  needsGuest?: boolean;
  /** Whether the guest's boot ends by it, if one runs. */
  endsBoot?: boolean;
  /** Whether a backup of the API server's data is made before the request. */
  needsBackup?: boolean;
  /** Whether all other cases feel it. */
  isShared?: boolean;
}

const stoppedFor = (seconds: number): Injection => ({
  name: `stop-${seconds}`,
  verb: "stop",
  // The time itself is the fault: nothing tells of its end.
  meanwhile: () => delay(seconds * 1000),
});

const libvirtdStopped = (seconds: number): Injection => ({
  name: `libvirtd-stop-${seconds}`,
  verb: "wait",
  lastsMs: seconds * 1000,
  meanwhile: ({ libvirtd }) => stopped(libvirtd),
});

/** What happens to the controller alone, or between two of its steps. */
const beside: readonly Injection[] = [
  { name: "kill", verb: "kill" },
  stoppedFor(20),
  stoppedFor(35),
  stoppedFor(75),
  // Of a machine that runs, virsh says so.
  { name: "other-start", verb: "wait", meanwhile: ({ virsh, name }) => virsh("start", name).catch(() => {}) },
];

/** What happens to libvirtd, its guests and its host. */
const ofHypervisor: readonly Injection[] = [
  {
    name: "libvirtd-kill",
    verb: "wait",
    endsLibvirtd: true,
    meanwhile: async ({ libvirtd }) => (await killed(libvirtd))(),
  },
  {
    name: "libvirtd-restart",
    verb: "wait",
    endsLibvirtd: true,
    meanwhile: ({ libvirtd }) => libvirtd.restart(),
  },
  libvirtdStopped(20),
  // Longer than keepalive lets a connection live.
  libvirtdStopped(40),
  {
    name: "qemu-kill",
    verb: "wait",
    needsGuest: true,
    endsBoot: true,
    meanwhile: ({ libvirtd, name }) => guestKilled(libvirtd, name),
  },
  {
    name: "qemu-stop",
    verb: "wait",
    needsGuest: true,
    lastsMs: 5000,
    meanwhile: ({ libvirtd, name }) => guestStopped(libvirtd, name),
  },
  {
    name: "stuck-save",
    verb: "wait",
    needsGuest: true,
    lastsMs: 5000,
    meanwhile: ({ libvirtd, name }) => saveStuck(libvirtd, name),
  },
  {
    name: "run-full",
    verb: "wait",
    needsGuest: true,
    // Shorter than a refused mark is tried.
    lastsMs: 4000,
    meanwhile: ({ libvirtd }) => libvirtd.fill("run"),
  },
  {
    name: "etc-full",
    verb: "wait",
    needsGuest: true,
    lastsMs: 4000,
    meanwhile: ({ libvirtd }) => libvirtd.fill("etc"),
  },
  {
    name: "host-reboot",
    verb: "wait",
    endsLibvirtd: true,
    endsController: true,
    endsBoot: true,
    meanwhile: async ({ libvirtd, controllerPid }) => {
      process.kill(controllerPid, "SIGKILL");
      const comeUp = await hostRebooted(libvirtd);
      await comeUp();
    },
  },
];

/** What happens to the API server and its etcd. */
const ofCluster: readonly Injection[] = (
  [
    { name: "api-restart", verb: "wait", meanwhile: ({ api }) => api.restart() },
    {
      name: "api-kill",
      verb: "wait",
      meanwhile: async ({ api }) => (await apiServerKilled(api))(),
    },
    // Longer than a request is waited for.
    { name: "api-stop", verb: "wait", lastsMs: 20_000, meanwhile: ({ api }) => stopped(api.apiServer) },
    { name: "etcd-kill", verb: "wait", lastsMs: 3000, meanwhile: ({ api }) => killed(api.etcd) },
    { name: "etcd-stop", verb: "wait", lastsMs: 10_000, meanwhile: ({ api }) => stopped(api.etcd) },
    {
      // To what was there before the request, which is made again.
      name: "etcd-restore",
      verb: "wait",
      needsBackup: true,
      meanwhile: async ({ api, backup, request }) => {
        await api.restore(backup);
        await request();
      },
    },
    {
      name: "etcd-restore-kill",
      verb: "wait",
      needsBackup: true,
      endsController: true,
      meanwhile: async ({ api, backup, request, controllerPid }) => {
        process.kill(controllerPid, "SIGKILL");
        await api.restore(backup);
        await request();
      },
    },
    {
      // To what was there at the point, once the request has been served.
      name: "etcd-rewind",
      verb: "wait",
      meanwhile: async (parts) => {
        parts.backup = await parts.api.backUp();
      },
      afterwards: async ({ api, backup, served }) => {
        await served();
        await api.restore(backup);
      },
    },
  ] satisfies Injection[]
).map((injection) => ({ ...injection, isShared: true }));

/** All of them by their names. */
export const injections: readonly Injection[] = [...beside, ...ofHypervisor, ...ofCluster];

/** The one of a name. */
export function injectionNamed(name: string): Injection {
  const found = injections.find((one) => one.name === name);
  if (found === undefined) throw new Error(`there is no fault ${name}`);
  return found;
}

/** Whether a driver's domains know what an injection is about. */
export function suits({ endsLibvirtd, needsGuest }: Injection, driver: Driver): boolean {
  return driver === "qemu" || (endsLibvirtd !== true && needsGuest !== true);
}

/** Prepares the directory of a failpoint for a controller that this process starts. */
export function armDirectory(directory: string): void {
  writeFileSync(join(directory, failpointFiles.armedBy), `${process.pid}`);
  execFileSync("mkfifo", [join(directory, failpointFiles.go)]);
}

/** Whether the point was reached. */
export function isReached(directory: string): boolean {
  return existsSync(join(directory, failpointFiles.at));
}
