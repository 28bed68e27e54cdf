import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { guestImage } from "./guest-image.ts";
import { toStderr } from "./report.ts";

export { boots, guestLines, guestReady, guestSays } from "./serial-log.ts";

/** What a guest does, such as when its power button is pressed; see test/parts/guest/init. */
export type Behaviour = "obey" | `obey-after=${number}` | "deaf" | "reboot" | "panic" | "suspend" | "write";

/** What is behind the guest agent's channel; see test/parts/guest/init. */
export type Agent = "running" | "deaf" | "hanging" | "absent";

/** A disk, which the guest sees as /dev/vda. A write that fails for want of space pauses the guest. */
export interface Disk {
  readonly path: string;
  readonly format: "raw" | "qcow2";
}

/** What libvirt does when a guest ends; its own defaults are the defaults here. */
export interface LifecycleActions {
  readonly onPoweroff?: "destroy" | "restart" | "preserve" | "rename-restart";
  readonly onReboot?: "destroy" | "restart" | "preserve" | "rename-restart";
  readonly onCrash?: "destroy" | "restart" | "preserve" | "coredump-destroy" | "coredump-restart";
}

/** A guest to define. */
export interface GuestOptions extends LifecycleActions {
  readonly name: string;
  readonly uuid?: string;
  /** What it does when its power button is pressed. */
  readonly behaviour: Behaviour;
  /** What it does as soon as it is ready. */
  readonly onReady?: Behaviour;
  /** Gives the domain a channel for a guest agent. Without one there is none. */
  readonly agent?: Agent;
  readonly disk?: Disk;
  /** 64 are too few for Debian's kernel. */
  readonly memoryMiB?: number;
  /** The file that takes the guest's serial console; appended to at each start. */
  readonly serialLog: string;
  /** Real virtualisation; see kvmBoots(). */
  readonly kvm?: boolean;
  /** Further elements below <devices>. */
  readonly devices?: string;
}

/**
 * Kernel parameters. An emulated processor takes 2 s for a boot, and these spare
 * it a quarter: the crypto tests alone take 0.5 s, patching code for other
 * processors and against side channels 0.2 s.
 */
const KERNEL_PARAMETERS = [
  "console=ttyS0",
  "quiet",
  "cryptomgr.notests",
  "noreplace-smp",
  "mitigations=off",
  "nokaslr",
  "no_timer_check",
  "tsc=reliable",
  "random.trust_cpu=on",
];

/**
 * Firmware that does little else than start a kernel: 0.2 s less than SeaBIOS at each boot. It cannot wake a guest
 * that has suspended itself.
 */
const QBOOT = "/usr/share/qemu/qboot.rom";

/** The domain XML of a test guest: a real kernel and little else. */
export async function domainXml(options: GuestOptions): Promise<string> {
  const image = await guestImage(toStderr);
  const { behaviour, onReady, agent, disk } = options;
  const words = [`behaviour=${behaviour}`];
  if (onReady !== undefined) words.push(`onready=${onReady}`);
  if (agent !== undefined) words.push(`agent=${agent}`);
  const suspends = behaviour === "suspend" || onReady === "suspend";
  return `<domain type='${options.kvm ? "kvm" : "qemu"}'>
  <name>${escape(options.name)}</name>
  <uuid>${options.uuid ?? randomUUID()}</uuid>
  <memory unit='MiB'>${options.memoryMiB ?? 96}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    ${existsSync(QBOOT) && !suspends ? `<loader type='rom'>${QBOOT}</loader>` : ""}
    <kernel>${escape(suspends ? image.packedKernel : image.kernel)}</kernel>
    <initrd>${escape(agent === undefined ? image.initramfs : image.initramfsWithAgent)}</initrd>
    <cmdline>${escape([...KERNEL_PARAMETERS, ...words].join(" "))}</cmdline>
  </os>
  <features><acpi/></features>
  <pm><suspend-to-mem enabled='${suspends ? "yes" : "no"}'/></pm>
  <on_poweroff>${options.onPoweroff ?? "destroy"}</on_poweroff>
  <on_reboot>${options.onReboot ?? "restart"}</on_reboot>
  <on_crash>${options.onCrash ?? "destroy"}</on_crash>
  <devices>
    <controller type='usb' model='none'/>
    <serial type='file'><source path='${escape(options.serialLog)}' append='on'/></serial>
    <memballoon model='none'/>
    <panic model='isa'/>
    ${agent === undefined ? "" : AGENT_CHANNEL}
    ${disk === undefined ? "" : diskXml(disk)}
    ${options.devices ?? ""}
  </devices>
</domain>
`;
}

const AGENT_CHANNEL = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>";

function diskXml({ path, format }: Disk): string {
  return `<disk type='file' device='disk'>
      <driver name='qemu' type='${format}' error_policy='stop'/>
      <source file='${escape(path)}'/>
      <target dev='vda' bus='virtio'/>
    </disk>`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("'", "&apos;");
}
