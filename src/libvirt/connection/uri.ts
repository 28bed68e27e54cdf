import { existsSync } from "node:fs";

import { AddressError } from "../errors.ts";

/** Where a daemon listens, and what it is asked to open. A union, so that TLS and TCP can join it. */
export type Address = UnixAddress;

/** A daemon on a UNIX socket. */
export interface UnixAddress {
  readonly transport: "unix";
  /** The socket's path. */
  readonly socketPath: string;
  /** What CONNECT_OPEN takes: the URI without its transport and its socket. */
  readonly driverUri: string;
  /** The URI as it was given: for messages. */
  readonly uri: string;
}

/** What the address depends on beside the URI; injectable for tests. */
export interface AddressSurroundings {
  /** For XDG_RUNTIME_DIR, where the sockets of a session's daemons are. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether a path exists. */
  readonly exists: (path: string) => boolean;
}

const EXAMPLES =
  "qemu:///system, qemu:///session, test:///default or qemu+unix:///system?socket=/path/of/socket";

/** The transports that libvirt knows and this client does not speak. */
const UNSUPPORTED_TRANSPORTS = new Set(["tls", "tcp", "ssh", "libssh", "libssh2", "ext"]);

/** Parameters that libvirt's own client keeps to itself; silently ignoring one would connect differently than asked. */
const CLIENT_PARAMETERS = new Set([
  "command",
  "keyfile",
  "known_hosts",
  "known_hosts_verify",
  "mode",
  "name",
  "netcat",
  "no_sanity",
  "no_tty",
  "no_verify",
  "pkipath",
  "proxy",
  "sshauth",
  "tls_priority",
]);

/** The drivers with a daemon of their own, and the name of its socket. */
const MODULAR_SOCKETS: Readonly<Record<string, string>> = {
  bhyve: "virtbhyved-sock",
  ch: "virtchd-sock",
  lxc: "virtlxcd-sock",
  qemu: "virtqemud-sock",
  vbox: "virtvboxd-sock",
  vz: "virtvzd-sock",
  xen: "virtxend-sock",
};

/** The longest path that the kernel accepts for a UNIX socket, in bytes, without its NUL. */
const SOCKET_PATH_MAX = 107;

/**
 * Says where a libvirt URI leads.
 *
 * Without a socket in the URI it is libvirtd's default one, or, when that does not exist, the one of the
 * driver's modular daemon, such as virtqemud. Throws AddressError for a URI that leads nowhere.
 */
export function parseUri(
  uri: string,
  { env, exists }: AddressSurroundings = { env: process.env, exists: existsSync },
): Address {
  const url = parse(uri);
  const [driver = "", transport] = url.protocol.slice(0, -1).split("+");
  checkTransport(uri, url, transport);
  if (url.pathname === "" || url.pathname === "/") {
    throw new AddressError(uri, `a path such as /system is missing; use ${EXAMPLES}`);
  }
  const { socket, query } = splitQuery(uri, url.search);
  const socketPath = socket ?? defaultSocket(uri, driver, url.pathname, { env, exists });
  checkSocketPath(uri, socketPath);
  return { transport: "unix", socketPath, driverUri: `${driver}://${url.pathname}${query}`, uri };
}

function parse(uri: string): URL {
  if (!/^[a-z][a-z0-9]*(\+[a-z0-9]*)?:\/\//i.test(uri)) {
    throw new AddressError(uri, `this is not a libvirt URI; use ${EXAMPLES}`);
  }
  try {
    return new URL(uri);
  } catch (cause) {
    throw new AddressError(uri, `this is not a valid URI; use ${EXAMPLES}`, { cause });
  }
}

function checkTransport(uri: string, url: URL, transport: string | undefined): void {
  // As libvirt does: a URI with a host and no transport means TLS.
  const meant = transport ?? (url.host === "" ? "unix" : "tls");
  if (UNSUPPORTED_TRANSPORTS.has(meant)) {
    throw new AddressError(
      uri,
      `the transport ${meant} is not supported, only unix: run next to the daemon and use ${EXAMPLES}`,
    );
  }
  if (meant !== "unix") {
    throw new AddressError(uri, `"${meant}" is not a transport; use ${EXAMPLES}`);
  }
  if (url.host !== "" || url.username !== "") {
    throw new AddressError(uri, `a UNIX socket has no host: write three slashes, as in ${EXAMPLES}`);
  }
}

function splitQuery(uri: string, search: string): { socket: string | undefined; query: string } {
  const parameters = new URLSearchParams(search);
  for (const name of parameters.keys()) {
    if (CLIENT_PARAMETERS.has(name)) {
      throw new AddressError(uri, `the parameter ${name} is not supported; of libvirt's own there is socket`);
    }
  }
  const socket = parameters.get("socket") ?? undefined;
  parameters.delete("socket");
  return { socket, query: parameters.size === 0 ? "" : `?${parameters.toString()}` };
}

function defaultSocket(uri: string, driver: string, path: string, surroundings: AddressSurroundings): string {
  const directory = path === "/session" ? sessionDirectory(uri, surroundings.env) : "/run/libvirt";
  const socket = `${directory}/libvirt-sock`;
  const modular = MODULAR_SOCKETS[driver];
  if (modular === undefined || surroundings.exists(socket)) {
    return socket;
  }
  const modularSocket = `${directory}/${modular}`;
  return surroundings.exists(modularSocket) ? modularSocket : socket;
}

function sessionDirectory(uri: string, env: AddressSurroundings["env"]): string {
  const runtime = env["XDG_RUNTIME_DIR"];
  if (runtime === undefined || runtime === "") {
    throw new AddressError(
      uri,
      "XDG_RUNTIME_DIR is not set, so the session's socket is unknown; set it, or name the socket with ?socket=",
    );
  }
  return `${runtime}/libvirt`;
}

function checkSocketPath(uri: string, socketPath: string): void {
  if (!socketPath.startsWith("/")) {
    throw new AddressError(uri, `the socket "${socketPath}" is not an absolute path`);
  }
  if (Buffer.byteLength(socketPath) > SOCKET_PATH_MAX) {
    throw new AddressError(
      uri,
      `the socket's path has ${Buffer.byteLength(socketPath)} bytes, ${SOCKET_PATH_MAX} are possible: use a shorter one`,
    );
  }
}
