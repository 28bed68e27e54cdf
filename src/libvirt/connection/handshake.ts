import { ConnectionError, LibvirtError } from "../errors.ts";
import type { Procedure } from "../protocol/procedure.ts";
import { connectionProcedures as calls } from "../protocol/procedures.ts";
import type { Address } from "./uri.ts";

/** Features of a daemon (virDrvFeature). */
const Feature = { ProgramKeepalive: 10 } as const;

/** How a daemon wants a client to authenticate. */
const AuthType = { None: 0, Sasl: 1, Polkit: 2 } as const;

/** Makes a call on a connection that is not open yet. */
export type HandshakeCall = <A, R>(procedure: Procedure<A, R>, args: NoInfer<A>) => Promise<R>;

/**
 * What every connection begins with, one call after the other: authenticate, agree on keepalive, open the driver.
 * `startKeepalive` is called once the daemon has agreed. Throws ConnectionError.
 */
export async function shakeHands(
  call: HandshakeCall,
  startKeepalive: () => void,
  address: Address,
): Promise<void> {
  try {
    await authenticate(call, address);
    await agreeOnKeepalive(call, address);
    startKeepalive();
    await call(calls.connectOpen, { name: address.driverUri, flags: 0 });
  } catch (cause) {
    throw cause instanceof LibvirtError ? translateRefusal(cause, address) : cause;
  }
}

async function authenticate(call: HandshakeCall, { uri, socketPath }: Address): Promise<void> {
  const { types } = await call(calls.authList, {});
  const type = types[0] ?? AuthType.None;
  if (type === AuthType.Polkit) {
    await call(calls.authPolkit, {});
  } else if (type !== AuthType.None) {
    const asked = type === AuthType.Sasl ? "SASL" : `authentication of type ${type}`;
    throw new ConnectionError(
      "AuthenticationFailed",
      `the daemon at ${socketPath} (${uri}) asks for ${asked}; this client offers polkit or none:` +
        ' set auth_unix_rw to "polkit" or "none" in libvirtd.conf',
    );
  }
}

/**
 * Without keepalive a daemon never drops a client that hangs, so that two of them could act at once; and asking
 * has to come before CONNECT_OPEN.
 */
async function agreeOnKeepalive(call: HandshakeCall, { uri, socketPath }: Address): Promise<void> {
  const { supported } = await call(calls.connectSupportsFeature, { feature: Feature.ProgramKeepalive });
  if (supported !== 1) {
    throw new ConnectionError(
      "OpenFailed",
      `the daemon at ${socketPath} (${uri}) refuses keepalive, which this client needs: set keepalive_interval` +
        " in libvirtd.conf to 5",
    );
  }
}

function translateRefusal(cause: LibvirtError, { uri, socketPath }: Address): ConnectionError {
  const authentication =
    cause.procedure === calls.authPolkit.name ||
    cause.code === "AUTH_FAILED" ||
    cause.code === "ACCESS_DENIED";
  return new ConnectionError(
    authentication ? "AuthenticationFailed" : "OpenFailed",
    `the daemon at ${socketPath} refused to open ${uri}: ${cause.message}`,
    { cause },
  );
}
