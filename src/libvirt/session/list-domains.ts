import type { CallOptions } from "../connection/calls.ts";
import type { Connection } from "../connection/connection.ts";
import { CallTimeoutError, LibvirtError } from "../errors.ts";
import { DomainStats, ListDomainsFlag } from "../names/flags.ts";
import { decodeState } from "../names/states.ts";
import type { StateAndReason } from "../names/states.ts";
import { procedures } from "../protocol/procedures.ts";
import { intParam } from "../protocol/types.ts";
import type { Domain } from "../protocol/types.ts";

/** A domain and what it does. `id` is undefined while it does not run. */
export type ListedDomain = Domain & { readonly id: number | undefined } & StateAndReason;

/** What listing takes of a connection. */
export type Caller = Pick<Connection, "call">;

/**
 * Lists all domains with their states: in one call where the driver has it, otherwise with one call per domain.
 * A domain whose state cannot be told has the state NoState. Rejects with a CallTimeoutError where the daemon does not
 * list them within `timeoutMs`.
 */
export async function listDomains(connection: Caller, timeoutMs?: number): Promise<ListedDomain[]> {
  const options = timeoutMs === undefined ? {} : { timeoutMs };
  try {
    return await listInOneCall(connection, options);
  } catch (cause) {
    if (cause instanceof LibvirtError) {
      return listOneByOne(connection, options);
    }
    throw cause;
  }
}

async function listInOneCall(connection: Caller, options: CallOptions): Promise<ListedDomain[]> {
  const { retStats } = await connection.call(
    procedures.connectGetAllDomainStats,
    { doms: [], stats: DomainStats.State, flags: ListDomainsFlag.All },
    options,
  );
  return retStats.map(({ dom, params }) => ({
    ...identify(dom),
    ...decodeState(intParam(params, "state.state") ?? 0, intParam(params, "state.reason") ?? 0),
  }));
}

async function listOneByOne(connection: Caller, options: CallOptions): Promise<ListedDomain[]> {
  const args = { needResults: 1, flags: ListDomainsFlag.All };
  const { domains } = await connection.call(procedures.connectListAllDomains, args, options);
  const states = await Promise.all(domains.map((dom) => stateOf(connection, dom)));
  return states.filter((state) => state !== undefined);
}

/** Undefined when the domain has vanished since it was listed. */
async function stateOf(connection: Caller, dom: Domain): Promise<ListedDomain | undefined> {
  try {
    const { state, reason } = await connection.call(procedures.domainGetState, { dom, flags: 0 });
    return { ...identify(dom), ...decodeState(state, reason) };
  } catch (cause) {
    if (cause instanceof LibvirtError && cause.code === "NO_DOMAIN") {
      return undefined;
    }
    if (cause instanceof CallTimeoutError || cause instanceof LibvirtError) {
      // One domain that hangs or is not ours to read must not hide all the others.
      return { ...identify(dom), state: "NoState", reason: "Unknown" };
    }
    throw cause;
  }
}

function identify({ name, uuid, id }: Domain): { name: string; uuid: string; id: number | undefined } {
  return { name, uuid, id };
}
