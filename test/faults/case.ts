import { mkdirSync, readFileSync, watch } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CreateFlag, DefineFlag, procedures } from "libvirt";
import type { VirtualMachine } from "../../crds/virtual-machine.ts";
import { failpointFiles } from "../../src/failpoints.ts";
import type { ApiServer } from "../support/apiserver.ts";
import { launchController, type ControllerProcess } from "../support/controller.ts";
import { armDirectory, isReached, type AtHand, type Injection } from "./injection.ts";
import { isNewBootEnded, judge, startDelayMs, type Account, type Fault } from "./account.ts";
import type { Path } from "./paths.ts";
import type { Passage, Passages } from "./points.ts";
import type { Place } from "./place.ts";

/** At which passage of a point what happens; without it, the process lists those that it makes. */
export interface Blow {
  passage: Passage;
  injection: Injection;
}

/** What all cases share. */
export interface Parts {
  api: ApiServer;
  /** The controller's own. */
  kubeconfig: string;
}

/** How a case went. */
export interface Outcome {
  /** Whether a process came to the point. */
  struck: boolean;
  faults: [Fault, string][];
  startDelayMs: number | undefined;
  /** Without a blow: each passage of a point, in order. */
  passages: Passages;
  account: Account;
  /** What the processes have logged, for a report. */
  logs: string[];
}

/** Far longer than any path takes, also on a busy machine and with the longest stop. */
const withinMs = 180_000;

let cases = 0;

/** Takes a machine through a path once. What happens at the point happens once; a process that dies of it is followed by another. */
export async function performCase(
  parts: Parts,
  place: Place,
  path: Path,
  blow: Blow | undefined,
): Promise<Outcome> {
  const { resources, namespace } = place;
  const witness = place.witness(path.driver);
  cases += 1;
  const name = `${path.name}-${cases}`;
  await defineDomain(place, path, name);
  const key = await resources.create(namespace, name, path.spec);
  const signal = AbortSignal.timeout(withinMs);
  const keeper = new Keeper({ ...parts, place, path, name, key, blow, signal });
  try {
    await resources.until(key, ({ status }) => status.observedRestartGeneration !== undefined, signal);
    await path.disturb?.(name, place);
    if (blow?.injection.needsBackup === true) keeper.backup = await parts.api.backUp();
    const beforeRequest = keeper.passages().length;
    const requestedAtMs = performance.now();
    await keeper.request();
    const isServed = (await keeper.served()) !== undefined;
    if (isServed && path.afterwards !== undefined) {
      await path.afterwards.happens(name, place);
      await resources.until(key, path.afterwards.until, signal);
    }
    await keeper.calm();
    const runs = async () => (await witness.find(name))?.id !== undefined;
    // A guest that the fault ended after the request's result is told of as soon as the controller has heard.
    const isToldOf = async ({ status }: VirtualMachine) =>
      (status.domain?.id !== undefined) === (await runs());
    const isAtRest =
      isServed &&
      (await resources.comesTo(key, async (now) => isSettled(now) && (await isToldOf(now)), signal));
    await keeper.end(isServed);
    const seen = { requestedAtMs, heard: [...witness.heard(name)], bootEndedAtMs: keeper.bootEndedAtMs };
    const tellsBoots = isServed && !isNewBootEnded(seen);
    const account: Account = {
      ...seen,
      resource: await resources.read(key),
      results: blow?.injection.needsBackup === true ? undefined : resources.results(key),
      isServed,
      isAtRest,
      // One that did not come up has told of no boot in time.
      boots: tellsBoots ? await path.boots?.(name, place).catch(() => []) : undefined,
      runs: await runs(),
      readyAgainAtMs: keeper.readyAgainAtMs,
      isMethodLost:
        keeper.isMethodLost ||
        (blow?.injection.needsBackup === true && blow.injection.endsController === true),
    };
    return {
      struck: keeper.struck,
      faults: judge(account, path),
      startDelayMs: path.startsAtOnce ? startDelayMs(account) : undefined,
      passages: { all: keeper.passages(), beforeRequest },
      account,
      logs: keeper.logs(),
    };
  } finally {
    await keeper.end(false);
    await resources.delete(namespace, name);
    await place.clear(path.driver);
    await path.cleanUp?.(name, place);
  }
}

/** The request has ended, nothing is under way, and the status is about the newest spec. */
function isSettled({ metadata, status }: VirtualMachine): boolean {
  return (
    status.observedRestartGeneration === 1 &&
    status.observedGeneration === metadata.generation &&
    status.attempt === undefined &&
    status.conditions?.some(({ type }) => type === "Reconciling") === false
  );
}

async function defineDomain(place: Place, { driver, xml, runs, ready }: Path, name: string): Promise<void> {
  const { session } = place.witness(driver);
  const args = { xml: await xml(name, place), flags: DefineFlag.None };
  const { dom } = await session.call(procedures.domainDefineXmlFlags, args);
  if (runs) await session.call(procedures.domainCreateWithFlags, { dom, flags: CreateFlag.None });
  await ready?.(name, place);
}

function virshOf({ libvirtd }: Place, { driver }: Path): (...args: string[]) => Promise<string> {
  return (...args) => (driver === "test" ? libvirtd.virshTest(...args) : libvirtd.virsh(...args));
}

