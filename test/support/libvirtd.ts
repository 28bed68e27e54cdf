import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, open, readdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { keepCapabilities, seedCapabilities } from "./capabilities.ts";
import { CommandError, run } from "./run.ts";
import { lastLines, supervise, type SignalName } from "./supervised.ts";
import { removeDirectory, temporaryDirectory } from "./temp-directory.ts";

const READY_WITHIN_MS = 30_000;

/** Directories that a system-wide libvirtd uses; ours sees its own in their place. */
const SYSTEM_DIRECTORIES = {
  run: "/run/libvirt",
  lib: "/var/lib/libvirt",
  etc: "/etc/libvirt",
  cache: "/var/cache/libvirt",
  log: "/var/log/libvirt",
};

/** Where distributions put libvirt's drivers. */
const DRIVER_DIRECTORIES = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"].map(
  (library) => `${library}/libvirt/connection-driver`,
);

/** Left out are those that look at the host's own devices. The network's and the filters' work on a network of its own. */
const DRIVERS = ["qemu", "storage", "secret", "network", "nwfilter"];

/** libvirt's driver behind a URI: real guests, or its own in-memory hypervisor. */
export type Driver = "qemu" | "test";

/** What a test may want otherwise. */
export interface LibvirtdOptions {
  /** Further lines of libvirtd.conf, such as `max_workers = 1`. */
  readonly config?: readonly string[];
  /** Directories on a file system of their own, with its size, such as "1m": they can be filled up. */
  readonly small?: Readonly<Partial<Record<SmallDirectory, string>>>;
}

/** What libvirtd keeps of running guests, and of their configuration. */
export type SmallDirectory = "run" | "etc";

/** A libvirtd of our own, apart from the host's. */
export interface Libvirtd extends AsyncDisposable {
  /** The path of its UNIX socket; it asks for no authentication. */
  readonly socket: string;
  /** A directory that goes with the daemon, for guests' logs and disks. */
  readonly directory: string;
  readonly logFile: string;
  /** The daemon's process, undefined while it does not run. */
  readonly pid: number | undefined;
  /** The libvirt URI of one of its drivers; all test connections share one state. */
  uri(driver: Driver): string;
  /** Runs virsh on the QEMU driver; resolves to its stdout, rejects with its stderr. */
  virsh(...args: string[]): Promise<string>;
  /** Runs virsh on the test driver. */
  virshTest(...args: string[]): Promise<string>;
  /** The QEMU process of a running guest. */
  qemuPid(guest: string): Promise<number>;
  /** Leaves no room on a file system of the options' `small`; what it resolves to makes room again. */
  fill(directory: SmallDirectory): Promise<() => Promise<void>>;
  /** Ends the daemon and every guest at once and forgets what was running, as a power failure of the host does. */
  losePower(): Promise<void>;
  /** Sends the daemon a signal; guests are not touched. */
  signal(name: SignalName): Promise<void>;
  /** Resolves to how the daemon ends: a number or a signal's name. */
  exited(): Promise<string>;
  /** Stops the daemon; guests live on. */
  stop(): Promise<void>;
  /** Starts it again; it finds its guests. Returns when it is ready. */
  start(): Promise<void>;
  /** Both. */
  restart(): Promise<void>;
  /** Ends the daemon and its guests and removes all their files. */
  close(): Promise<void>;
}

/**
 * Starts a libvirtd that answers on a UNIX socket, and resolves when it does. The
 * daemon and its guests end with this process at the latest. Needs root, for the
 * namespaces in which it has directories and a network of its own.
 */
