import type { RestartMethod } from "../../crds/restart.ts";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { RestartMode } from "../../crds/restart.ts";
import type { Behaviour } from "../support/guest.ts";
import type { Libvirtd } from "../support/libvirtd.ts";
import { run } from "../support/run.ts";
import type { NewGuest } from "../support/start-guest.ts";
import { virtualMachine } from "../support/warmboot.ts";

/** How the demo asks for a restart. */
export type Trigger = "Annotation" | "Manifest";

/** One guest of the demo, and what its restart must come to. */
export interface Scenario {
  name: string;
  /** In words, for the reader. */
  about: string;
  behaviour: Behaviour;
  trigger: Trigger;
  mode?: RestartMode;
  policy: { timeoutSeconds: number; resendSeconds: number };
  /** Makes what the guest needs of its host, and gives what it is defined with. */
  furnish?: (libvirtd: Libvirtd) => Promise<Partial<NewGuest>>;
  /** Takes something of it away, and gives the command as a person would type it. */
  takeAway?: (libvirtd: Libvirtd) => Promise<string>;
  expected: Expected;
}

/** What a restart must come to. */
export type Expected =
  | { outcome: "Restarted"; method: RestartMethod; forced: boolean; repairs?: string[] }
  /** Nothing is done to the guest; the finding names what is missing. */
  | { outcome: "Refused"; finding: RegExp };

/** The demo, in order. */
export const scenarios: readonly Scenario[] = [
  {
    name: "obeying",
    about: "shuts down when its power button is pressed",
    behaviour: "obey",
    trigger: "Annotation",
    policy: { timeoutSeconds: 30, resendSeconds: 10 },
    expected: { outcome: "Restarted", method: "Soft", forced: false },
  },
  {
    name: "deaf",
    about: "ignores the button: it is power-cycled when its 5 s are over",
    behaviour: "deaf",
    trigger: "Manifest",
    policy: { timeoutSeconds: 5, resendSeconds: 2 },
    expected: { outcome: "Restarted", method: "Hard", forced: true },
  },
  {
    name: "rebooting",
    about: "answers the button by rebooting itself: one restart, not two",
    behaviour: "reboot",
    trigger: "Annotation",
    policy: { timeoutSeconds: 30, resendSeconds: 10 },
    expected: { outcome: "Restarted", method: "Soft", forced: false },
  },
  {
    name: "stranded",
    about: "has lost its network and its storage pool: both are started before its power is cut",
    behaviour: "deaf",
    trigger: "Annotation",
    mode: "Hard",
    policy: { timeoutSeconds: 5, resendSeconds: 2 },
    furnish: networkAndVolume,
    takeAway: stopNetworkAndPool,
    expected: {
      outcome: "Restarted",
      method: "Hard",
      forced: false,
      repairs: ["started pool images", "started network lab"],
    },
  },
  {
    name: "diskless",
    about: "has lost its disk: it could not start again, so it keeps running",
    behaviour: "deaf",
    trigger: "Annotation",
    mode: "Hard",
    policy: { timeoutSeconds: 5, resendSeconds: 2 },
    furnish: imageFile,
    takeAway: removeImage,
    expected: { outcome: "Refused", finding: /diskless\.qcow2/ },
  },
];

/** The VirtualMachine of a scenario, as its user applies it. */
export function manifest({ name, mode = "Auto", policy }: Scenario, restartGeneration: number): string {
  return virtualMachine(name, { restartGeneration, restartPolicy: { mode, soft: policy } });
}

/** A network of the demo's own libvirtd, and a volume in a storage pool. */
async function networkAndVolume(libvirtd: Libvirtd): Promise<Partial<NewGuest>> {
  const network = join(libvirtd.directory, "lab.xml");
  await writeFile(network, "<network><name>lab</name><bridge name='lab0' delay='0'/></network>");
  await libvirtd.virsh("net-define", network);
  await libvirtd.virsh("net-start", "lab");
  await libvirtd.virsh("pool-define-as", "images", "dir", "--target", join(libvirtd.directory, "images"));
  await libvirtd.virsh("pool-build", "images");
  await libvirtd.virsh("pool-start", "images");
  await libvirtd.virsh("vol-create-as", "images", "data.qcow2", "16M", "--format", "qcow2");
  const devices =
    "<interface type='network'><source network='lab'/><model type='virtio'/></interface>" +
    "<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>" +
    "<source pool='images' volume='data.qcow2'/><target dev='vda' bus='virtio'/></disk>";
  return { devices };
}

async function stopNetworkAndPool(libvirtd: Libvirtd): Promise<string> {
  await libvirtd.virsh("net-destroy", "lab");
  await libvirtd.virsh("pool-destroy", "images");
  return "virsh net-destroy lab; virsh pool-destroy images";
}

async function imageFile({ directory }: Libvirtd): Promise<Partial<NewGuest>> {
  const path = join(directory, "diskless.qcow2");
  await run("qemu-img", ["create", "-q", "-f", "qcow2", path, "16M"]);
  return { disk: { path, format: "qcow2" } };
}

async function removeImage({ directory }: Libvirtd): Promise<string> {
  await rm(join(directory, "diskless.qcow2"));
  return "rm diskless.qcow2";
}
