import { channel } from "node:diagnostics_channel";
import { CallTimeoutError, ConnectionError, LibvirtError, ProtocolError } from "../errors.ts";
import type { Aftermath } from "../errors.ts";
import { MessageStatus, MessageType, encodeFrame } from "../protocol/frame.ts";
import type { Frame } from "../protocol/frame.ts";
import { PROGRAM_VERSION } from "../protocol/procedure.ts";
import type { Procedure } from "../protocol/procedure.ts";
import { procedures } from "../protocol/procedures.ts";
import { remoteError } from "../protocol/types.ts";
import type { Codec } from "../xdr/codec.ts";
import { decodeWhole } from "../xdr/decode.ts";
import type { Waiter, Workers } from "./workers.ts";

/** How long a call may take, and how to give it up. */
export interface CallOptions {
  /** Deadline from the call to its result, waiting for its turn included, in milliseconds. Default 30000. */
  readonly timeoutMs?: number | undefined;
  /** Gives the call up: it rejects with the signal's reason. A call that was sent may still be carried out. */
  readonly signal?: AbortSignal;
}

/** The deadline of a call that states none, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 30_000;

/** setTimeout takes a longer delay for 1 ms. */
const LONGEST_TIMEOUT_MS = 0x7fff_ffff;

/**
 * Tells of each step of each call, as `{ procedure, step }`, whoever subscribes to it by `node:diagnostics_channel`:
 * "begin" before it waits for its turn, "sent" once its bytes have been handed to the socket, "reply" before whoever
 * waits for it learns of its reply. Costs nothing where nobody does.
 */
const steps = channel("libvirt:call");

interface Call {
  readonly name: string;
  readonly program: number;
  readonly procedure: number;
  readonly serial: number;
  readonly frame: Buffer;
  readonly result: Codec<unknown>;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  /** `Abandoned`: nobody waits any more, but the daemon may still have it. */
  status: "Waiting" | "Sent" | "Abandoned";
  /** What has become of it since it was abandoned. */
  readonly aftermath: PromiseWithResolvers<Aftermath>;
  readonly hasPriority: boolean;
  /** Whether it takes a worker before it is sent. */
  readonly needsWorker: boolean;
}

/**
 * The calls of one connection: a few in flight, the others in a queue, each with a deadline. One that waits for a worker
 * of the daemon may be overtaken, and a question for one waits in no queue.
 *
 * A call that was sent keeps its place until its reply comes, even when nobody waits for it any more: the daemon
 * still holds it, and stops reading the socket when it holds too many.
 */
export class Calls {
  readonly #maxInFlight: number;
  readonly #write: (frame: Buffer) => void;
  readonly #workers: Workers | undefined;
  readonly #waiting = new Set<Call>();
  readonly #inFlight = new Map<number, Call>();
  readonly #waiter: Waiter = { retry: () => this.#sendNext(), ask: () => this.#askForWorker() };
  #lastSerial = 0;

  /** `workers` are those that its calls share with other connections to the daemon. */
  constructor(maxInFlight: number, write: (frame: Buffer) => void, workers?: Workers) {
    this.#maxInFlight = maxInFlight;
    this.#write = write;
    this.#workers = workers;
  }

