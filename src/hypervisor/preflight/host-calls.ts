import { LibvirtError, type ErrorCodeName, type Procedure } from "libvirt";
import type { Caller } from "../caller.ts";
import type { XmlElement } from "../xml/element.ts";
import { parseXml, XmlError } from "../xml/parse.ts";

/** libvirt's answer about an object of the host. */
export type Answer<R> =
  | { readonly kind: "Found"; readonly result: R }
  /** libvirt knows its objects of this kind, and has none such. */
  | { readonly kind: "Absent" }
  /** It cannot say: it has no driver for this kind, or does not let us ask. Nothing follows from that. */
  | { readonly kind: "Untold"; readonly error: LibvirtError };

/** The calls that ask what a host has. They reject only where no answer came. */
export class HostCalls {
  readonly caller: Caller;

  constructor(caller: Caller) {
    this.caller = caller;
  }

  /** Asks for an object; `absence` is how libvirt says that there is none. */
  async find<A, R>(
    procedure: Procedure<A, R>,
    args: NoInfer<A>,
    absence?: ErrorCodeName,
  ): Promise<Answer<R>> {
    try {
      return { kind: "Found", result: await this.call(procedure, args) };
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      return error.code === absence ? { kind: "Absent" } : { kind: "Untold", error };
    }
  }

  /** What libvirt answers; undefined where it cannot say. */
  async ask<A, R>(procedure: Procedure<A, R>, args: NoInfer<A>): Promise<R | undefined> {
    const answer = await this.find(procedure, args);
    return answer.kind === "Found" ? answer.result : undefined;
  }

  /** Rejects as Session.call does. What storage holds up holds up no effect on a domain. */
  async call<A, R>(procedure: Procedure<A, R>, args: NoInfer<A>): Promise<R> {
    return this.caller.call(procedure, args, { waitsFor: "Storage" });
  }
}

/** XML that libvirt answers; undefined for what is too much to be read, as where libvirt cannot say. */
export function readAnswer(xml: string): XmlElement | undefined {
  try {
    return parseXml(xml);
  } catch (error) {
    if (error instanceof XmlError) return undefined;
    throw error;
  }
}
