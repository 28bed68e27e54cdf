import { createConnection } from "node:net";
import type { Socket } from "node:net";

import { ConnectionError } from "../errors.ts";
import type { Address } from "./uri.ts";

/** Begins to connect to a daemon. The socket tells by its events how that ends. */
export function connectSocket(address: Address): Socket {
  return createConnection({ path: address.socketPath });
}

/** Says what an error of the socket means to the user, going by its code. */
export function translateSocketError(cause: Error, address: Address): ConnectionError {
  const where = `${address.socketPath} (${address.uri})`;
  switch (errnoOf(cause)) {
    case "ENOENT":
    case "ENOTDIR":
      return new ConnectionError(
        "NotFound",
        `there is no socket ${where}: is libvirtd installed and running, and is this its socket?`,
        { cause },
      );
    case "ECONNREFUSED":
      return new ConnectionError(
        "Refused",
        `nothing listens on ${where}: the daemon has ended, start libvirtd again`,
        { cause },
      );
    case "EACCES":
    case "EPERM":
      return new ConnectionError(
        "PermissionDenied",
        `permission denied on ${where}: run as root or as a member of the socket's group, usually libvirt`,
        { cause },
      );
    case "EAGAIN":
      return new ConnectionError("Refused", `too many clients wait for ${where}: is the daemon stuck?`, {
        cause,
      });
    default:
      return new ConnectionError("Disconnected", `the connection to ${where} was lost: ${cause.message}`, {
        cause,
      });
  }
}

function errnoOf(cause: Error): string {
  return "code" in cause && typeof cause.code === "string" ? cause.code : "";
}
