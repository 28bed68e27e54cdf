import { open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ApiServer } from "../support/apiserver.ts";
import type { Libvirtd } from "../support/libvirtd.ts";
import { run } from "../support/run.ts";
import type { Supervised } from "../support/supervised.ts";

/** Ends a fault. */
export type Undo = () => Promise<unknown>;

/** Something that can be killed, and started again. */
type Server = Pick<Supervised, "signal" | "exited"> & { start: () => Promise<unknown> };

/** Kills a server; the undo starts it again. */
export async function killed(server: Server): Promise<Undo> {
  await server.signal("KILL");
  await server.exited();
  return () => server.start();
}

/** Kills the API server and leaves etcd running. The undo resolves when it is ready again. */
export async function apiServerKilled(api: ApiServer): Promise<Undo> {
  return killed({
    signal: (name) => api.apiServer.signal(name),
    exited: () => api.apiServer.exited(),
    start: () => api.startApiServer(),
  });
}

/** Lets a server stand still; the undo lets it go on. */
export async function stopped(server: Pick<Server, "signal">): Promise<Undo> {
  await server.signal("STOP");
  return () => server.signal("CONT");
}

/** The process of a guest is killed, if it runs: the guest crashes, and libvirt has noticed. There is nothing to undo. */
export async function guestKilled(libvirtd: Libvirtd, guest: string): Promise<void> {
  const pid = await signalGuest(libvirtd, guest, "SIGKILL");
  // libvirt takes the process's number away; one asks.
  if (pid !== undefined) while ((await pidOf(libvirtd, guest)) === pid) await delay(20);
}

/** The process of a guest stands still, if it runs; the undo lets it go on. */
export async function guestStopped(libvirtd: Libvirtd, guest: string): Promise<Undo> {
  const pid = await signalGuest(libvirtd, guest, "SIGSTOP");
  return async () => {
    // It may have been killed meanwhile, and the next boot has a process of its own.
    if (pid !== undefined) signal(pid, "SIGCONT");
  };
}

/**
 * Somebody saves a guest's memory to something that takes none: the save never ends, and holds the domain. The undo
 * breaks it off. Does nothing to a guest that is off.
 */
export async function saveStuck(libvirtd: Libvirtd, guest: string): Promise<Undo> {
  const path = join(libvirtd.directory, `${guest}.save`);
  await run("mkfifo", [path]);
  // Open at both ends, so that libvirt can open it as well; nobody ever reads.
  const fifo = await open(path, "r+");
  const over = new AbortController();
  // It fails when it is broken off, and where the guest is off.
  const save = libvirtd
    .virsh("save", guest, path)
    .catch(() => {})
    .finally(() => over.abort());
  // libvirt has no event for the beginning of a job: one asks.
  while (!over.signal.aborted && !(await isSaved(libvirtd, guest))) await delay(20);
  return async () => {
    await libvirtd.virsh("domjobabort", guest).catch(() => {});
    await fifo.close();
    await save;
  };
}

async function isSaved(libvirtd: Libvirtd, guest: string): Promise<boolean> {
  const job = await libvirtd.virsh("domjobinfo", guest).catch(() => "");
  return /Operation: *Save/.test(job);
}

/** The host loses its power and comes up again: no guest runs, and nothing is known of those that did. */
export async function hostRebooted(libvirtd: Libvirtd): Promise<Undo> {
  await libvirtd.losePower();
  return () => libvirtd.start();
}

async function signalGuest(
  libvirtd: Libvirtd,
  guest: string,
  name: NodeJS.Signals,
): Promise<number | undefined> {
  const pid = await pidOf(libvirtd, guest);
  return pid !== undefined && signal(pid, name) ? pid : undefined;
}

async function pidOf(libvirtd: Libvirtd, guest: string): Promise<number | undefined> {
  return libvirtd.qemuPid(guest).catch(() => undefined);
}

/** Whether there was such a process. */
function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}
