import { encodeFrame, type Frame } from "../../src/libvirt/protocol/frame.ts";
import { startLibvirtProxy } from "../support/libvirt-proxy.ts";
import { startLibvirtd } from "../support/libvirtd.ts";
import { setUp } from "../support/setup.ts";
import { tour } from "./tour.ts";
import { writeTraffic } from "./traffic.ts";

/** Longer ones are little else than one long text: capabilities, and a megabyte takes as long as a thousand others. */
const longestRecorded = 16_384;

/** Records a real libvirtd's traffic anew, in the place of what was recorded before. */
export async function record(report: (line: string) => void): Promise<void> {
  await setUp(report);
  const frames: Buffer[] = [];
  const known = new Set<string>();
  const hears = ({ payload, ...header }: Frame) => {
    const frame = encodeFrame(header, (to) => to.opaque(payload));
    // The same again but for its serial has nothing new in it.
    const content = encodeFrame({ ...header, serial: 0 }, (to) => to.opaque(payload)).toString("latin1");
    if (frame.length > longestRecorded || known.has(content)) return;
    known.add(content);
    frames.push(frame);
  };
  await using libvirtd = await startLibvirtd();
  await using proxy = await startLibvirtProxy(libvirtd.socket, { hears });
  await tour(libvirtd, proxy.socket);
  const length = writeTraffic(frames);
  report(`${frames.length} messages recorded, ${length} bytes packed`);
}
