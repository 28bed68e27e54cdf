import { procedures } from "libvirt";
import type { RestartMode, RestartRecord, RestartRequest } from "../../crds/restart.ts";
import {
  annotations,
  virtualMachineResource,
  type VirtualMachineStatus,
} from "../../crds/virtual-machine.ts";
import type { KubernetesClient } from "../../src/kubernetes/client.ts";
import { pause, systemClock } from "../../src/kubernetes/clock.ts";
import type { KubernetesObject } from "../../src/kubernetes/resource.ts";
import type { Fault } from "../faults/account.ts";
import type { Witness } from "../faults/place.ts";
import type { Random } from "../simulation/random.ts";
import { insist } from "../support/insist.ts";
import { guestReady } from "../support/serial-log.ts";
import type { RunningGuest } from "../support/start-guest.ts";
import { verdictOf } from "./verdict.ts";

/** The resource as the soak watches it. */
export interface Resource extends KubernetesObject {
  status?: VirtualMachineStatus;
}

/** What a machine is made with. */
export interface MachineOptions {
  namespace: string;
  name: string;
  client: KubernetesClient;
  witness: Witness;
  /** Fixes when it is requested, and how. */
  random: Random;
  /** The longest time from the end of a restart to the next request. */
  pauseMs: number;
  /** The guest behind the domain, where there is one. */
  guest?: RunningGuest | undefined;
  /** Whether the guest may leave a request to shut down unanswered. */
  isDeaf: boolean;
  /** Hears how each request was served. */
  told: (served: Served) => void;
}

/** How a request was served. */
export interface Served {
  machine: Machine;
  requestedAtEpochMs: number;
  /** Such as "Succeeded Soft", or "none" where there is no record. */
  result: string;
  faults: [Fault, string][];
  /** Everything that was heard since the request, in words. */
  heard: string[];
}

/** A request in flight, or one that has ended and whose aftermath still counts. */
interface Open {
  /** Whether it was by generation or by annotation, and the value. */
  request: Pick<RestartRequest, "restartGeneration" | "restartToken">;
  mode: RestartMode;
  requestedAtMs: number;
  bootsBefore: number;
  /** When its result was seen. */
  endedAtMs?: number;
  /** Whether the guest was hurt at any time since. */
  isHurt: boolean;
}

/** Far longer than a boot takes, also on a busy machine without virtualisation. */
const bootMs = 120_000;

/** A machine that is requested again and again, each time when its last restart has ended, and what really happens to it. */
export class Machine {
  readonly key: string;
  readonly #options: MachineOptions;
  #status: VirtualMachineStatus = {} as VirtualMachineStatus;
  #change = Promise.withResolvers<void>();
  #generation = 0;
  #open: Open | undefined;
  /** How many boots the guest had told when it was hurt; undefined once it has told of another. */
  #hurtAtBoots: number | undefined;
  #hurting = Promise.withResolvers<void>();

  constructor(options: MachineOptions) {
    this.#options = options;
    this.key = `${options.namespace}/${options.name}`;
  }

  get name(): string {
    return this.#options.name;
  }

  /** Creates the resource and resolves when the controller has seen it. */
  async create(restartPolicy: object): Promise<void> {
    const { client, namespace, name } = this.#options;
    const object = { metadata: { namespace, name }, spec: { restartPolicy } };
    await client.create<KubernetesObject>(virtualMachineResource, object);
    await this.#until(({ observedRestartGeneration }) => observedRestartGeneration !== undefined);
  }