export async function startLibvirtd(options: LibvirtdOptions = {}): Promise<Libvirtd> {
  if (process.getuid?.() !== 0) {
    throw new Error("a libvirtd of one's own needs root, for its mount namespace: run this as root");
  }
  const directory = temporaryDirectory();
  await using undo = new AsyncDisposableStack();
  undo.defer(() => removeDirectory(directory));
  const config = await layOut(directory, options);
  const socket = join(directory, "libvirt-sock");
  const logFile = join(directory, "libvirtd.log");
  const capabilities = join(directory, "cache", "qemu", "capabilities");
  await seedCapabilities(capabilities);
  const pidFile = join(directory, "libvirtd.pid");
  const directories = Object.entries(SYSTEM_DIRECTORIES).map(([name, target]) => ({
    source: join(directory, name),
    target,
    size: options.small?.[name as SmallDirectory],
  }));
  const daemon = undo.use(
    await supervise({
      command: ["libvirtd", "-f", config, "-p", pidFile],
      logFile,
      env: { ...process.env, LIBVIRT_DRIVER_DIR: join(directory, "drivers") },
      binds: directories
        .filter(({ size }) => size === undefined)
        .map(({ source, target }) => [source, target]),
      smalls: directories.flatMap(({ source, target, size }) =>
        size === undefined ? [] : [[source, target, size]],
      ),
      ownNetwork: true,
      removes: directory,
    }),
  );

  const uri = (driver: Driver) =>
    `${driver}+unix:///${driver === "qemu" ? "system" : "default"}?socket=${socket}`;
  const virsh = (driver: Driver, args: readonly string[]) => run("virsh", ["-q", "-c", uri(driver), ...args]);
  const waitReady = async () => {
    const deadline = performance.now() + READY_WITHIN_MS;
    for (;;) {
      const problem = await answers(socket, () => virsh("qemu", ["version"]));
      if (problem === undefined) return;
      if (daemon.pid === undefined || performance.now() > deadline) {
        throw new Error(`libvirtd does not answer: ${problem}\n${lastLines(logFile)}`);
      }
      await delay(10);
    }
  };
  const start = async () => {
    await daemon.start();
    await waitReady();
  };
  const stop = async () => {
    await daemon.signal("TERM");
    await daemon.exited();
  };
  // A file system of the daemon's namespace is seen nowhere else.
  const seen = (name: SmallDirectory) => join(daemon.root, SYSTEM_DIRECTORIES[name]);
  const qemuPid = async (guest: string) =>
    Number(await readFile(join(seen("run"), "qemu", `${guest}.pid`), "utf8"));
  await start();
  await keepCapabilities(capabilities);
  const owned = undo.move();
  const close = () => owned.disposeAsync();
  return {
    socket,
    directory,
    logFile,
    get pid() {
      return daemon.pid;
    },
    uri,
    virsh: (...args) => virsh("qemu", args),
    virshTest: (...args) => virsh("test", args),
    qemuPid,
    async fill(name) {
      const filler = () => join(seen(name), "filler");
      await writeUntilFull(filler());
      return () => rm(filler());
    },
    async losePower() {
      const run = seen("run");
      const guests = (await readdir(join(run, "qemu"))).filter((file) => file.endsWith(".pid"));
      const pids = await Promise.all(guests.map((file) => qemuPid(file.slice(0, -".pid".length))));
      // First, so that it tells of no guest's end.
      await daemon.signal("KILL");
      for (const pid of pids) await killQemu(pid);
      await daemon.exited();
      for (const file of await readdir(run)) await rm(join(run, file), { recursive: true });
    },
    signal: (name) => daemon.signal(name),
    exited: () => daemon.exited(),
    stop,
    start,
    async restart() {
      await stop();
      await start();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A guest may have ended, and its file have stayed. */
async function killQemu(pid: number): Promise<void> {
  const program = await readlink(`/proc/${pid}/exe`).catch(() => "");
  if (program.includes("qemu")) process.kill(pid, "SIGKILL");
}

async function writeUntilFull(path: string): Promise<void> {
  await using file = await open(path, "w");
  try {
    for (;;) await file.write(Buffer.alloc(4096));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
  }
}

/** What keeps the daemon from answering; undefined if it answers. */
async function answers(socket: string, ask: () => Promise<string>): Promise<string | undefined> {
  if (!existsSync(socket)) return `there is no ${socket}`;
  try {
    await ask();
    return undefined;
  } catch (error) {
    if (error instanceof CommandError) return error.stderr;
    throw error;
  }
}

/** Writes the daemon's files and returns the path of its configuration. */
async function layOut(directory: string, options: LibvirtdOptions): Promise<string> {
  for (const name of [...Object.keys(SYSTEM_DIRECTORIES), "drivers"]) await mkdir(join(directory, name));
  const drivers = DRIVER_DIRECTORIES.find((path) => existsSync(path));
  if (drivers === undefined) {
    throw new Error(
      `libvirt is not installed: none of ${DRIVER_DIRECTORIES.join(", ")} is there. ` +
        "On Debian or Ubuntu: apt-get install libvirt-daemon-system libvirt-clients qemu-system-x86",
    );
  }
  for (const driver of DRIVERS) {
    const file = `libvirt_driver_${driver}.so`;
    await symlink(join(drivers, file), join(directory, "drivers", file));
  }
  await writeFile(
    join(directory, "etc", "qemu.conf"),
    lines([
      'user = "root"',
      'group = "root"',
      'security_driver = "none"',
      "dynamic_ownership = 0",
      "remember_owner = 0",
      // A container has no control groups or device nodes to hand out.
      "cgroup_controllers = []",
      "namespaces = []",
      // Needs no virtlogd.
      'stdio_handler = "file"',
    ]),
  );
  const config = join(directory, "libvirtd.conf");
  await writeFile(
    config,
    lines([
      `unix_sock_dir = "${directory}"`,
      'auth_unix_rw = "none"',
      'auth_unix_ro = "none"',
      'log_outputs = "3:stderr"',
      // Otherwise the mainboard's, which all daemons of a machine would share.
      `host_uuid = "${randomUUID()}"`,
      ...(options.config ?? []),
    ]),
  );
  return config;
}

function lines(all: readonly string[]): string {
  return `${all.join("\n")}\n`;
}
