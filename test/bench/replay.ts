import { Connection, LibvirtError, type Codec } from "libvirt";

/** A call as it went over the wire. */
export interface RecordedCall {
  /** Tells the connections of a client apart. */
  readonly connection: number;
  readonly program: number;
  readonly procedure: number;
  readonly payload: Buffer;
}

/** How long a daemon took for recorded calls when nobody else was at work. */
export interface Replay {
  tookMs: number;
  /** How many of them it refused. */
  refused: number;
}

/** Bytes that nobody looks into. */
const bytes: Codec<Uint8Array> = {
  shape: { type: "opaque", max: Number.POSITIVE_INFINITY },
  leastBytes: 0,
  decode: (from) => from.opaque(from.remaining),
  encode: (to, value) => to.opaque(value),
};

/** Calls of one connection that wait for their turn or for their answer at a time. */
const callers = 16;

/** Makes the same calls once more, in their order on as many connections as they came by, without a pause. */
export async function replay(uri: string, calls: readonly RecordedCall[]): Promise<Replay> {
  const byConnection = [...Map.groupBy(calls, ({ connection }) => connection).values()];
  const connections = await Promise.all(byConnection.map(() => Connection.open(uri)));
  const replayed: Replay = { tookMs: 0, refused: 0 };
  const began = performance.now();
  await Promise.all(
    connections.flatMap((connection, index) => {
      const left = (byConnection[index] ?? []).values();
      return Array.from({ length: callers }, async () => {
        for (const call of left) if (!(await isTaken(connection, call))) replayed.refused += 1;
      });
    }),
  );
  replayed.tookMs = performance.now() - began;
  await Promise.all(connections.map((connection) => connection.close()));
  return replayed;
}

async function isTaken(
  connection: Connection,
  { program, procedure: number, payload }: RecordedCall,
): Promise<boolean> {
  const procedure = {
    name: `procedure ${number}`,
    program,
    number,
    hasPriority: false,
    args: bytes,
    result: bytes,
  };
  try {
    await connection.call(procedure, payload, { timeoutMs: 600_000 });
    return true;
  } catch (error) {
    if (error instanceof LibvirtError) return false;
    throw error;
  }
}