  /** Takes what the API server tells of the resource. */
  saw({ status }: Resource): void {
    if (status === undefined) return;
    this.#status = status;
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  /** Since when a request waits for its result, as performance.now() counts. */
  get waitsSinceMs(): number | undefined {
    return this.#open?.endedAtMs === undefined ? this.#open?.requestedAtMs : undefined;
  }

  /** Requests restarts until the signal aborts; resolves when the last one has ended. */
  async run(signal: AbortSignal): Promise<void> {
    const { random, pauseMs, isDeaf } = this.#options;
    for (;;) {
      await pause(systemClock, random.next() * pauseMs, signal);
      if (signal.aborted) return;
      const mode = random.pick<RestartMode>(["Auto", "Auto", "Soft", "Hard"]);
      const isByToken = random.chance(0.5);
      // A guest that was stopped hears nothing: it has to be forced, and so has one that has just not answered.
      const isDead =
        this.#hurtAtBoots !== undefined || (isDeaf && this.#status.lastRestart?.result === "Failed");
      await this.#restart(isDead && mode === "Soft" ? "Auto" : mode, isByToken);
    }
  }

  /**
   * Once nothing is disturbed any more: restarts it once more where it was hurt or its last restart was allowed to fail,
   * resolves when its resource is Ready, and judges the last request; the machine has to run then.
   */
  async conclude(): Promise<void> {
    if (this.#hurtAtBoots !== undefined || this.#status.lastRestart?.result !== "Succeeded")
      await this.#restart("Auto", false);
    await this.#until(
      ({ conditions = [], attempt }) =>
        attempt === undefined && conditions.some(({ type, status }) => type === "Ready" && status === "True"),
    );
    await this.#judge(true);
  }

  /** What to say of a machine that has not come to an end. */
  unended(): Served | undefined {
    const open = this.#open;
    if (open === undefined) return undefined;
    const { conditions = [] } = this.#status;
    const why = conditions.map(
      ({ type, status, reason, message }) => `${type}=${status} ${reason}: ${message}`,
    );
    const fault = open.endedAtMs === undefined ? "the request has no result" : "it is not Ready";
    return {
      machine: this,
      requestedAtEpochMs: epochMsOf(open),
      result: "none",
      faults: [["lost", `${fault}; ${why.join("; ")}`]],
      heard: this.#heardSince(open),
    };
  }

  /** The soak is about to kill or stop the guest. */
  async hurt(): Promise<void> {
    this.#hurtAtBoots = await this.#boots();
    if (this.#open !== undefined) this.#open.isHurt = true;
    this.#hurting.resolve();
    this.#hurting = Promise.withResolvers();
  }

  async #restart(mode: RestartMode, isByToken: boolean): Promise<void> {
    await this.#judge();
    const { client, namespace, name, guest } = this.#options;
    if (!isByToken) this.#generation += 1;
    const token = new Date().toISOString();
    const request = isByToken ? { restartToken: token } : { restartGeneration: this.#generation };
    const open: Open = {
      request,
      mode,
      requestedAtMs: performance.now(),
      bootsBefore: await this.#boots(),
      isHurt: this.#hurtAtBoots !== undefined,
    };
    this.#open = open;
    const patch = {
      metadata: {
        annotations: {
          [annotations.restartMode]: mode,
          ...(isByToken ? { [annotations.restart]: token } : {}),
        },
      },
      spec: { restartGeneration: this.#generation },
    };
    await insist(() => client.mergePatch(virtualMachineResource, { namespace, name }, patch));
    await this.#until(({ observedRestartGeneration = -1, observedRestartToken }) =>
      isByToken ? observedRestartToken === token : observedRestartGeneration >= this.#generation,
    );
    open.endedAtMs = performance.now();
    if (guest === undefined || this.#status.lastRestart?.result !== "Succeeded") return;
    // One that is hurt meanwhile need not come up; one that does not is what the verdict is for.
    const boot = guestReady(guest.serialLog, open.bootsBefore + 1, bootMs).catch(() => {});
    await Promise.race([boot, this.#hurting.promise]);
  }

  async #judge(isOver = false): Promise<void> {
    const open = this.#open;
    if (open === undefined) return;
    const { guest, witness, isDeaf, told } = this.#options;
    // What libvirt has told before it answers this was heard.
    const { dom } = await insist(() =>
      witness.session.call(procedures.domainLookupByName, { name: this.name }),
    );
    const boots = await this.#boots();
    const runs = dom.id !== undefined;
    const records = this.#recordsOf(open);
    const faults = verdictOf({
      ...open,
      heard: witness.heard(this.name),
      records,
      runs,
      mayBeOff: open.isHurt && !isOver,
      boots: guest && boots - open.bootsBefore,
      isDeaf,
    });
    if (runs && this.#hurtAtBoots !== undefined && boots > this.#hurtAtBoots) this.#hurtAtBoots = undefined;
    this.#open = undefined;
    const [record] = records;
    const result = record === undefined ? "none" : `${record.result} ${record.method ?? ""}`.trim();
    const heard = faults.length > 0 ? this.#heardSince(open) : [];
    told({ machine: this, requestedAtEpochMs: epochMsOf(open), result, faults, heard });
  }

  #recordsOf({ request: { restartGeneration, restartToken } }: Open): RestartRecord[] {
    const { history = [] } = this.#status;
    return history.filter(({ request }) =>
      restartToken === undefined
        ? request.restartGeneration === restartGeneration
        : request.restartToken === restartToken,
    );
  }

  #heardSince(open: Open): string[] {
    const { requestedAtMs, endedAtMs, request, mode, isHurt } = open;
    const result = endedAtMs === undefined ? [] : [{ what: "the result was seen", atMs: endedAtMs }];
    const events = [...this.#options.witness.heard(this.name), ...result]
      .filter(({ atMs }) => atMs >= requestedAtMs)
      .toSorted((one, other) => one.atMs - other.atMs);
    return [
      `requested ${JSON.stringify(request)}, ${mode}${isHurt ? ", hurt" : ""}`,
      ...events.map(({ what, atMs }) => `${((atMs - requestedAtMs) / 1000).toFixed(2)} s: ${what}`),
      ...this.#recordsOf(open).map((record) => JSON.stringify(record)),
    ];
  }

  async #boots(): Promise<number> {
    return (await this.#options.guest?.boots())?.length ?? 0;
  }

  async #until(fits: (status: VirtualMachineStatus) => boolean): Promise<void> {
    while (!fits(this.#status)) await this.#change.promise;
  }
}

function epochMsOf({ requestedAtMs }: Open): number {
  return performance.timeOrigin + requestedAtMs;
}
