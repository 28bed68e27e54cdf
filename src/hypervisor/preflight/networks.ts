import { ListNodeDevicesFlag, procedures } from "libvirt";
import type { Finding } from "../../../controller/finding.ts";
import { at, attribute } from "../xml/element.ts";
import type { HostCalls } from "./host-calls.ts";
import { devicesOf, type Located, type Machine } from "./machine.ts";

/** What interfaces are plugged into: virtual networks, bridges and interfaces of the host, and the filters on them. */
export async function networkFindings({ xml }: Machine, calls: HostCalls): Promise<Finding[]> {
  const host = new HostNetwork(calls);
  const findings = devicesOf(xml, "interface").flatMap((device) => [
    sourceFindings(device, host),
    filterFindings(device, calls),
  ]);
  return (await Promise.all(findings)).flat();
}

async function sourceFindings({ element, path }: Located, host: HostNetwork): Promise<Finding[]> {
  const source = at(element, "source");
  const where = `${path}/source`;
  switch (attribute(element, "type")) {
    case "network":
      return networkFinding(attribute(source, "network"), where, host);
    case "bridge":
      // Open vSwitch has bridges that are no interfaces of the host.
      return at(element, "virtualport") === undefined
        ? linkFinding("bridge", attribute(source, "bridge"), where, host)
        : [];
    case "direct":
      return linkFinding("interface", attribute(source, "dev"), where, host);
    default:
      return [];
  }
}

async function networkFinding(name: string | undefined, path: string, host: HostNetwork): Promise<Finding[]> {
  const state = name === undefined ? "Untold" : await host.network(name);
  if (name === undefined || state === "Untold" || state === "Active") return [];
  if (state === "Absent")
    return [
      {
        reason: "NetworkMissing",
        path,
        message: `network ${name} does not exist`,
        remedy: `define network ${name}, or name another one`,
      },
    ];
  return [
    {
      reason: "NetworkInactive",
      path,
      message: `network ${name} is not active`,
      remedy: `start it: virsh net-start ${name}`,
      repair: { kind: "StartNetwork", network: name },
    },
  ];
}

async function linkFinding(
  what: "bridge" | "interface",
  name: string | undefined,
  path: string,
  host: HostNetwork,
): Promise<Finding[]> {
  if (name === undefined || (await host.link(name)) !== "Absent") return [];
  return [
    {
      reason: what === "bridge" ? "BridgeMissing" : "InterfaceMissing",
      path,
      message: `the host has no ${what} ${name}`,
      remedy: `create ${what} ${name} on the hypervisor, or name another one`,
    },
  ];
}

async function filterFindings({ element, path }: Located, calls: HostCalls): Promise<Finding[]> {
  const name = attribute(at(element, "filterref"), "filter");
  if (name === undefined) return [];
  const answer = await calls.find(procedures.nwfilterLookupByName, { name }, "NO_NWFILTER");
  if (answer.kind !== "Absent") return [];
  return [
    {
      reason: "FilterMissing",
      path: `${path}/filterref`,
      message: `network filter ${name} does not exist`,
      remedy: `define network filter ${name}: virsh nwfilter-define`,
    },
  ];
}

/** The host's networks, each of which is asked about once in a look. */
class HostNetwork {
  readonly #calls: HostCalls;
  readonly #networks = new Map<string, Promise<"Active" | "Inactive" | "Absent" | "Untold">>();
  #links: Promise<Set<string> | undefined> | undefined;

  constructor(calls: HostCalls) {
    this.#calls = calls;
  }

  network(name: string): Promise<"Active" | "Inactive" | "Absent" | "Untold"> {
    const asked = this.#networks.get(name) ?? this.#askNetwork(name);
    this.#networks.set(name, asked);
    return asked;
  }

  async #askNetwork(name: string): Promise<"Active" | "Inactive" | "Absent" | "Untold"> {
    const found = await this.#calls.find(procedures.networkLookupByName, { name }, "NO_NETWORK");
    if (found.kind !== "Found") return found.kind;
    const answer = await this.#calls.ask(procedures.networkIsActive, { net: found.result.net });
    if (answer === undefined) return "Untold";
    return answer.active === 1 ? "Active" : "Inactive";
  }

  /** A bridge or another interface of the host's network. */
  async link(name: string): Promise<"Found" | "Absent" | "Untold"> {
    this.#links ??= this.#listLinks();
    const links = await this.#links;
    if (links === undefined) return "Untold";
    return links.has(linkName(name)) ? "Found" : "Absent";
  }

  /**
   * The names of all interfaces as they are in the names of devices; undefined where libvirt does not list them. Every
   * host has at least its loopback interface, so that an empty list tells nothing.
   */
  async #listLinks(): Promise<Set<string> | undefined> {
    const answer = await this.#calls.ask(procedures.connectListAllNodeDevices, {
      needResults: 1,
      flags: ListNodeDevicesFlag.Net,
    });
    const links = (answer?.devices ?? []).flatMap(
      ({ name }) => /^net_(?<link>.+?)(_[0-9a-f]{2}){6}$/.exec(name)?.groups?.["link"] ?? [],
    );
    return links.length === 0 ? undefined : new Set(links);
  }
}

/** libvirt puts an underscore for whatever is not a letter or a digit. */
function linkName(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9]/g, "_");
}
