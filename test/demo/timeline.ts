import { Session } from "libvirt";
import type { ControllerProcess, LogLine } from "../support/controller.ts";
import { dim, duration, say } from "./screen.ts";

/** One restart as it was seen, in milliseconds since it was requested. */
export interface Seen {
  /** The controller's own measure: how long the guest was known to be off when its start was asked for. */
  offForMs?: number;
  /** When the guest was first asked to shut down. */
  signalledMs?: number;
  /** What libvirt told the demo itself. */
  stoppedMs?: number;
  startedMs?: number;
}

/**
 * Prints what happens to each machine as it happens: what the controller says it does, and beside it what
 * libvirt tells the demo on a connection of its own.
 */
export class Timeline implements AsyncDisposable {
  readonly #seen = new Map<string, Seen & { requestedAtMs: number }>();
  readonly #session: Session;

  constructor(controller: ControllerProcess, libvirtUri: string) {
    controller.follow((line) => this.#logged(line));
    this.#session = new Session(libvirtUri, {
      listener: (event) => {
        if (event.type === "Lifecycle")
          this.#happened(event.domain.name, event.event, event.detail, event.receivedAtMs);
      },
    });
    this.#session.start();
  }

  /** Time zero of a machine. */
  requested(name: string, how: string): void {
    this.#seen.set(name, { requestedAtMs: performance.now() });
    this.#print(name, "you", how);
  }

  /** What was seen of a machine's restart. */
  seen(name: string): Seen {
    return this.#seen.get(name) ?? {};
  }

  /** Adds what the guest was seen to do. */
  note(name: string, text: string): void {
    this.#print(name, "guest", text);
  }

  /** Adds what the status says. */
  told(name: string, text: string): void {
    this.#print(name, "warmboot", text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session.close();
  }

  #logged(line: LogLine): void {
    const seen = this.#seen.get(line.name ?? "");
    if (line.name === undefined || seen === undefined || line.attempt === undefined) return;
    if (line.offForMs !== undefined) seen.offForMs = line.offForMs;
    if (line.effect === "Shutdown" && line.outcome !== undefined) {
      seen.signalledMs ??= performance.now() - seen.requestedAtMs;
    }
    const text = describe(line);
    if (text !== undefined) this.#print(line.name, "warmboot", text);
  }

  #happened(name: string, event: string, detail: string, atMs: number): void {
    const seen = this.#seen.get(name);
    if (seen === undefined) return;
    if (event === "Stopped") seen.stoppedMs = atMs - seen.requestedAtMs;
    if (event === "Started") seen.startedMs = atMs - seen.requestedAtMs;
    if (["Stopped", "Started", "Shutdown"].includes(event))
      this.#print(name, "libvirt", `event ${event}, ${detail}`);
  }

  #print(name: string, who: string, text: string): void {
    const seconds = (performance.now() - (this.#seen.get(name)?.requestedAtMs ?? 0)) / 1000;
    say(`${dim(`  +${seconds.toFixed(3).padStart(6)} s`)}  ${name.padEnd(10)} ${who.padEnd(9)} ${text}`);
  }
}

/** A line of the controller's log in the timeline's words; undefined for one that says nothing new. */
function describe(line: LogLine): string | undefined {
  if (line.result !== undefined) {
    const downtime = line.downtimeMs === undefined ? "" : `, down for ${duration(line.downtimeMs)}`;
    return `${line.result}: ${line.method}${downtime}; evidence ${line.evidence?.join(", ")}`;
  }
  if (line.outcome === undefined)
    return line.stage === "PoweringOff" ? `PoweringOff: ${line.msg}` : undefined;
  const took = line.tookMs === undefined ? "" : ` (took ${duration(line.tookMs)})`;
  const reaction =
    line.offForMs === undefined ? "" : `, asked for ${duration(line.offForMs)} after the guest was off`;
  return `${line.msg}${took}${reaction}`;
}