  /**
   * Makes a call as soon as it is its turn; one that needs a worker, as soon as there is one for it. Rejects with
   * LibvirtError, CallTimeoutError, ConnectionError, the signal's reason, or TypeError and RangeError for arguments that
   * cannot be sent.
   */
  async add<A, R>(
    procedure: Procedure<A, R>,
    args: NoInfer<A>,
    options: CallOptions = {},
    { needsWorker = false } = {},
  ): Promise<R> {
    options.signal?.throwIfAborted();
    const { promise, ...settling } = Promise.withResolvers<unknown>();
    const call = this.#prepare(procedure, args, settling, needsWorker);
    tell(call, "begin");
    this.#waiting.add(call);
    this.#sendNext();
    return (await this.#withDeadline(call, promise, options)) as R;
  }

  /** Takes a reply. Throws ProtocolError when it answers nothing that was asked. */
  reply(frame: Frame): void {
    const call = this.#inFlight.get(frame.serial);
    if (call === undefined) {
      throw new ProtocolError(`a reply has the serial ${frame.serial}, which no call has`);
    }
    checkReply(frame, call);
    tell(call, "reply");
    this.#inFlight.delete(frame.serial);
    if (call.status === "Sent") {
      settle(call, frame);
    }
    call.aftermath.resolve("Answered");
    if (call.needsWorker) this.#workers?.leave(call, "Answered");
    this.#sendNext();
  }

  /** Ends all calls because the connection has ended. */
  fail(error: ConnectionError): void {
    const sent = [...this.#inFlight.values()];
    const calls = [...sent, ...this.#waiting];
    this.#inFlight.clear();
    this.#waiting.clear();
    this.#workers?.forget(this.#waiter);
    for (const call of sent) if (call.needsWorker) this.#workers?.leave(call, "Lost");
    for (const call of calls) {
      call.reject(
        new ConnectionError(error.kind, `${call.name}: ${error.message}`, {
          cause: error,
          sent: call.status === "Sent",
        }),
      );
      call.aftermath.resolve("Lost");
    }
  }

  async #withDeadline(call: Call, promise: Promise<unknown>, options: CallOptions): Promise<unknown> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
    const timer = setTimeout(
      () => this.#abandon(call, timeoutOf(call, timeoutMs)),
      Math.min(timeoutMs, LONGEST_TIMEOUT_MS),
    );
    const abort = () => this.#abandon(call, signal?.reason);
    signal?.addEventListener("abort", abort);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  #abandon(call: Call, reason: unknown): void {
    this.#waiting.delete(call);
    call.status = "Abandoned";
    call.reject(reason);
    this.#sendNext();
  }

  #sendNext(): void {
    let lacksWorker = false;
    let hadTurn = false;
    for (const call of this.#waiting) {
      if (this.#inFlight.size >= this.#maxInFlight) {
        break;
      }
      // One that must wait for a worker keeps up none that need not.
      if (call.needsWorker && this.#workers?.take(call) === false) {
        lacksWorker = true;
      } else {
        this.#waiting.delete(call);
        this.#send(call);
        hadTurn ||= !call.hasPriority;
      }
    }
    // A question takes a place as well.
    const waits = lacksWorker && this.#inFlight.size < this.#maxInFlight;
    if (!waits || hadTurn) this.#workers?.forget(this.#waiter);
    if (waits) this.#workers?.wait(this.#waiter);
  }

  /** Any answer will do, and a refusal too. */
  async #askForWorker(): Promise<Aftermath> {
    const nobody = { resolve: () => {}, reject: () => {} };
    const args = { nparams: 0, flags: 0 };
    const question = this.#prepare(procedures.nodeGetMemoryParameters, args, nobody, false);
    tell(question, "begin");
    this.#send(question);
    return question.aftermath.promise;
  }

  #prepare<A, R>(
    procedure: Procedure<A, R>,
    args: NoInfer<A>,
    { resolve, reject }: Pick<Call, "resolve" | "reject">,
    needsWorker: boolean,
  ): Call {
    const serial = this.#nextSerial();
    return {
      name: procedure.name,
      program: procedure.program,
      procedure: procedure.number,
      serial,
      frame: encodeCall(procedure, args, serial),
      result: procedure.result,
      resolve,
      reject,
      status: "Waiting",
      aftermath: Promise.withResolvers<Aftermath>(),
      hasPriority: procedure.hasPriority,
      needsWorker,
    };
  }

  #send(call: Call): void {
    this.#inFlight.set(call.serial, call);
    call.status = "Sent";
    this.#write(call.frame);
    tell(call, "sent");
  }

  #nextSerial(): number {
    do {
      this.#lastSerial = (this.#lastSerial + 1) >>> 0;
      // Serial 0 belongs to events; one that is in flight is taken when the counter has gone round.
    } while (this.#lastSerial === 0 || this.#inFlight.has(this.#lastSerial));
    return this.#lastSerial;
  }
}

function timeoutOf({ name, status, aftermath }: Call, timeoutMs: number): CallTimeoutError {
  return new CallTimeoutError(name, timeoutMs, status === "Sent" ? aftermath.promise : undefined);
}

function tell({ name }: Call, step: "begin" | "sent" | "reply"): void {
  if (steps.hasSubscribers) steps.publish({ procedure: name, step });
}

function encodeCall<A, R>(procedure: Procedure<A, R>, args: A, serial: number): Buffer {
  const header = {
    program: procedure.program,
    version: PROGRAM_VERSION,
    procedure: procedure.number,
    type: MessageType.Call,
    serial,
    status: MessageStatus.Ok,
  };
  return encodeFrame(header, (to) => procedure.args.encode(to, args));
}

function checkReply(frame: Frame, call: Call): void {
  if (frame.program !== call.program || frame.procedure !== call.procedure) {
    throw new ProtocolError(
      `the reply to ${call.name} names program ${frame.program} and procedure ${frame.procedure}`,
    );
  }
  if (frame.status !== MessageStatus.Ok && frame.status !== MessageStatus.Error) {
    throw new ProtocolError(`the reply to ${call.name} has the status ${frame.status}, which no reply has`);
  }
}

/** An undecodable reply fails this call alone: where the next message begins is known all the same. */
function settle(call: Call, frame: Frame): void {
  try {
    if (frame.status === MessageStatus.Ok) {
      call.resolve(decodeWhole(call.result, frame.payload));
      return;
    }
    const { code, domain, message, int1 } = decodeWhole(remoteError, frame.payload);
    call.reject(new LibvirtError(call.name, code, domain, message, int1));
  } catch (cause) {
    call.reject(
      new ConnectionError("Protocol", `the reply to ${call.name} cannot be read: ${messageOf(cause)}`, {
        cause,
        sent: true,
      }),
    );
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
