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

const lists = new Set(["domain.devices.channel", "domain.devices.disk"]);
const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: "",
  attributesGroupName: "$",
  // A metadata element may have any name, so the path decides and not the name.
  isArray: (_name, path) => lists.has(String(path)),
});

const target = z.object({ $: z.record(z.string(), z.string()) }).optional();
const document = z.object({
  domain: z.object({
    on_reboot: z.string().optional(),
    on_poweroff: z.string().optional(),
    devices: z
      .object({
        channel: z.array(z.object({ target })).default([]),
        disk: z.array(z.object({ target, source: z.unknown() })).default([]),
      })
      .optional()
      // A domain without any device is an empty element.
      .catch(undefined),
  }),
});

/** Reads a domain's XML as libvirt gives it. Throws for what is no domain's. */
export function parseDomainXml(xml: string): DomainXml {
  const { domain } = document.parse(parser.parse(xml));
  const channel = domain.devices?.channel.find((one) => one.target?.$["name"] === agentChannel);
  const disks = domain.devices?.disk.filter(({ source }) => source !== undefined) ?? [];
  return {
    agent: channel && (channel.target?.$["state"] === "connected" ? "Connected" : "Disconnected"),
    disks: disks.flatMap((disk) => disk.target?.$["dev"] ?? []),
    onReboot: domain.on_reboot,
    onPoweroff: domain.on_poweroff,
  };
}
