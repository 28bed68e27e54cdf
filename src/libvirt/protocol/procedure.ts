import type { Codec } from "../xdr/codec.ts";
import { struct } from "../xdr/compound.ts";
import type { Fields, StructOf } from "../xdr/compound.ts";
import { withPriority } from "./priority.ts";

/** The programs that a daemon serves on one socket, all in version 1. */
export const Program = { Remote: 0x2000_8086, Qemu: 0x2000_8087, Keepalive: 0x6b65_6570 } as const;
/** The version of each of the programs. */
export const PROGRAM_VERSION = 1;

/** A call that libvirt offers: its place in the protocol, its arguments and its result. */
export interface Procedure<Args, Result> {
  /** libvirt's name, without the prefix REMOTE_PROC_ or QEMU_PROC_. */
  readonly name: string;
  readonly program: number;
  readonly number: number;
  /** Whether libvirt has workers of their own for this one and its like. */
  readonly hasPriority: boolean;
  readonly args: Codec<Args>;
  readonly result: Codec<Result>;
}

/** The call that asks for events of one kind of object. Its further arguments narrow them down to one object. */
export type Registration = Procedure<{ readonly eventId: number }, { readonly callbackId: number }>;

/** An event that a daemon sends once it was registered for. */
export interface EventProcedure<Payload> {
  /** libvirt's name, without the prefix VIR_DOMAIN_EVENT_ID_, or REMOTE_PROC_ for events of other objects. */
  readonly name: string;
  /** The number of the message in the program "remote". */
  readonly number: number;
  /** What registers for it. */
  readonly registration: Registration;
  /** What to register for (virDomainEventID, or virNetworkEventID and so on). */
  readonly eventId: number;
  readonly payload: Codec<Payload>;
}

/** Declares a call of the program "remote". */
export function defineProcedure<A extends Fields, R extends Fields>(
  name: string,
  number: number,
  args: A,
  result: R,
): Procedure<StructOf<A>, StructOf<R>> {
  const hasPriority = withPriority.has(name);
  return { name, program: Program.Remote, number, hasPriority, args: struct(args), result: struct(result) };
}

/** Declares a call of the program "qemu". */
export function defineQemuProcedure<A extends Fields, R extends Fields>(
  name: string,
  number: number,
  args: A,
  result: R,
): Procedure<StructOf<A>, StructOf<R>> {
  const program = Program.Qemu;
  return { name, program, number, hasPriority: false, args: struct(args), result: struct(result) };
}

/** Declares an event of the program "remote". */
export function defineEvent<P extends Fields>(
  registration: Registration,
  name: string,
  number: number,
  eventId: number,
  payload: P,
): EventProcedure<StructOf<P>> {
  return { registration, name, number, eventId, payload: struct(payload) };
}
