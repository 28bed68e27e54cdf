import {
  CallTimeoutError,
  ConnectionError,
  LibvirtError,
  type Aftermath,
  type Procedure,
  type SessionCallOptions,
} from "libvirt";
import type { DomainReference } from "../../controller/ports.ts";
import type { Caller } from "./caller.ts";
import { DaemonProbe } from "./daemon-probe.ts";

/** libvirt answers a look within milliseconds, or holds the domain for something that hangs. */
const lookTimeoutMs = 5000;

/** What is answered within a second, as nearly all is, gives no reason to doubt the daemon. */
const secondMs = 1000;

/**
 * A call that was waited for so many seconds when its connection was lost may still hang in the daemon. A second in
 * which this process stood still is none of them: the daemon may have answered in it.
 */
const mayHangAfterSeconds = 5;

/**
 * After what time a domain is asked again whose call was lost with the connection: twice as long each time, as each one
 * may take a further one of the daemon's few workers.
 */
const firstRetryMs = 10_000;
const longestRetryMs = 600_000;

/**
 * The kinds of calls that have their turns apart, as one can be answered where another hangs. A look waits for the
 * domain's lock, an effect for a job on it or for its process too; a process that hangs is ended by cutting its power,
 * which needs neither of them; and the agent's calls wait for the guest.
 */
type Lane = "Look" | "Effect" | "Power" | "Agent";

/** What hangs where a call of a lane is not answered: calls of these lanes would hang with it. */
const hangWith: Readonly<Record<Lane, readonly Lane[]>> = {
  Look: ["Look"],
  Effect: ["Look", "Power", "Effect"],
  Power: ["Look", "Power"],
  Agent: ["Look", "Agent"],
};

/** libvirt does not answer a call about a domain. While that is so, it is not asked for what would hang with it. */
export class DomainHungError extends Error {
  /** The procedure that is not answered, such as "DOMAIN_GET_STATE". */
  readonly procedure: string;
  /** Whether it is this call that is not answered, and may still be carried out; false where an earlier one kept it from being sent. */
  readonly sent: boolean;
  /** Whether the daemon has answered nothing else either since then, so that it is not the domain that hangs. */
  readonly isDaemonSilent: boolean;

  constructor(
    { procedure, sinceMs, againMs }: Unanswered,
    { sent, isDaemonSilent }: { sent: boolean; isDaemonSilent: boolean },
  ) {
    const again =
      againMs === undefined
        ? "it is asked again when it has"
        : `the connection was lost meanwhile: it is asked again at ${timeOf(againMs)}`;
    super(`libvirt has not answered ${procedure} about this domain since ${timeOf(sinceMs)}; ${again}`);
    this.procedure = procedure;
    this.sent = sent;
    this.isDaemonSilent = isDaemonSilent;
  }
}

/** A call that nobody waits for any more. Times are milliseconds since 1970. */
interface Unanswered {
  readonly procedure: string;
  readonly sinceMs: number;
  /** When its domain is asked again, as its connection was lost: no answer will tell. */
  readonly againMs?: number;
}

interface Turn {
  /** Resolves when the call under way is over, or given up. */
  underWay?: Promise<void> | undefined;
  unanswered?: Unanswered | undefined;
  /** How many calls in a row were lost with their connections and may still hang. */
  lost: number;
  retry?: NodeJS.Timeout | undefined;
}

type Turns = Map<Lane, Turn>;

/**
 * The calls about domains, over a session: one at a time for each domain and lane, and none more until it is answered,
 * however long that takes. So a domain whose lock is held takes one of the daemon's workers, and one whose process hangs
 * another for what ends it.
 */
export class DomainTurns {
  readonly #session: Caller;
  readonly #daemon: DaemonProbe;
  readonly #answered: (domain: DomainReference) => void;
  /** Of the domains that are being asked, or hang. */
  readonly #domains = new Map<string, Turns>();

  /** `answered` is told which domain can be asked again. */
  constructor(session: Caller, answered: (domain: DomainReference) => void) {
    this.#session = session;
    this.#daemon = new DaemonProbe(session);
    this.#answered = answered;
  }

  /**
   * A caller for what concerns one domain. It rejects as Session.call does, with a DomainHungError
   * in place of the CallTimeoutError of a call that was sent.
   */
  of(domain: DomainReference): Caller {
    return {
      call: (procedure, args, options) => this.#call(domain, procedure, args, options ?? {}),
    };
  }

  /** libvirt has listed all domains, and so it holds none of them: what was lost of looks does not hang any more. */
  listed(): void {
    for (const turns of this.#domains.values()) {
      const look = turns.get("Look");
      if (look?.unanswered?.againMs !== undefined) forget(look);
    }
  }

