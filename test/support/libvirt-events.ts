import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { inFile } from "./file-watch.ts";
import type { Driver, Libvirtd } from "./libvirtd.ts";
import { run } from "./run.ts";
import { supervise } from "./supervised.ts";

const WITHIN_MS = 30_000;

const LINE = /^(\S+ \S+): event '([^']+)' for domain '([^']+)'(?:: (.*))?$/;

/** One event, as virsh tells it: a witness that shares no code with our own client. */
export interface LibvirtEvent {
  /** When virsh received it. */
  readonly at: Date;
  /** Such as "lifecycle" or "reboot". */
  readonly event: string;
  readonly domain: string;
  /** Such as "Stopped Shutdown"; empty for events that have none. */
  readonly detail: string;
}

/** All events of a daemon since watchEvents resolved. */
export interface EventWatch extends AsyncDisposable {
  events(domain: string): Promise<LibvirtEvent[]>;
  /** Resolves to the nth event of a domain whose "event detail" is `what`, such as "lifecycle Stopped Shutdown". */
  until(domain: string, what: string, nth?: number): Promise<LibvirtEvent>;
  close(): Promise<void>;
}

const PROBE = "event-watch-probe";

/** Watches a daemon with `virsh event`; ends when the daemon does. */
export async function watchEvents(libvirtd: Libvirtd, driver: Driver = "qemu"): Promise<EventWatch> {
  const uri = libvirtd.uri(driver);
  const logFile = join(libvirtd.directory, `events-${driver}-${performance.now()}.log`);
  const watcher = await supervise({
    command: ["virsh", "-q", "-c", uri, "event", "--all", "--loop", "--timestamp"],
    logFile,
  });
  await watcher.start();
  await untilRegistered(uri, driver, logFile);
  const events = async (domain: string) => (await parse(logFile)).filter((event) => event.domain === domain);
  return {
    events,
    async until(domain, what, nth = 1) {
      const look = async () => {
        const all = await events(domain);
        return all.filter(({ event, detail }) => `${event} ${detail}`.trim() === what)[nth - 1];
      };
      return inFile(logFile, WITHIN_MS, look, async () => {
        const seen = (await events(domain)).map(({ event, detail }) => `${event} ${detail}`.trim());
        return `no event "${what}" number ${nth} of ${domain}, only [${seen.join(", ")}],`;
      });
    },
    close: () => watcher.close(),
    [Symbol.asyncDispose]: () => watcher.close(),
  };
}

/** virsh does not say when it has registered for events: make some until it shows one. */
async function untilRegistered(uri: string, driver: Driver, logFile: string): Promise<void> {
  const xml = `${logFile}.xml`;
  await writeFile(
    xml,
    `<domain type='${driver}'><name>${PROBE}</name><memory>1024</memory><os><type>hvm</type></os></domain>`,
  );
  do {
    await run("virsh", ["-q", "-c", uri, "define", xml]);
    await run("virsh", ["-q", "-c", uri, "undefine", PROBE]);
    await delay(5);
  } while ((await parse(logFile)).length === 0);
  await rm(xml);
}

async function parse(logFile: string): Promise<LibvirtEvent[]> {
  const text = await readFile(logFile, "utf8").catch(() => "");
  return text
    .split("\n")
    .slice(0, -1)
    .flatMap((line) => {
      const match = LINE.exec(line);
      if (!match) return [];
      const [, at = "", event = "", domain = "", detail = ""] = match;
      return [{ at: new Date(at.replace(" ", "T").replace(/\+0000$/, "Z")), event, domain, detail }];
    });
}
