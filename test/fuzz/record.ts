import { encodeFrame } from "../../src/libvirt/protocol/frame.ts";
import { startLibvirtProxy, type LibvirtMessage } from "../support/proxies/libvirt-proxy.ts";
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
  const hear = ({ payload, bytes, ...header }: LibvirtMessage) => {
    // The same again but for its serial has nothing new in it.
    const content = encodeFrame({ ...header, serial: 0 }, (to) => to.opaque(payload)).toString("latin1");
    if (bytes.length > longestRecorded || known.has(content)) return;
    known.add(content);
    frames.push(bytes);
  };
  await using libvirtd = await startLibvirtd();
  await using proxy = await startLibvirtProxy(libvirtd.socket);
  proxy.faults.always(
    () => true,
    (message) => {
      hear(message);
      return undefined;
    },
  );
  await tour(libvirtd, proxy.socket);
  const length = writeTraffic(frames);
  report(`${frames.length} messages recorded, ${length} bytes packed`);
}