  /** Nothing is asked again. */
  close(): void {
    for (const turns of this.#domains.values()) for (const { retry } of turns.values()) clearTimeout(retry);
  }

  async #call<A, R>(
    domain: DomainReference,
    procedure: Procedure<A, R>,
    args: NoInfer<A>,
    options: SessionCallOptions,
  ): Promise<R> {
    const lane = laneOf(options);
    let turn = this.#turnOf(domain, lane);
    // Somebody else may have been given the turn, and the domain may have been tidied up.
    while (turn.underWay !== undefined) {
      await turn.underWay;
      turn = this.#turnOf(domain, lane);
    }
    const over = Promise.withResolvers<void>();
    turn.underWay = over.promise;
    const call = { procedure: procedure.name, sinceMs: Date.now() };
    let waitedSeconds = 0;
    const wait = setInterval(() => {
      waitedSeconds += 1;
      if (waitedSeconds === 1) this.#daemon.ask();
    }, secondMs).unref();
    try {
      const timeoutMs = lane === "Look" ? lookTimeoutMs : undefined;
      const result = await this.#session.call(procedure, args, { timeoutMs, ...options });
      turn.lost = 0;
      return result;
    } catch (error) {
      throw this.#failed({ domain, lane, turn }, { ...call, waitedSeconds }, error);
    } finally {
      clearInterval(wait);
      turn.underWay = undefined;
      over.resolve();
      this.#tidyUp(domain);
    }
  }

  #failed(
    { domain, lane, turn }: { domain: DomainReference; lane: Lane; turn: Turn },
    { waitedSeconds, ...call }: Unanswered & { waitedSeconds: number },
    error: unknown,
  ): unknown {
    if (error instanceof CallTimeoutError && error.aftermath !== undefined) {
      turn.unanswered = call;
      void this.#watch({ domain, lane, turn }, call, error.aftermath);
      return this.#hung(call, { sent: true });
    }
    if (error instanceof ConnectionError) {
      if (error.sent && waitedSeconds >= mayHangAfterSeconds) this.#lost(domain, turn, call);
    } else if (error instanceof LibvirtError) turn.lost = 0;
    return error;
  }

  async #watch(
    { domain, lane, turn }: { domain: DomainReference; lane: Lane; turn: Turn },
    call: Unanswered,
    aftermath: Promise<Aftermath>,
  ): Promise<void> {
    if ((await aftermath) === "Lost") {
      this.#lost(domain, turn, call);
      return;
    }
    forget(turn);
    this.#tidyUp(domain);
    // An agent answers when its guest is off, which an event tells.
    if (lane !== "Agent") this.#answered(domain);
  }

  #lost(domain: DomainReference, turn: Turn, call: Unanswered): void {
    const delayMs = Math.min(firstRetryMs * 2 ** turn.lost, longestRetryMs);
    turn.lost += 1;
    turn.unanswered = { ...call, againMs: Date.now() + delayMs };
    turn.retry = setTimeout(() => {
      turn.unanswered = undefined;
      this.#answered(domain);
    }, delayMs).unref();
  }

  /** Throws a DomainHungError where what hangs keeps a call of this lane from being sent. */
  #turnOf(domain: DomainReference, lane: Lane): Turn {
    const key = keyOf(domain);
    const turns: Turns = this.#domains.get(key) ?? new Map();
    for (const other of hangWith[lane]) {
      const unanswered = turns.get(other)?.unanswered;
      if (unanswered !== undefined) throw this.#hung(unanswered, { sent: false });
    }
    const turn = turns.get(lane) ?? { lost: 0 };
    turns.set(lane, turn);
    this.#domains.set(key, turns);
    return turn;
  }

  #hung(call: Unanswered, { sent }: { sent: boolean }): DomainHungError {
    // A new connection was answered.
    const isDaemonSilent = call.againMs === undefined && !this.#daemon.hasAnsweredSince(call.sinceMs);
    if (isDaemonSilent) this.#daemon.ask();
    return new DomainHungError(call, { sent, isDaemonSilent });
  }

  /** There may be thousands of domains, of which few are asked anything now. */
  #tidyUp(domain: DomainReference): void {
    const isIdle = ({ underWay, unanswered, lost }: Turn) =>
      underWay === undefined && unanswered === undefined && lost === 0;
    const key = keyOf(domain);
    if ([...(this.#domains.get(key)?.values() ?? [])].every(isIdle)) this.#domains.delete(key);
  }
}

function forget(turn: Turn): void {
  clearTimeout(turn.retry);
  turn.unanswered = undefined;
  turn.lost = 0;
}

function keyOf(domain: DomainReference): string {
  return domain.kind === "UUID" ? domain.uuid : `name ${domain.name}`;
}

function laneOf({ waitsFor }: SessionCallOptions): Lane {
  switch (waitsFor) {
    case undefined:
    case "Daemon":
      return "Look";
    case "Power":
    case "Agent":
      return waitsFor;
    case "Domain":
    case "Storage":
    case "File":
      return "Effect";
    default:
      return waitsFor satisfies never;
  }
}

function timeOf(epochMs: number): string {
  return new Date(epochMs).toISOString().replace(/\.\d+/, "");
}
