import {
  Affect,
  BlockJobType,
  CreateFlag,
  decodeJobOperation,
  DestroyFlag,
  JobType,
  LibvirtError,
  LifecycleAction,
  LifecycleTrigger,
  MetadataType,
  nameOf,
  procedures,
  ShutdownFlag,
  XmlFlag,
  type Domain as LibvirtDomain,
  type Procedure,
  type SessionCallOptions,
} from "libvirt";
import { requestMarkUri, type DomainEffect, type Job, type RequestMark } from "../../controller/ports.ts";
import type { Signal } from "../../crds/restart-policy.ts";
import type { Caller } from "./caller.ts";
import { DomainHungError } from "./domain-turns.ts";
import { isRefusal } from "./refusal.ts";
import { agentAnswers, agentBootId, AgentSilentError } from "./agent.ts";
import { parseDomainXml, readDomain } from "./domain-xml.ts";
import {
  bootMark,
  isProvenDefinition,
  parseRequestMark,
  previousUri,
  requestMark,
  type MetadataElement,
} from "./marks.ts";
import type { XmlElement } from "./xml/element.ts";
import { formatXml } from "./xml/format.ts";

/** libvirt holds a call back while another job runs on the domain, for up to 30 s; then it answers itself. */
const effectTimeoutMs = 60_000;
/** Huge memory and passed-through devices make a start slow, and its failure must be libvirt's, not ours. */
const startOptions = { timeoutMs: 600_000, waitsFor: "Power" } as const;
/**
 * libvirt answers for an agent when its guest is off, or after a minute. That the guest goes down is told by events:
 * this long is only waited for a refusal.
 */
const agentSignalTimeoutMs = 1000;

/** What a driver takes where they differ: libvirt's test driver knows no flags, and its guests no buttons. */
interface DriverFlags {
  signal: Readonly<Record<Signal, number>>;
  start: number;
}

const flagsOfDriver: Readonly<Record<string, DriverFlags>> = {
  test: { signal: { ACPI: ShutdownFlag.Default, Agent: ShutdownFlag.Default }, start: CreateFlag.None },
};
const defaultFlags: DriverFlags = {
  signal: { ACPI: ShutdownFlag.AcpiPowerButton, Agent: ShutdownFlag.GuestAgent },
  start: CreateFlag.ForceBoot,
};

/** The effects that are one call or a few about the domain as it is. */
type SimpleEffect = Exclude<DomainEffect, { kind: "Define" | "RollBack" | "AttachDisk" }>;

/** The calls about one domain. They reject as its turns do. */
export class DomainCalls {
  readonly #caller: Caller;
  readonly #dom: LibvirtDomain;
  readonly #flags: DriverFlags;

  /** Over the domain's turns; `driver` is the scheme of the hypervisor's own URI, such as "qemu". */
  constructor(caller: Caller, driver: string, dom: { uuid: string; name: string }) {
    this.#caller = caller;
    this.#dom = { uuid: dom.uuid, name: dom.name, id: undefined };
    this.#flags = flagsOfDriver[driver] ?? defaultFlags;
  }

  /** Name and ID as they are now. */
  async identity(): Promise<LibvirtDomain> {
    const { dom } = await this.#caller.call(procedures.domainLookupByUuid, { uuid: this.#dom.uuid });
    return dom;
  }

  async state(): Promise<{ state: number; reason: number }> {
    return this.#caller.call(procedures.domainGetState, { dom: this.#dom, flags: 0 });
  }

  async isPersistent(): Promise<boolean> {
    const { persistent } = await this.#caller.call(procedures.domainIsPersistent, { dom: this.#dom });
    return persistent === 1;
  }

