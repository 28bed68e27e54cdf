import { XMLParser } from "fast-xml-parser";
import { z } from "zod";

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

const lists = new Set(["domain.devices.channel", "domain.devices.disk"]);
const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: "",
  attributesGroupName: "$",
  parseTagValue: false,
  // Nothing that is read here can contain one, and nobody shall declare any.
  processEntities: false,
  // Megabytes of whatever the domain's owner likes; the marks in it are asked for one by one.
  stopNodes: ["domain.metadata"],
  // A metadata element may have any name, so the path decides and not the name.
  isArray: (_name, path) => lists.has(String(path)),
});

const device = z
  .object({
    target: z.object({ $: z.record(z.string(), z.string()) }).optional(),
    source: z.unknown().optional(),
  })
  // One without content is an empty text.
  .catch({ source: undefined });
const document = z.object({
  domain: z.object({
    on_reboot: z.string().optional(),
    on_poweroff: z.string().optional(),
    devices: z
      .object({ channel: z.array(device).default([]), disk: z.array(device).default([]) })
      .optional()
      // The same where there is none.
      .catch(undefined),
  }),
});

/** Reads a domain's XML as libvirt gives it. Throws a DomainXmlError for anything else. */
export function parseDomainXml(xml: string): DomainXml {
  const { domain } = readDocument(xml);
  const channel = domain.devices?.channel.find((one) => one.target?.$["name"] === agentChannel);
  const disks = domain.devices?.disk.filter(({ source }) => source !== undefined) ?? [];
  return {
    agent: channel && (channel.target?.$["state"] === "connected" ? "Connected" : "Disconnected"),
    disks: disks.flatMap((disk) => disk.target?.$["dev"] ?? []),
    onReboot: domain.on_reboot,
    onPoweroff: domain.on_poweroff,
  };
}

function readDocument(xml: string): z.output<typeof document> {
  try {
    return document.parse(parser.parse(xml));
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause);
    throw new DomainXmlError(`libvirt's XML of the domain cannot be read: ${why}`, { cause });
  }
}
