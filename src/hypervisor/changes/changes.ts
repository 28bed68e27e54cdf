import { at, textOf, type XmlElement } from "../xml/element.ts";
import { isAddition } from "./additions/additions.ts";
import { canonical } from "./canonical.ts";
import { differencesAt, type Place } from "./difference.ts";
import { withoutPortsOfDevices } from "./pci-ports.ts";
import { sentenceOf } from "./sentence.ts";

/**
 * What a restart would change of a domain that runs: how its live XML (`running`) differs in meaning from what the next
 * start would use (`next`): the inactive XML of its persistent configuration, or of another configuration that libvirt
 * has read once under another name and UUID. Each is a short sentence without secrets, in an order that depends on
 * neither document's; none where there is nothing.
 *
 * The two are compared as trees, devices by what tells them apart. What libvirt adds to a domain that runs, and what
 * needs no restart, is left out; see `additions/`. In particular, another current memory is not told unless the
 * memory changes, too: in the XML of a running domain it is what the balloon holds at the moment, not what the boot
 * began with.
 */
export function changesBetween(running: XmlElement, next: XmlElement): string[] {
  const domains: Place = {
    path: "",
    running: canonical(running),
    next: canonical(next),
    parent: undefined,
    ordinal: undefined,
  };
  const names = ["name", "uuid"].map((name) => [textOf(at(running, name)), textOf(at(next, name))] as const);
  const isSame = (a: string, b: string) => names.some(([from, to]) => isRenamed(a, b, from, to));
  const differences = [...differencesAt(domains, { isMeaningless: isAddition, isSame })];
  return [...new Set(withoutPortsOfDevices(differences).map(sentenceOf))];
}

/** Whether two values differ only in that each contains its own domain's name, as the paths do that libvirt makes up. */
function isRenamed(a: string, b: string, from = "", to = ""): boolean {
  if (from === "" || to === "" || from === to || b.length - a.length !== to.length - from.length)
    return false;
  const [first, last] = [a.length - from.length - sameEnd(a, b), sameStart(a, b)];
  for (let index = Math.max(0, first); index <= last; index += 1) {
    if (a.startsWith(from, index) && b.startsWith(to, index)) return true;
  }
  return false;
}

function sameStart(a: string, b: string): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length += 1;
  return length;
}

function sameEnd(a: string, b: string): number {
  let length = 0;
  while (length < a.length && a.at(-1 - length) === b.at(-1 - length)) length += 1;
  return length;
}