/** What a keeper is made with. */
interface Keeping extends Parts {
  place: Place;
  path: Path;
  name: string;
  key: string;
  blow: Blow | undefined;
  /** Aborts when the case's time is up. */
  signal: AbortSignal;
}

/** Keeps a controller running: the first one has the failpoint, and whatever comes after it has none. */
class Keeper {
  readonly #keeping: Keeping;
  readonly #directory: string;
  readonly #all: ControllerProcess[] = [];
  #current: ControllerProcess;
  #meanwhile: Promise<void> | undefined;
  readyAgainAtMs: number | undefined;
  /** When the fault ended the guest's boot, if it did. */
  bootEndedAtMs: number | undefined;
  /** Whether a process died while only it knew of the restart but for the domain's marks. */
  isMethodLost = false;
  /** Where the backup from before the request is. */
  backup = "";

  constructor(keeping: Keeping) {
    this.#keeping = keeping;
    const { place, name, blow } = keeping;
    this.#directory = join(place.libvirtd.directory, name);
    mkdirSync(this.#directory);
    armDirectory(this.#directory);
    const watcher = watch(this.#directory, () => this.#strike());
    this.#current = this.#launch({
      WARMBOOT_FAILPOINT: blow === undefined ? "=list" : `${blow.passage}=${blow.injection.verb}`,
      WARMBOOT_FAILPOINT_DIRECTORY: this.#directory,
    });
    void this.#follow().finally(() => watcher.close());
  }

  /** Whether a process came to the point. */
  get struck(): boolean {
    return isReached(this.#directory);
  }

  /** Ends the controller that runs now, once it has nothing to do for the machine, and whoever follows it. */
  async end(onceAtRest: boolean): Promise<void> {
    for (;;) {
      const current = this.#current;
      // One that dies before is followed by another.
      if (onceAtRest) await this.#atRest(current).catch(() => {});
      await current.stop();
      await this.#meanwhile;
      if (current === this.#current) return;
    }
  }

  passages(): Passage[] {
    try {
      return readFileSync(join(this.#directory, failpointFiles.passed), "utf8").trim().split("\n");
    } catch {
      return [];
    }
  }

  logs(): string[] {
    return this.#all.flatMap(({ pid, lines }) => lines.map((line) => `${pid} ${JSON.stringify(line)}`));
  }

  /** The first time that the process is at its point: a process that dies there needs no help. */
  #strike(): void {
    const { blow, api, place, path, name } = this.#keeping;
    if (this.#meanwhile !== undefined || !this.struck || blow === undefined) return;
    const { injection } = blow;
    const { verb } = injection;
    if (verb === "kill") return;
    const { pid } = this.#current;
    const parts: AtHand = {
      api,
      libvirtd: place.libvirtd,
      virsh: virshOf(place, path),
      name,
      controllerPid: pid,
      backup: this.backup,
      request: () => this.request(),
      served: () => this.served(),
    };
    this.#meanwhile = (async () => {
      const undo = await injection.meanwhile?.(parts);
      if (injection.endsBoot === true) this.bootEndedAtMs = performance.now();
      if (verb === "stop") process.kill(pid, "SIGCONT");
      // A process that is gone opens no FIFO.
      else if (injection.endsController !== true)
        await writeFile(join(this.#directory, failpointFiles.go), "");
      // The time itself is the fault: nothing tells of its end.
      if (injection.lastsMs !== undefined) await delay(injection.lastsMs);
      if (typeof undo === "function") await undo();
      await injection.afterwards?.(parts);
    })();
  }

  /** Requests a restart, or does so again where that has been forgotten. */
  async request(): Promise<void> {
    const { place, path, name } = this.#keeping;
    const spec = { ...path.requestSpec?.(name), restartGeneration: 1 };
    await place.resources.changeSpec(place.namespace, name, spec);
  }

  /** Resolves once the request is served; to undefined where that takes too long. */
  async served(): Promise<VirtualMachine | undefined> {
    const { place, key, signal } = this.#keeping;
    return place.resources.until(key, ({ status }) => status.observedRestartGeneration === 1, signal);
  }

  /** Resolves once the fault is over, if one has begun. */
  async calm(): Promise<void> {
    await this.#meanwhile;
  }

  async #follow(): Promise<void> {
    if ((await this.#current.ended) !== "SIGKILL") return;
    // Nothing is waited for here: who ends the keeper must find the next process, or it works on beside the next case.
    const { place, key } = this.#keeping;
    this.isMethodLost = place.resources.get(key)?.status.attempt === undefined;
    const next = this.#launch({});
    this.#current = next;
    await next.logged(({ msg }) => msg === "ready").catch(() => {});
    this.readyAgainAtMs = performance.now();
  }

  /** A decision to rest is told at level debug. */
  async #atRest(controller: ControllerProcess): Promise<void> {
    const { name: machine } = this.#keeping;
    await controller.logged(({ msg, name }) => name === machine && msg === "nothing is requested");
  }

  #launch(env: Record<string, string>): ControllerProcess {
    const { place, path, kubeconfig } = this.#keeping;
    const where = ["--connect", place.libvirtd.uri(path.driver), "--namespace", place.namespace];
    const controller = launchController(
      kubeconfig,
      [...where, "--allow-definitions", "--log-level", "debug"],
      env,
    );
    this.#all.push(controller);
    return controller;
  }
}
