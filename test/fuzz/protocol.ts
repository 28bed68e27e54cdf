import { events, hostEvents, procedures, type Codec, type EventProcedure, type Procedure } from "libvirt";
import { MessageStatus, MessageType, encodeFrame, type Header } from "../../src/libvirt/protocol/frame.ts";
import { PROGRAM_VERSION, Program } from "../../src/libvirt/protocol/procedure.ts";
import { connectionProcedures } from "../../src/libvirt/protocol/procedures.ts";
import { remoteError } from "../../src/libvirt/protocol/types.ts";
import type { Shape } from "../../src/libvirt/xdr/codec.ts";
import { Random } from "../simulation/random.ts";
import { sample } from "./sample.ts";

/** Every call there is. */
export const allProcedures = Object.values({
  ...connectionProcedures,
  ...procedures,
}) as unknown as readonly Procedure<unknown, unknown>[];

/** Every event there is. */
export const allEvents = Object.values({
  ...events,
  ...hostEvents,
}) as unknown as readonly EventProcedure<unknown>[];

const byNumber = new Map(allProcedures.map((one) => [`${one.program}/${one.number}`, one]));
const eventByNumber = new Map(allEvents.map((one) => [one.number, one]));

/** The call that a header names. */
export function procedureOf({
  program,
  procedure,
}: Pick<Header, "program" | "procedure">): Procedure<unknown, unknown> | undefined {
  return byNumber.get(`${program}/${procedure}`);
}

/** What the payload of a message with this header must be; undefined where nobody would read it. */
export function codecOf(header: Header): Codec<unknown> | undefined {
  switch (header.type) {
    case MessageType.Call:
      return procedureOf(header)?.args;
    case MessageType.Reply:
      return header.status === MessageStatus.Error ? remoteError : procedureOf(header)?.result;
    case MessageType.Message:
      return eventByNumber.get(header.procedure)?.payload;
    default:
      return undefined;
  }
}

/** All that payloads can be. */
export const allCodecs: readonly Codec<unknown>[] = [
  remoteError,
  ...allProcedures.flatMap(({ args, result }) => [args, result]),
  ...allEvents.map(({ payload }) => payload),
];

/** The lengths and counts at which something changes: the bounds of all strings and lists. */
export const allBounds: readonly number[] = [...new Set(allCodecs.flatMap(({ shape }) => boundsOf(shape)))];

/** A good message of every kind, made up: what no session with a real daemon has in it is damaged, too. */
export function madeMessages(): Buffer[] {
  const header = { program: Program.Remote, version: PROGRAM_VERSION, serial: 0, status: MessageStatus.Ok };
  const replies = allProcedures.flatMap(({ program, number, result }) =>
    made(result, { ...header, program, procedure: number, type: MessageType.Reply, serial: 1 }),
  );
  const errors = made(remoteError, {
    ...header,
    procedure: procedures.domainGetState.number,
    type: MessageType.Reply,
    serial: 1,
    status: MessageStatus.Error,
  });
  const told = allEvents.flatMap(({ number, payload }) =>
    made(payload, { ...header, procedure: number, type: MessageType.Message }),
  );
  const keepalive = [1, 2].map((procedure) =>
    encodeFrame({ ...header, program: Program.Keepalive, procedure, type: MessageType.Message }, () => {}),
  );
  return [...replies, ...errors, ...told, ...keepalive];
}

function made(codec: Codec<unknown>, header: Header): Buffer[] {
  const random = new Random(header.procedure);
  return [1, 2].map(() => encodeFrame(header, (to) => codec.encode(to, sample(codec.shape, random))));
}

function boundsOf(shape: Shape): number[] {
  switch (shape.type) {
    case "string":
    case "opaque":
      return [shape.max];
    case "array":
      return [shape.max, ...boundsOf(shape.of)];
    case "optional":
      return boundsOf(shape.of);
    case "struct":
      return [...shape.fields.values()].flatMap(boundsOf);
    case "union":
      return [...shape.cases.values()].flatMap(boundsOf);
    default:
      return [];
  }
}
