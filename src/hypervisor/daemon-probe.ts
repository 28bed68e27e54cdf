import { LibvirtError, procedures } from "libvirt";
import type { Caller } from "./caller.ts";

/**
 * Tells a daemon that hangs from one that only does not answer about a domain: by a call that needs nothing but one of
 * the workers that most other calls need, too.
 */
export class DaemonProbe {
  readonly #session: Caller;
  #isAsking = false;
  #isWantedAgain = false;
  /** When the last question was asked that was answered, in milliseconds since 1970. */
  #lastAnsweredMs = -Infinity;

  constructor(session: Caller) {
    this.#session = session;
  }

  /** Asks the daemon, once it has answered what it is being asked. */
  ask(): void {
    if (this.#isAsking) this.#isWantedAgain = true;
    else void this.#ask();
  }

  /** Whether the daemon has answered what it was asked after this moment, in milliseconds since 1970. */
  hasAnsweredSince(epochMs: number): boolean {
    return this.#lastAnsweredMs > epochMs;
  }

  async #ask(): Promise<void> {
    this.#isAsking = true;
    const askedAtMs = Date.now();
    if (await this.#isAnswered()) this.#lastAnsweredMs = askedAtMs;
    this.#isAsking = false;
    if (!this.#isWantedAgain) return;
    this.#isWantedAgain = false;
    this.ask();
  }

  /** Without an answer nothing is known: whoever wants to know asks again. */
  async #isAnswered(): Promise<boolean> {
    const args = { nparams: 0, flags: 0 };
    try {
      await this.#session.call(procedures.nodeGetMemoryParameters, args, { waitsFor: "Daemon" });
      return true;
    } catch (error) {
      // A driver may know no such call.
      return error instanceof LibvirtError;
    }
  }
}
