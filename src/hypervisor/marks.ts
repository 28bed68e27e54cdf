import { z } from "zod";
import { requestMarkUri, type Marks, type RequestMark } from "../../controller/ports.ts";
import { mostJoinedTokens, restartMethods, restartMode, restartResults } from "../../crds/restart.ts";
import { shortened } from "../../crds/shortened.ts";
import { formatTimestamp, parseTimestamp } from "../../crds/timestamp.ts";
import { longestRestartToken } from "../../crds/virtual-machine.ts";
import { metadataOf, type MetadataEntry } from "./metadata.ts";
import { element, type XmlElement } from "./xml/element.ts";
import { formatXml } from "./xml/format.ts";
import { parseXml, XmlError } from "./xml/parse.ts";

/** A metadata element of a domain, as libvirt's SetMetadata takes it. */
export interface MetadataElement {
  /** XML namespace, which names the element in the domain. */
  uri: string;
  /** Prefix of that namespace. */
  key: string;
  xml: string;
}

const bootMarkNamespaces = "https://warmboot.dev/boot/";

/** Namespace of an attempt's boot mark: one an attempt, so that nobody takes another's mark for his own. */
export function bootMarkUri(attempt: string): string {
  return `${bootMarkNamespaces}${attempt}`;
}

/** Whether a namespace is that of a boot mark, of whichever attempt. */
export function isBootMarkUri(uri: string | undefined): boolean {
  return uri?.startsWith(bootMarkNamespaces) === true;
}

/** The mark of the boot that an attempt is about to end. */
export function bootMark(attempt: string): MetadataElement {
  return { uri: bootMarkUri(attempt), key: "warmboot-boot", xml: "<boot/>" };
}

/** XML namespace of the configuration that a definition has replaced, in the domain's metadata. */
export const previousUri = "https://warmboot.dev/previous";

/** Whether a boot with the resource's definition is proven: the configuration before it is not gone back to any more. */
export function isProvenDefinition({ definition, result }: RequestMark): boolean {
  return definition === "Applied" && result === "Succeeded";
}

/** No mark that this program writes is longer; a longer one is somebody else's. */
export const longestMarkLength = 65_536;

/** The controller takes no longer token. One that somebody wrote into the status would make a mark that is not read. */
function writable(token: string): string {
  return shortened(token, longestRestartToken);
}

/** The request mark as metadata. */
export function requestMark(mark: RequestMark): MetadataElement {
  const { attempt, cluster, resource, owner, request, startedAtMs, result, method, servedBefore, wasOff } =
    mark;
  const { requestedAt, restartGeneration, mode } = request;
  const joinedTokens = request.joinedTokens && JSON.stringify(request.joinedTokens.map(writable));
  const startedAt = formatTimestamp(startedAtMs);
  const xml = element("request", {
    attempt,
    cluster,
    resource,
    owner,
    restartGeneration,
    restartToken: request.restartToken && writable(request.restartToken),
    joinedTokens,
    mode,
    requestedAt,
    startedAt,
    result,
    method,
    wasOff: wasOff === true ? "yes" : undefined,
    inPlace: mark.inPlace === true ? "yes" : undefined,
    bootId: mark.bootId,
    definition: mark.definition,
    servedGeneration: servedBefore.observedRestartGeneration,
    servedToken: servedBefore.observedRestartToken && writable(servedBefore.observedRestartToken),
  });
  return { uri: requestMarkUri, key: "warmboot", xml: formatXml(xml) };
}

/** A mark as it stands in the metadata of a domain's XML. */
export function asMetadataEntry({ uri, key, xml }: MetadataElement): MetadataEntry {
  const mark = parseXml(xml);
  const attributes = { [`xmlns:${key}`]: uri, ...mark.attributes };
  return { uri, element: { ...mark, name: `${key}:${mark.name}`, attributes } };
}

/** Several tokens in one attribute, as JSON. */
const tokens = z.string().transform((text, context): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    context.addIssue({ code: "custom", message: "not JSON" });
    return z.NEVER;
  }
});

/** The API server refuses a status with anything else in its place. */
const time = z.string().transform((text, context): number => {
  const epochMs = parseTimestamp(text);
  if (epochMs !== undefined) return epochMs;
  context.addIssue({ code: "custom", message: "not a time" });
  return z.NEVER;
});

const attributes = z.object({
  attempt: z.string().regex(/^[0-9a-f]{32}$/),
  cluster: z.string(),
  resource: z.string(),
  // A namespace and a name as Kubernetes has them: a resource is sought by them.
  owner: z.string().regex(/^[a-z0-9-]+\/[a-z0-9][a-z0-9.-]*$/),
  restartGeneration: z.coerce.number().int().optional(),
  restartToken: z.string().optional(),
  joinedTokens: tokens.pipe(z.array(z.string()).max(mostJoinedTokens)).optional(),
  mode: restartMode.optional(),
  requestedAt: time,
  startedAt: time,
  result: z.enum(restartResults).optional(),
  method: z.enum(restartMethods).optional(),
  wasOff: z.literal("yes").optional(),
  inPlace: z.literal("yes").optional(),
  bootId: z.string().optional(),
  definition: z.enum(["Applied", "RolledBack"]).optional(),
  servedGeneration: z.coerce.number().int().optional(),
  servedToken: z.string().optional(),
});

/** Reads a request mark; undefined for what this program did not write, whoever did. */
export function parseRequestMark(xml: string): RequestMark | undefined {
  if (xml.length > longestMarkLength) return undefined;
  const parsed = attributes.safeParse(requestAttributes(xml));
  if (!parsed.success) return undefined;
  const { attempt, cluster, resource, owner, result, method, bootId, definition } = parsed.data;
  const { restartGeneration, restartToken, joinedTokens, mode, startedAt: startedAtMs } = parsed.data;
  const { servedGeneration, servedToken } = parsed.data;
  const requestedAt = formatTimestamp(parsed.data.requestedAt);
  return {
    attempt,
    cluster,
    resource,
    owner,
    request: { restartGeneration, restartToken, joinedTokens, mode, requestedAt },
    servedBefore: { observedRestartGeneration: servedGeneration, observedRestartToken: servedToken },
    wasOff: parsed.data.wasOff === "yes",
    inPlace: parsed.data.inPlace === "yes",
    bootId,
    definition,
    startedAtMs,
    result,
    method,
  };
}

/** What the XML of a running boot says of it: whether it carries an attempt's boot mark, and its request mark. */
export function marksOfBoot(domain: XmlElement, attempt: string | undefined): Omit<Marks, "next"> {
  const entries = metadataOf(domain);
  const find = (wanted: string) => entries.find(({ uri }) => uri === wanted)?.element;
  const request = find(requestMarkUri);
  return {
    bootMark: attempt !== undefined && find(bootMarkUri(attempt)) !== undefined,
    live: request && parseRequestMark(formatXml(request)),
  };
}

/** libvirt may have put a prefix before the element's name. */
function requestAttributes(xml: string): unknown {
  try {
    const { name, attributes } = parseXml(xml);
    return name.split(":").at(-1) === "request" ? attributes : undefined;
  } catch (error) {
    // Not XML at all: the same as no mark of ours.
    if (error instanceof XmlError) return undefined;
    throw error;
  }
}
