import { readFileSync, writeFileSync } from "node:fs";
import { constants, gunzipSync, gzipSync } from "node:zlib";
import { procedures } from "libvirt";
import { FrameSplitter, MessageStatus, MessageType, type Frame } from "../../src/libvirt/protocol/frame.ts";
import { decodeWhole } from "../../src/libvirt/xdr/decode.ts";

/** What a real libvirtd and its clients said to each other: whole messages, one after the other, as they were sent. */
const file = new URL("traffic.gz", import.meta.url);

/** What was recorded: real messages to be damaged, and the texts that they carry. */
export interface Traffic {
  /** Calls, replies and events, each whole. */
  readonly messages: readonly Buffer[];
  readonly domainXmls: readonly string[];
  /** Elements of domains' metadata. */
  readonly marks: readonly string[];
  /** What guest agents answered. */
  readonly agentAnswers: readonly string[];
}

/** Reads what was recorded. */
export function readTraffic(): Traffic {
  const messages = split(gunzipSync(readFileSync(file)));
  const { domainGetXmlDesc, domainGetMetadata, qemuDomainAgentCommand } = procedures;
  const domainXmls = new Set<string>();
  const marks = new Set<string>();
  const agentAnswers = new Set<string>();
  for (const message of messages) {
    const { program, procedure, type, status, payload } = frameOf(message);
    if (type !== MessageType.Reply || status !== MessageStatus.Ok) continue;
    if (program === qemuDomainAgentCommand.program) {
      agentAnswers.add(decodeWhole(qemuDomainAgentCommand.result, payload).result ?? "");
    } else if (procedure === domainGetXmlDesc.number) {
      domainXmls.add(decodeWhole(domainGetXmlDesc.result, payload).xml);
    } else if (procedure === domainGetMetadata.number) {
      marks.add(decodeWhole(domainGetMetadata.result, payload).metadata);
    }
  }
  return { messages, domainXmls: [...domainXmls], marks: [...marks], agentAnswers: [...agentAnswers] };
}

/** Keeps messages for {@link readTraffic}; returns the length of the file in bytes. */
export function writeTraffic(messages: readonly Buffer[]): number {
  const packed = gzipSync(Buffer.concat(messages), { level: constants.Z_BEST_COMPRESSION });
  writeFileSync(file, packed);
  return packed.length;
}

/** Header and payload of a whole message. */
export function frameOf(message: Buffer): Frame {
  const frames: Frame[] = [];
  new FrameSplitter().split(message, (frame) => frames.push(frame));
  const [frame] = frames;
  if (frame === undefined) throw new Error("the message is not whole");
  return frame;
}

/** Each message begins with its length. */
function split(stream: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let rest = stream; rest.length > 0;) {
    const length = rest.readUInt32BE(0);
    messages.push(rest.subarray(0, length));
    rest = rest.subarray(length);
  }
  return messages;
}
