import {
  Affect,
  CreateFlag,
  DestroyFlag,
  LibvirtError,
  LifecycleAction,
  LifecycleTrigger,
  MetadataType,
  procedures,
  ShutdownFlag,
  XmlFlag,
  type Domain as LibvirtDomain,
  type ErrorCodeName,
  type Procedure,
  type Session,
} from "libvirt";
import { XMLParser } from "fast-xml-parser";
import type { Effect, RequestMark } from "../../controller/ports.ts";
import { bootMark, parseRequestMark, requestMark, requestMarkUri, type MetadataElement } from "./marks.ts";

/** libvirt holds a call back while another job runs on the domain, for up to 30 s; then it answers itself. */
const effectTimeoutMs = 60_000;
/** Huge memory and passed-through devices make a start slow, and its failure must be libvirt's, not ours. */
const startTimeoutMs = 600_000;

/** What a driver takes where they differ: libvirt's test driver knows no flags, and its guests no buttons. */
interface DriverFlags {
  shutdown: number;
  start: number;
}

const flagsOfDriver: Readonly<Record<string, DriverFlags>> = {
  test: { shutdown: ShutdownFlag.Default, start: CreateFlag.None },
};
const defaultFlags: DriverFlags = { shutdown: ShutdownFlag.AcpiPowerButton, start: CreateFlag.ForceBoot };

/** The calls about one domain, over a session. They reject as Session.call does. */
export class DomainCalls {
  readonly #session: Session;
  readonly #dom: LibvirtDomain;
  readonly #flags: DriverFlags;

  /** `driver` is the scheme of the hypervisor's own URI, such as "qemu". */
  constructor(session: Session, driver: string, dom: { uuid: string; name: string }) {
    this.#session = session;
    this.#dom = { uuid: dom.uuid, name: dom.name, id: undefined };
    this.#flags = flagsOfDriver[driver] ?? defaultFlags;
  }

  /** Name and ID as they are now. */
  async identity(): Promise<LibvirtDomain> {
    const { dom } = await this.#session.call(procedures.domainLookupByUuid, { uuid: this.#dom.uuid });
    return dom;
  }

  async state(): Promise<{ state: number; reason: number }> {
    return this.#session.call(procedures.domainGetState, { dom: this.#dom, flags: 0 });
  }

  async isPersistent(): Promise<boolean> {
    const { persistent } = await this.#session.call(procedures.domainIsPersistent, { dom: this.#dom });
    return persistent === 1;
  }

  /** Whether the domain's memory is saved on disk, so that a start would go on with the old boot. */
  async hasSavedImage(): Promise<boolean> {
    const { result } = await this.#session.call(procedures.domainHasManagedSaveImage, {
      dom: this.#dom,
      flags: 0,
    });
    return result === 1;
  }

  /** The request mark of the running boot, or of the next one. */
  async requestMark(of: "Live" | "Config"): Promise<RequestMark | undefined> {
    const xml = await this.#metadata(requestMarkUri, Affect[of]);
    return xml === undefined ? undefined : parseRequestMark(xml);
  }

  /** Whether the running boot carries the boot mark of an attempt. */
  async hasBootMark(attempt: string): Promise<boolean> {
    return (await this.#metadata(bootMark(attempt).uri, Affect.Live)) !== undefined;
  }

  /** Carries out one effect of the controller. */
  async perform(effect: Effect): Promise<void> {
    const dom = this.#dom;
    switch (effect.kind) {
      case "Mark":
        if (effect.running) {
          await this.#setMetadata(bootMark(effect.mark.attempt), Affect.Live);
          await this.#onReboot(LifecycleAction.Destroy);
        }
        await this.#setMetadata(requestMark(effect.mark), Affect.Config);
        return;
      case "Shutdown":
        await this.#effect(procedures.domainShutdownFlags, { dom, flags: this.#flags.shutdown });
        return;
      case "Destroy":
        await this.#effect(procedures.domainDestroyFlags, { dom, flags: DestroyFlag.Default });
        return;
      case "Start":
        await this.#effect(
          procedures.domainCreateWithFlags,
          { dom, flags: this.#flags.start },
          startTimeoutMs,
        );
        return;
      case "Settle":
        await this.#setMetadata(requestMark(effect.mark), Affect.Config);
        return;
      case "Release":
        await this.#onReboot(await this.#configuredRebootAction());
        return;
      default:
        effect satisfies never;
    }
  }

  async #setMetadata({ uri, key, xml }: MetadataElement, flags: number): Promise<void> {
    await this.#effect(procedures.domainSetMetadata, {
      dom: this.#dom,
      type: MetadataType.Element,
      metadata: xml,
      key,
      uri,
      flags,
    });
  }

  /** Undefined where there is none, and where the domain has no boot or no configuration that could have one. */
  async #metadata(uri: string, flags: number): Promise<string | undefined> {
    try {
      const { metadata } = await this.#session.call(procedures.domainGetMetadata, {
        dom: this.#dom,
        type: MetadataType.Element,
        uri,
        flags,
      });
      return metadata;
    } catch (error) {
      if (isRefusal(error, "NO_DOMAIN_METADATA", "OPERATION_INVALID")) return undefined;
      throw error;
    }
  }

  /** What the running boot does when the guest reboots. A driver without that choice has no guest that could. */
  async #onReboot(action: number): Promise<void> {
    try {
      await this.#effect(procedures.domainSetLifecycleAction, {
        dom: this.#dom,
        type: LifecycleTrigger.Reboot,
        action,
        flags: Affect.Live,
      });
    } catch (error) {
      if (!isRefusal(error, "NO_SUPPORT")) throw error;
    }
  }

  /** The reboot action of the persistent configuration, which the running boot began with. */
  async #configuredRebootAction(): Promise<number> {
    const { xml } = await this.#session.call(procedures.domainGetXmlDesc, {
      dom: this.#dom,
      flags: XmlFlag.Inactive,
    });
    const document = new XMLParser().parse(xml) as { domain?: { on_reboot?: string } };
    return rebootActions.get(document.domain?.on_reboot ?? "restart") ?? LifecycleAction.Restart;
  }

  /** Effects can meet a domain that hangs; they go where they hold up no look at another domain. */
  async #effect<A, R>(procedure: Procedure<A, R>, args: NoInfer<A>, timeoutMs = effectTimeoutMs): Promise<R> {
    return this.#session.call(procedure, args, { timeoutMs, waitsFor: "Domain" });
  }
}

/** libvirt's words for reboot actions in XML. */
const rebootActions: ReadonlyMap<string, number> = new Map([
  ["destroy", LifecycleAction.Destroy],
  ["restart", LifecycleAction.Restart],
  ["rename-restart", LifecycleAction.RestartRename],
  ["preserve", LifecycleAction.Preserve],
]);

function isRefusal(error: unknown, ...codes: ErrorCodeName[]): boolean {
  return error instanceof LibvirtError && codes.includes(error.code);
}
