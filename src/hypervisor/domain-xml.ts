import { at, attribute, childElements, textOf, type XmlElement } from "./xml/element.ts";
import { parseXml, XmlError } from "./xml/parse.ts";

/** What a restart needs to know of a domain's XML. */
export interface DomainXml {
  /** Whether the guest agent is connected; undefined where there is no channel for one. */
  agent: "Connected" | "Disconnected" | undefined;
  /** Targets of the disks, such as "vda", less the drives without a medium. */
  disks: string[];
  /** What happens when the guest reboots or powers off, in the words of the XML; undefined is libvirt's default. */
  onReboot: string | undefined;
  onPoweroff: string | undefined;
}

/** The virtio channel that the QEMU guest agent listens on. */
const agentChannel = "org.qemu.guest_agent.0";

/** What libvirt gave is no domain's XML. */
export class DomainXmlError extends Error {}

/** Reads a domain's XML as libvirt gives it. Throws a DomainXmlError for anything else. */
export function parseDomainXml(xml: string): XmlElement {
  try {
    const domain = parseXml(xml);
    if (domain.name === "domain") return domain;
    throw new XmlError(`it is a <${domain.name.slice(0, 100)}>`);
  } catch (cause) {
    if (!(cause instanceof XmlError)) throw cause;
    throw new DomainXmlError(`libvirt's XML of the domain cannot be read: ${cause.message}`, { cause });
  }
}

/** What a restart needs to know of it. */
export function readDomain(domain: XmlElement): DomainXml {
  const target = childElements(at(domain, "devices"), "channel")
    .map((channel) => at(channel, "target"))
    .find((one) => attribute(one, "name") === agentChannel);
  const isConnected = attribute(target, "state") === "connected";
  return {
    agent: target && (isConnected ? "Connected" : "Disconnected"),
    disks: diskTargets(domain, (disk) => at(disk, "source") !== undefined),
    onReboot: textOf(at(domain, "on_reboot")),
    onPoweroff: textOf(at(domain, "on_poweroff")),
  };
}

/** Targets of a domain's disks that fit, such as "vda", in the order of its XML. */
export function diskTargets(domain: XmlElement, fits: (disk: XmlElement) => boolean = () => true): string[] {
  const disks = childElements(at(domain, "devices"), "disk").filter(fits);
  return disks.flatMap((disk) => attribute(at(disk, "target"), "dev") ?? []);
}
