import { randomBytes, randomUUID } from "node:crypto";
import {
  CallTimeoutError,
  DefineFlag,
  MetadataType,
  Affect,
  procedures,
  UndefineFlag,
  type Domain as LibvirtDomain,
} from "libvirt";
import { FileHangsError } from "./hanging-file.ts";
import type { Caller } from "./caller.ts";
import { isRefusal } from "./refusal.ts";
import { isOurs, metadataOf, withMetadata } from "./metadata.ts";
import { element, textOf, type XmlElement, type XmlNode } from "./xml/element.ts";
import { formatXml } from "./xml/format.ts";

/** XML namespace of the metadata element that every momentary domain carries. */
const momentaryDomainUri = "https://warmboot.dev/check";
/** What the name of every momentary domain begins with. */
const momentaryDomainPrefix = "warmboot-check-";

/** libvirt asks a new emulator for what it can do before it takes the first domain that uses it. */
const defineTimeoutMs = 60_000;
/** These calls wait for no domain's job, but for the emulator and the disk: no look at another domain waits behind them. */
const options = { timeoutMs: defineTimeoutMs, waitsFor: "Storage" } as const;

/** A momentary domain was taken away while it was used: whoever did says nothing of any other domain. */
export class MomentaryDomainError extends Error {}

/**
 * Defines a domain for as long as `use` takes, from this XML under a name and a UUID that nobody else has, and removes
 * it whatever happens. It is never started. Rejects with what libvirt says to its definition, which it checks against
 * its schema; with a MomentaryDomainError where the domain was gone meanwhile; and as `use` does otherwise.
 */
export async function withMomentaryDomain<T>(
  calls: Caller,
  xml: XmlElement,
  use: (dom: LibvirtDomain) => Promise<T>,
): Promise<T> {
  const name = `${momentaryDomainPrefix}${randomBytes(8).toString("hex")}`;
  const uuid = randomUUID();
  const dom = await define(calls, asMomentaryDomain(xml, name, uuid), { name, uuid, id: undefined });
  let result: T;
  try {
    result = await use(dom);
  } catch (error) {
    // Until a file that hangs is there again, libvirt would not answer the removal either.
    if (error instanceof FileHangsError) void error.aftermath?.then(() => removeQuietly(calls, dom));
    // What `use` has met says more than a removal that fails after it.
    else await removeQuietly(calls, dom);
    throw isRefusal(error, "NO_DOMAIN")
      ? new MomentaryDomainError(`${name} was removed while it was used`)
      : error;
  }
  await remove(calls, dom);
  return result;
}

/** Makes a momentary domain another one, under its name and its UUID. Rejects as the definition of a new one does. */
export async function redefineMomentaryDomain(
  calls: Caller,
  dom: LibvirtDomain,
  xml: XmlElement,
): Promise<void> {
  await define(calls, asMomentaryDomain(xml, dom.name, dom.uuid), dom);
}

/** Whether a domain has the name of a momentary one; others may have it, too. */
export function isNamedMomentary({ name }: { name: string }): boolean {
  return name.startsWith(momentaryDomainPrefix);
}

/**
 * Removes a domain where it is a momentary one that a process has left behind: its name and its metadata say so, and it
 * is off. Rejects as a call does.
 */
export async function removeLeftover(calls: Caller, dom: LibvirtDomain): Promise<void> {
  if (!isNamedMomentary(dom) || dom.id !== undefined) return;
  try {
    await calls.call(
      procedures.domainGetMetadata,
      { dom, type: MetadataType.Element, uri: momentaryDomainUri, flags: Affect.Config },
      options,
    );
  } catch (error) {
    if (isRefusal(error, "NO_DOMAIN_METADATA", "NO_DOMAIN")) return;
    throw error;
  }
  await remove(calls, dom);
}

async function define(calls: Caller, xml: XmlElement, dom: LibvirtDomain): Promise<LibvirtDomain> {
  const args = { xml: formatXml(xml), flags: DefineFlag.Validate };
  try {
    return (await calls.call(procedures.domainDefineXmlFlags, args, options)).dom;
  } catch (error) {
    // It may be defined all the same.
    if (error instanceof CallTimeoutError && error.sent) await remove(calls, dom).catch(() => undefined);
    throw error;
  }
}

async function removeQuietly(calls: Caller, dom: LibvirtDomain): Promise<void> {
  await remove(calls, dom).catch(() => undefined);
}

/** The NVRAM file that the XML names may be another domain's: it stays. */
async function remove(calls: Caller, dom: LibvirtDomain): Promise<void> {
  try {
    await undefine(calls, dom, UndefineFlag.KeepNvram);
  } catch (error) {
    if (isRefusal(error, "NO_DOMAIN")) return;
    // A driver may know no NVRAM.
    if (!isRefusal(error, "INVALID_ARG")) throw error;
    await undefine(calls, dom, 0);
  }
}

async function undefine(calls: Caller, dom: LibvirtDomain, flags: number): Promise<void> {
  await calls.call(procedures.domainUndefineFlags, { dom, flags }, options);
}

/** The same domain under another name and UUID, marked as a momentary one: with none of the domain's own marks. */
function asMomentaryDomain(xml: XmlElement, name: string, uuid: string): XmlElement {
  const check = element("warmboot-check:check", { "xmlns:warmboot-check": momentaryDomainUri });
  const others = metadataOf(xml).filter((entry) => !isOurs(entry));
  const domain = withMetadata(xml, [...others, { uri: momentaryDomainUri, element: check }]);
  const replaced = domain.children.filter(
    (node) => typeof node === "string" || (node.name !== "name" && node.name !== "uuid"),
  );
  return {
    ...domain,
    children: [
      element("name", {}, [name]),
      element("uuid", {}, [uuid]),
      ...replaced.map((node) => withSystemUuid(node, uuid)),
    ],
  };
}

/** libvirt refuses a domain whose SMBIOS tells another UUID than its own. */
function withSystemUuid(node: XmlNode, uuid: string): XmlNode {
  if (typeof node === "string" || node.name !== "sysinfo") return node;
  const entry = (one: XmlNode): XmlNode =>
    typeof one !== "string" && one.name === "entry" && one.attributes["name"] === "uuid"
      ? { ...one, children: textOf(one) === undefined ? one.children : [uuid] }
      : one;
  const system = (one: XmlNode): XmlNode =>
    typeof one !== "string" && one.name === "system" ? { ...one, children: one.children.map(entry) } : one;
  return { ...node, children: node.children.map(system) };
}