  /** Whether the domain's memory is saved on disk, so that a start would go on with the old boot. */
  async hasSavedImage(): Promise<boolean> {
    const { result } = await this.#caller.call(procedures.domainHasManagedSaveImage, {
      dom: this.#dom,
      flags: 0,
    });
    return result === 1;
  }

  /** The request mark that the next boot will carry; that of the running one stands in its XML. */
  async nextRequestMark(): Promise<RequestMark | undefined> {
    const xml = await this.#metadata(requestMarkUri);
    return xml === undefined ? undefined : parseRequestMark(xml);
  }

  /** Its XML, by XmlFlag: that of the running boot, or what the next start would be made from. */
  async xml(flags: number): Promise<XmlElement> {
    const { xml } = await this.#caller.call(procedures.domainGetXmlDesc, { dom: this.#dom, flags });
    return parseDomainXml(xml);
  }

  /** The configuration that a definition has replaced, as it is kept in the metadata; undefined where none is. */
  async previousConfiguration(): Promise<string | undefined> {
    return this.#metadata(previousUri);
  }

  /** Makes this XML the persistent configuration. */
  async define(xml: XmlElement, flags: number): Promise<void> {
    await this.#effect(procedures.domainDefineXmlFlags, { xml: formatXml(xml), flags });
  }

  /** Starts it from this XML, which differs from its persistent configuration; that stays. */
  async createFrom(xml: XmlElement): Promise<void> {
    const args = { xmlDesc: formatXml(xml), flags: CreateFlag.None };
    await this.#effect(procedures.domainCreateXml, args, startOptions);
  }

  /** Gives the running boot a device. */
  async attach(device: XmlElement): Promise<void> {
    const args = { dom: this.#dom, xml: formatXml(device), flags: Affect.Live };
    await this.#effect(procedures.domainAttachDeviceFlags, args);
  }

  /** Removes the saved memory of the boot before. */
  async removeSavedImage(): Promise<void> {
    await this.#effect(procedures.domainManagedSaveRemove, { dom: this.#dom, flags: 0 });
  }

  /**
   * What libvirt is doing with the running domain or with one of these disks; undefined also where it has gone off
   * meanwhile, or where a call to its process holds it that is not answered: a job of libvirt's lets itself be asked
   * for. A driver may have no jobs.
   */
  async job(disks: readonly string[]): Promise<Job | undefined> {
    try {
      return (await this.#domainJob()) ?? (await this.#diskJob(disks));
    } catch (error) {
      if (error instanceof DomainHungError) return undefined;
      if (isRefusal(error, "NO_SUPPORT", "OPERATION_INVALID", "OPERATION_TIMEOUT")) return undefined;
      throw error;
    }
  }

  async #domainJob(): Promise<Job | undefined> {
    const args = { dom: this.#dom, flags: 0 };
    const { type, params } = await this.#effect(procedures.domainGetJobStats, args);
    if (type !== JobType.Bounded && type !== JobType.Unbounded) return undefined;
    const operation = decodeJobOperation(params);
    const kind = operation === "MigrationIn" || operation === "MigrationOut" ? "Migration" : "Other";
    return { kind, what: operation };
  }

  async #diskJob(disks: readonly string[]): Promise<Job | undefined> {
    const jobs = await Promise.all(
      disks.map(async (path) => {
        const args = { dom: this.#dom, path, flags: 0 };
        const { found, type } = await this.#effect(procedures.domainGetBlockJobInfo, args);
        return found === 1 ? `${nameOf(BlockJobType, type)} of disk ${path}` : undefined;
      }),
    );
    const what = jobs.find((one) => one !== undefined);
    return what === undefined ? undefined : { kind: "Other", what };
  }

  /** Why one of these disks cannot be read; undefined where all can. */
  async storageProblem(disks: readonly string[]): Promise<string | undefined> {
    for (const path of disks) {
      try {
        // The first disk that cannot be read is enough.
        await this.#effect(procedures.domainGetBlockInfo, { dom: this.#dom, path, flags: 0 });
      } catch (error) {
        if (error instanceof LibvirtError) return `disk ${path}: ${error.message}`;
        throw error;
      }
    }
    return undefined;
  }

  /** What the guest agent answers; undefined where it does not. */
  async askAgent(question: "Ping" | "BootID"): Promise<{ bootId?: string | undefined } | undefined> {
    if (!(await agentAnswers(this.#caller, this.#dom))) return undefined;
    return question === "Ping" ? {} : { bootId: await agentBootId(this.#caller, this.#dom) };
  }

  /** Carries out one effect of the controller; a start is one from the persistent configuration. */
  async perform(effect: SimpleEffect): Promise<void> {
    const dom = this.#dom;
    switch (effect.kind) {
      case "Mark":
        await this.#mark(effect);
        return;
      case "Shutdown":
        await this.#signal(procedures.domainShutdownFlags, effect.signal);
        return;
      case "Reboot":
        await this.#signal(procedures.domainReboot, effect.signal);
        return;
      case "Destroy":
        await this.#effect(
          procedures.domainDestroyFlags,
          { dom, flags: DestroyFlag.Default },
          { waitsFor: "Power" },
        );
        return;
      case "Reset":
        await this.#effect(procedures.domainReset, { dom, flags: 0 });
        return;
      case "Wake":
        await this.#effect(procedures.domainPmWakeup, { dom, flags: 0 });
        return;
      case "Resume":
        await this.#effect(procedures.domainResume, { dom });
        return;
      case "Start":
        await this.#effect(procedures.domainCreateWithFlags, { dom, flags: this.#flags.start }, startOptions);
        return;
      case "Settle":
        await this.#settle(effect.mark);
        return;
      case "Release":
        await this.#restoreActions();
        return;
      default:
        effect satisfies never;
    }
  }

  async #mark({ mark, running }: DomainEffect & { kind: "Mark" }): Promise<void> {
    if (running) {
      await this.#setMetadata(bootMark(mark.attempt), Affect.Live);
      // An earlier mark of the same attempt may have changed them.
      if (mark.inPlace === true) await this.#restoreActions();
      else await this.#endInOff();
    }
    await this.#setMetadata(requestMark(mark), Affect.Config);
  }

  async #settle(mark: RequestMark): Promise<void> {
    await this.#setMetadata(requestMark(mark), Affect.Config);
    if (isProvenDefinition(mark))
      await this.#setMetadata({ uri: previousUri, key: undefined, xml: undefined }, Affect.Config);
  }

  async #signal(
    procedure: Procedure<{ dom: LibvirtDomain; flags: number }, object>,
    signal: Signal,
  ): Promise<void> {
    const args = { dom: this.#dom, flags: this.#flags.signal[signal] };
    if (signal === "ACPI") {
      await this.#effect(procedure, args);
      return;
    }
    // One that hangs would hold the call for a minute, and count as asked.
    if (!(await agentAnswers(this.#caller, this.#dom)))
      throw new AgentSilentError(
        `the guest agent of domain ${this.#dom.name} is connected and does not answer`,
      );
    await this.#effect(procedure, args, { timeoutMs: agentSignalTimeoutMs, waitsFor: "Agent" });
  }

  /** Without XML, the element is removed. */
  async #setMetadata(
    { uri, key, xml }: MetadataElement | { uri: string; key: undefined; xml: undefined },
    flags: number,
  ): Promise<void> {
    await this.#effect(procedures.domainSetMetadata, {
      dom: this.#dom,
      type: MetadataType.Element,
      metadata: xml,
      key,
      uri,
      flags,
    });
  }

  /** Of the configuration; undefined where there is none, and where the domain has no configuration that could have one. */
  async #metadata(uri: string): Promise<string | undefined> {
    try {
      const { metadata } = await this.#caller.call(procedures.domainGetMetadata, {
        dom: this.#dom,
        type: MetadataType.Element,
        uri,
        flags: Affect.Config,
      });
      return metadata;
    } catch (error) {
      if (isRefusal(error, "NO_DOMAIN_METADATA", "OPERATION_INVALID")) return undefined;
      throw error;
    }
  }

  /** The guest's reboot and its poweroff both end in a domain that is off. */
  async #endInOff(): Promise<void> {
    try {
      await this.#onLifecycle(LifecycleTrigger.Reboot, LifecycleAction.Destroy);
    } catch (error) {
      // libvirt refuses this beside a poweroff that restarts; few domains have one, so it is not asked for first.
      if (!isRefusal(error, "CONFIG_UNSUPPORTED")) throw error;
      await this.#onLifecycle(LifecycleTrigger.PowerOff, LifecycleAction.Destroy);
      await this.#onLifecycle(LifecycleTrigger.Reboot, LifecycleAction.Destroy);
    }
  }

  /** The running boot reacts again as the persistent configuration says, which it began with. */
  async #restoreActions(): Promise<void> {
    const { onReboot = "restart", onPoweroff = "destroy" } = readDomain(await this.xml(XmlFlag.Inactive));
    // The reboot comes first: libvirt refuses a poweroff that restarts beside a reboot that destroys.
    await this.#onLifecycle(LifecycleTrigger.Reboot, lifecycleActions.get(onReboot));
    if (onPoweroff !== "destroy")
      await this.#onLifecycle(LifecycleTrigger.PowerOff, lifecycleActions.get(onPoweroff));
  }

  /** What the running boot does on a trigger. A driver without that choice has no guest that could pull it. */
  async #onLifecycle(type: number, action: number = LifecycleAction.Restart): Promise<void> {
    try {
      await this.#effect(procedures.domainSetLifecycleAction, {
        dom: this.#dom,
        type,
        action,
        flags: Affect.Live,
      });
    } catch (error) {
      if (!isRefusal(error, "NO_SUPPORT")) throw error;
    }
  }

  /** What waits for another job on the domain, or for its process. */
  async #effect<A, R>(
    procedure: Procedure<A, R>,
    args: NoInfer<A>,
    options: SessionCallOptions = {},
  ): Promise<R> {
    return this.#caller.call(procedure, args, {
      timeoutMs: effectTimeoutMs,
      waitsFor: "Domain",
      ...options,
    });
  }
}

/** libvirt's words for lifecycle actions in XML. */
const lifecycleActions: ReadonlyMap<string, number> = new Map([
  ["destroy", LifecycleAction.Destroy],
  ["restart", LifecycleAction.Restart],
  ["rename-restart", LifecycleAction.RestartRename],
  ["preserve", LifecycleAction.Preserve],
]);
