import { Random } from "../simulation/random.ts";
import { Replies, runConversation } from "./conversation.ts";
import { HostileDaemon } from "./hostile-daemon.ts";
import { madeMessages } from "./protocol.ts";
import { runAgent, runDomainXml, runMark, runXml } from "./texts.ts";
import { readTraffic } from "./traffic.ts";
import { runWire } from "./wire.ts";

/** How many of a million seeds damage what; all others damage a message on its way into the decoders. */
const perMillion = { conversation: 3000, agent: 10_000, mark: 10_000, domainXml: 8000, xml: 8000 };

/** Damages what comes from outside, one piece for each seed: the same seed damages the same in the same way. */
export class Fuzzer implements AsyncDisposable {
  readonly #traffic = readTraffic();
  readonly #messages = [...this.#traffic.messages, ...madeMessages()];
  readonly #replies = new Replies(this.#messages);
  readonly #daemon = new HostileDaemon();
  readonly #only: number | undefined;

  private constructor(only: number | undefined) {
    this.#only = only;
  }

  /** With `only`, no other message than this one of those recorded and made is damaged, and nothing else. */
  static async start(only?: number): Promise<Fuzzer> {
    const fuzzer = new Fuzzer(only);
    if (only !== undefined && fuzzer.#messages[only] === undefined)
      throw new Error(
        `there is no message ${only}: they are numbered from 0 to ${fuzzer.#messages.length - 1}`,
      );
    await fuzzer.#daemon.start();
    return fuzzer;
  }

  /** Damages one piece; answers what came of it, and throws where that must not be. */
  run(seed: number): string | Promise<string> {
    const random = new Random(seed);
    const kind = random.below(1_000_000);
    const index = random.below(this.#messages.length);
    const { domainXmls, marks, agentAnswers } = this.#traffic;
    let share = this.#only === undefined ? 0 : Number.NEGATIVE_INFINITY;
    if (kind < (share += perMillion.conversation))
      return runConversation(this.#daemon, this.#replies, random);
    if (kind < (share += perMillion.agent)) return runAgent(random, agentAnswers);
    if (kind < (share += perMillion.mark)) return runMark(random, marks);
    if (kind < (share += perMillion.domainXml)) return runDomainXml(random, domainXmls);
    if (kind < (share += perMillion.xml)) return runXml(random, domainXmls);
    const message = this.#messages[this.#only ?? index];
    return runWire(message ?? Buffer.alloc(0), random, this.#messages);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon[Symbol.asyncDispose]();
  }
}
