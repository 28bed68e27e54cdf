import assert from "node:assert/strict";
import type { Session } from "libvirt";
import { agentBootId } from "../../src/hypervisor/agent.ts";
import { DomainXmlError, parseDomainXml, readDomain } from "../../src/hypervisor/domain-xml.ts";
import { longestMarkLength, parseRequestMark, requestMark } from "../../src/hypervisor/marks.ts";
import type { XmlElement, XmlNode } from "../../src/hypervisor/xml/element.ts";
import { formatXml } from "../../src/hypervisor/xml/format.ts";
import { parseXml, XmlError } from "../../src/hypervisor/xml/parse.ts";
import type { Random } from "../simulation/random.ts";
import { mutateText } from "./mutate-text.ts";
import { refusal } from "./outcome.ts";

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Damages a request mark. What is still read as one can be written and read again. */
export function runMark(random: Random, marks: readonly string[]): string {
  const mark = parseRequestMark(damaged(marks, random));
  if (mark === undefined) return "mark: somebody else's";
  assert.match(mark.attempt, /^[0-9a-f]{32}$/);
  const { xml } = requestMark(mark);
  // libvirt gives no mark in which a bracket is a single character.
  if (xml.length > longestMarkLength) return "mark: longer when it is written";
  const again = parseRequestMark(xml);
  assert.ok(again !== undefined, "a mark that was read cannot be read again");
  assert.deepEqual(parseRequestMark(requestMark(again).xml), again);
  return "mark: read";
}

/** Damages a domain's XML, and reads of it what a restart needs. */
export function runDomainXml(random: Random, xmls: readonly string[]): string {
  try {
    const { disks, agent, onReboot, onPoweroff } = readDomain(parseDomainXml(damaged(xmls, random)));
    for (const one of [...disks, agent ?? "", onReboot ?? "", onPoweroff ?? ""])
      assert.equal(typeof one, "string");
    return "domain XML: read";
  } catch (error) {
    return kindOnly(refusal("domain XML", error, DomainXmlError));
  }
}

/** Damages a domain's XML, and reads all of it. What is read can be written again and is the same. */
export function runXml(random: Random, xmls: readonly string[]): string {
  let document: XmlElement;
  try {
    document = parseXml(damaged(xmls, random));
  } catch (error) {
    return kindOnly(refusal("XML", error, XmlError));
  }
  assert.deepEqual(joined(parseXml(formatXml(document))), joined(document));
  return "XML: read";
}

/** Damages one or all of an agent's answers. */
export async function runAgent(random: Random, answers: readonly string[]): Promise<string> {
  const session = {
    call: async () => {
      const answer = answers[random.below(answers.length)] ?? "";
      return { result: random.chance(0.6) ? mutateText(answer, random, answers) : answer };
    },
  };
  const bootId = await agentBootId(session as unknown as Session, { name: "vm", uuid: "", id: 1 });
  if (bootId === undefined) return "agent: no boot ID";
  assert.match(bootId, uuid);
  return "agent: a boot ID";
}

function damaged(texts: readonly string[], random: Random): string {
  return mutateText(texts[random.below(texts.length)] ?? "", random, texts);
}

/** The messages tell what the text has in that place, so that there would be as many outcomes as texts. */
function kindOnly(outcome: string): string {
  return outcome.split(",")[0] ?? outcome;
}

/** Texts that a comment kept apart are one when they are written. */
function joined({ name, attributes, children }: XmlElement): XmlElement {
  const nodes: XmlNode[] = [];
  for (const child of children) {
    const before = nodes.at(-1);
    if (typeof child !== "string") nodes.push(joined(child));
    else if (typeof before === "string") nodes[nodes.length - 1] = before + child;
    else if (child !== "") nodes.push(child);
  }
  return { name, attributes, children: nodes };
}
