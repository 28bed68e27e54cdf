/**
 * Whether healthy machines suffer from others: how soon a restart that is requested reaches its guest before and while
 * one machine or more beside them hang, another process's daemon hangs, or one namespace requests restarts of all its
 * machines at once. A real API server, real libvirtds with their test driver, and a proxy that keeps what is asked about
 * those machines back. A process has one hypervisor, so one that hangs is another process's. Both are measured by turns,
 * some machines at a time, as the machine on which it runs may have other work. What is told is the time from a request
 * on, and that from when the API server tells of it: a flood keeps the API server busy as well.
 *
 *     npm run bench:hung -- --guests 200 --rounds 2 --flood 2000
 *     npm run bench:hung -- --against ../warmboot-before --only hung --hung 7
 */
import { parseArgs } from "node:util";
import { startControllerOf } from "../support/controller.ts";
import { startLibvirtd } from "../support/libvirtd.ts";
import { startLibvirtProxy, type LibvirtMessage } from "../support/proxies/libvirt-proxy.ts";
import { toStderr } from "../support/report.ts";
import { Fleet, type Machine, type Reaction } from "./fleet.ts";
import { machine } from "./machine.ts";
import { quantile, table } from "./numbers.ts";

const { values } = parseArgs({
  options: {
    guests: { type: "string", default: "200" },
    rounds: { type: "string", default: "2" },
    hung: { type: "string", default: "1" },
    flood: { type: "string", default: "2000" },
    against: { type: "string" },
    only: { type: "string" },
  },
});
const measuredOn = machine();
const rounds = Number(values.rounds);
/** How many healthy machines are restarted in a turn. */
const turn = 25;
/** How many of them at once: a flood is soon over. */
const atOnce = 4;
const directories = [".", ...(values.against === undefined ? [] : [values.against])];

const numbered = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index + 1}`);

await using fleet = await Fleet.start();
const { api, libvirtd, kubeconfig } = fleet.installation;
await using proxy = await startLibvirtProxy(libvirtd.socket);
await using other = await startLibvirtd();
for (const namespace of ["flood", "elsewhere"]) await api.kubectl("create", "namespace", namespace);
const healthy = await fleet.add("default", numbered("healthy", Number(values.guests)));
const hung = await fleet.add("default", numbered("hung", Number(values.hung)));
const isFlooded = values.only === undefined || values.only === "flood";
const flood = isFlooded ? await fleet.add("flood", numbered("flood", Number(values.flood))) : [];

/** Restarts healthy machines, at most until what else happens is over. */
type Restarts = (isOver?: () => boolean) => Promise<void>;

/** What happens beside the healthy machines while `during` runs. */
const situations: Readonly<Record<string, (directory: string, during: Restarts) => Promise<void>>> = {
  hung: whileSomeHang,
  daemon: whileAnotherDaemonHangs,
  flood: whileOneNamespaceFloods,
};

const rows: string[][] = [];
const ratios: string[] = [];
for (const [situation, happens] of Object.entries(situations)) {
  if (values.only !== undefined && values.only !== situation) continue;
  for (const directory of directories) await compare(situation, directory, happens);
}
const head = ["", "p50, ms", "p95", "p99", "most", "restarts"];
console.log([...measuredOn, ...table([head, ...rows]), ...ratios].join("\n"));

async function compare(
  situation: string,
  directory: string,
  happens: (directory: string, during: Restarts) => Promise<void>,
): Promise<void> {
  const before: Reaction[] = [];
  const during: Reaction[] = [];
  const args = ["--connect", proxy.uri, ...(situation === "daemon" ? ["--namespace", "default"] : [])];
  await using controller = startControllerOf(directory, kubeconfig, ...args);
  await controller.logged(({ msg }) => msg === "ready");
  await fleet.taken([...healthy, ...(situation === "daemon" ? [] : flood)]);
  await restart(healthy.slice(0, turn), []);
  // A flood and another process take long to begin and to end.
  const turns = situation === "hung" ? Math.ceil(healthy.length / turn) : 1;
  const size = Math.ceil(healthy.length / turns);
  for (let round = 1; round <= rounds; round += 1) {
    toStderr(`${situation}, round ${round} of ${rounds}: ${directory}`);
    for (let from = 0; from < healthy.length; from += size) {
      const some = healthy.slice(from, from + size);
      await restart(some, before);
      await happens(directory, (isOver) => restart(some, during, isOver));
    }
  }
  const what = situation === "hung" ? `${hung.length} hung` : situation;
  const name = directory === "." ? what : `${what}, ${directory}`;
  const sides = [
    ["since the request", "sinceRequestMs"],
    ["since the API server told", "sinceToldMs"],
  ] as const;
  for (const [since, field] of sides) {
    const beforeMs = before.map((reaction) => reaction[field]);
    const duringMs = during.map((reaction) => reaction[field]);
    rows.push(row(`${name}, ${since}: before`, beforeMs), row("during", duringMs));
    const ratio = (share: number) => (quantile(duringMs, share) / quantile(beforeMs, share)).toFixed(2);
    ratios.push(
      `ratio, ${name}, ${since}, during to before: p50 ${ratio(0.5)}, p95 ${ratio(0.95)}, p99 ${ratio(0.99)}`,
    );
  }
}

/** Each of those at once takes the next machine when it is done. */
async function restart(
  machines: readonly Machine[],
  reactions: Reaction[],
  isOver: () => boolean = () => false,
): Promise<void> {
  const left = machines.values();
  const oneByOne = async () => {
    for (const one of left) {
      if (isOver()) return;
      reactions.push(await fleet.reaction(one));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, oneByOne));
}

function row(name: string, reactionsMs: readonly number[]): string[] {
  const shares = [0.5, 0.95, 0.99, 1].map((share) => quantile(reactionsMs, share).toFixed(1));
  return [name, ...shares, reactionsMs.length.toFixed(0)];
}

/** Neither looks at these machines nor effects on them are answered; restarts of them are requested all the same. */
async function whileSomeHang(_directory: string, during: Restarts): Promise<void> {
  const over = Promise.withResolvers<void>();
  const asked = hung.map((one) => {
    const uuid = Buffer.from(one.dom.uuid.replaceAll("-", ""), "hex");
    const isAboutIt = ({ from, payload }: LibvirtMessage) => from === "Client" && payload.includes(uuid);
    proxy.faults.always(isAboutIt, { kind: "Hold", until: over.promise });
    return proxy.faults.next(isAboutIt);
  });
  await Promise.all(hung.map((one) => fleet.request(one)));
  // All of them, as far as the controller asks about that many.
  await asked[0];
  await during();
  proxy.faults.heal();
  over.resolve();
  await fleet.served(hung);
}

/** The daemon of another process stands still; what it was asked before goes unanswered. */
async function whileAnotherDaemonHangs(directory: string, during: Restarts): Promise<void> {
  const args = ["--connect", other.uri("test"), "--namespace", "elsewhere"];
  await using controller = startControllerOf(directory, kubeconfig, ...args);
  await controller.logged(({ msg }) => msg === "ready");
  await other.signal("STOP");
  await during();
  await other.signal("CONT");
}

/** All machines of one namespace are to be restarted at once: healthy ones are, until all of these are done. */
async function whileOneNamespaceFloods(_directory: string, during: Restarts): Promise<void> {
  const requested = fleet.requestAll(flood);
  // They have begun.
  await fleet.until(() => flood.some((one) => one.generation > 0 && fleet.isServed(one)));
  await during(() => flood.every((one) => fleet.isServed(one)));
  await requested;
  await fleet.served(flood);
}
