import { at, attribute, childElements, type XmlElement } from "../xml/element.ts";
import { placeWords } from "./identity.ts";

/** Where a disk's content is, in words, such as a path or "rbd:vms/a at host:6789"; undefined without a medium. */
export function diskLocation(disk: XmlElement | undefined): string | undefined {
  const source = at(disk, "source");
  if (source === undefined) return undefined;
  switch (attribute(disk, "type")) {
    case "volume":
      return inWords([attribute(source, "pool"), attribute(source, "volume")], "/");
    case "network":
      return networkLocation(source);
    case "nvme":
      return inWords([
        "NVMe",
        ...placeWords(at(source, "address")?.attributes ?? {}),
        ...namespaceWords(source),
      ]);
    default:
      return inWords(["file", "dev", "dir", "path"].map((name) => attribute(source, name)));
  }
}

function namespaceWords(source: XmlElement): string[] {
  const namespace = attribute(source, "namespace");
  return namespace === undefined ? [] : [`namespace ${namespace}`];
}

function networkLocation(source: XmlElement): string | undefined {
  const hosts = childElements(source, "host").map((host) =>
    inWords([attribute(host, "name") ?? attribute(host, "socket"), attribute(host, "port")], ":"),
  );
  const what = inWords([attribute(source, "protocol"), attribute(source, "name")], ":");
  return hosts.length === 0 ? what : `${what} at ${hosts.join(", ")}`;
}

/** What an interface is connected to, such as "network default", or its type alone. */
export function interfaceLocation(device: XmlElement | undefined): string | undefined {
  const type = attribute(device, "type");
  const source = at(device, "source");
  const network = attribute(source, "network");
  // While it runs, an interface on a network may have the type that the network is made of.
  if (network !== undefined) return `network ${network}`;
  switch (type) {
    case "bridge":
      return inWords([type, attribute(source, "bridge")]);
    case "direct":
      return inWords([type, attribute(source, "dev"), attribute(source, "mode")]);
    default:
      return type;
  }
}

function inWords(parts: readonly (string | undefined)[], separator = " "): string | undefined {
  const present = parts.filter((part) => part !== undefined);
  return present.length === 0 ? undefined : present.join(separator);
}
