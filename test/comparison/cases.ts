import { rename } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { RestartRecord } from "../../crds/restart.ts";
import type { ControllerProcess } from "../support/controller.ts";
import { run } from "../support/run.ts";
import type { Site } from "../support/site.ts";
import { readVirtualMachine, virtualMachine, waitForStatus } from "../support/warmboot.ts";

/** What there is to perform a case on. */
export interface Stage {
  readonly site: Site;
  readonly controller: ControllerProcess;
}

/** A situation in which OpenStack Nova's libvirt driver was seen to go wrong. */
export interface Case {
  readonly situation: string;
  /** What Nova 34.0.0 was measured to do in it. */
  readonly nova: string;
  /** Performs it on real parts with the real controller, and tells what was seen. */
  perform(stage: Stage, name: string): Promise<Seen>;
}

/** What was seen of one restart. */
export interface Seen {
  readonly restart: RestartRecord;
  /** Boots of the guest that came up, the first one among them. */
  readonly boots: number;
  /** What was seen besides, in words. */
  readonly remarks?: readonly string[];
}

/** Nova's own default, as wait_soft_reboot_seconds. */
const soft = { timeoutSeconds: 120 };

/** The cases of the measurement, in its order. */
export const cases: readonly Case[] = [
  {
    situation: "The guest is already off",
    nova: "waits out its whole timeout (120.4 s at the default), then resets hard",
    async perform(stage, name) {
      const guest = await stage.site.startMachine({ name, behaviour: "obey" }, { soft });
      await stage.site.libvirtd.virsh("destroy", name);
      await waitForStatus(stage.site.api, name, "domain.state", "Shutoff");
      await request(stage, name);
      const restart = await ended(stage, name);
      await guest.ready(2);
      return { restart, boots: (await guest.boots()).length };
    },
  },
  {
    situation: "The guest is paused before it is asked",
    nova: "sends no signal, waits out the timeout, then cuts the power of the paused guest",
    async perform(stage, name) {
      const { site } = stage;
      const guest = await site.startMachine({ name, behaviour: "obey" }, { soft });
      await site.libvirtd.virsh("suspend", name);
      await waitForStatus(site.api, name, "domain.state", "Paused");
      await request(stage, name);
      const remark = await toldBlocked(stage, name);
      await site.libvirtd.virsh("resume", name);
      const restart = await ended(stage, name);
      await guest.ready(2);
      return { restart, boots: (await guest.boots()).length, remarks: [remark] };
    },
  },
  {
    situation: "Somebody pauses the guest while it shuts down",
    nova: "waits out the timeout, then cuts the power of the paused guest",
    async perform(stage, name) {
      const { site } = stage;
      const guest = await site.startMachine({ name, behaviour: "obey-after=2" }, { soft });
      await request(stage, name);
      await asked(stage, name);
      await guest.says("button");
      await site.libvirtd.virsh("suspend", name);
      const remark = await toldBlocked(stage, name);
      await site.libvirtd.virsh("resume", name);
      const restart = await ended(stage, name);
      await guest.ready(2);
      return { restart, boots: (await guest.boots()).length, remarks: [remark] };
    },
  },
  {
    situation: "The guest answers the button by rebooting in place",
    nova: "does not notice, waits out the timeout, then destroys the boot that has just come up",
    async perform(stage, name) {
      const guest = await stage.site.startMachine({ name, behaviour: "reboot" }, { soft });
      await request(stage, name);
      const restart = await ended(stage, name);
      await guest.ready(2);
      return { restart, boots: (await guest.boots()).length };
    },
  },
  {
    situation: "The button is pressed while the guest still boots, which does not hear it",
    nova: "never presses it again; resets hard after the timeout",
    async perform(stage, name) {
      const { site } = stage;
      const guest = await site.defineGuest({ name, behaviour: "obey" });
      await site.api.apply(virtualMachine(name, { restartPolicy: { soft: { ...soft, resendSeconds: 5 } } }));
      await waitForStatus(site.api, name, "domain.state", "Shutoff");
      // Everything is ready for the request, so that it meets the guest in the first second of its boot.
      await site.libvirtd.virsh("start", name);
      await request(stage, name);
      const restart = await ended(stage, name);
      await guest.ready(2);
      const presses = effects(stage, name).filter((effect) => effect === "Shutdown").length;
      const remarks = [`button pressed ${presses} times`];
      return { restart, boots: (await guest.boots()).length, remarks };
    },
  },
  {
    situation: "The guest is off 0.5 s before a timeout of 5 s ends",
    nova: "polls before its last sleep and not after it, and resets hard the guest that has gone off at 4.53 s",
    async perform(stage, name) {
      const policy = { soft: { timeoutSeconds: 5 } };
      const guest = await stage.site.startMachine({ name, behaviour: "obey-after=4.5" }, policy);
      await request(stage, name);
      const restart = await ended(stage, name);
      await guest.ready(2);
      return { restart, boots: (await guest.boots()).length };
    },
  },
  {
    situation: "An operator destroys the guest while it shuts down",
    nova: "starts it, and calls that a soft success",
    async perform(stage, name) {
      const guest = await stage.site.startMachine({ name, behaviour: "deaf" }, { soft });
      await request(stage, name);
      await asked(stage, name);
      await stage.site.libvirtd.virsh("destroy", name);
      const restart = await ended(stage, name);
      await guest.ready(2);
      return { restart, boots: (await guest.boots()).length };
    },
  },
  {
    situation: "Somebody undefines the domain while its guest shuts down",
    nova: "fails with an error that escapes, without a fallback",
    async perform(stage, name) {
      const { libvirtd } = stage.site;
      const guest = await stage.site.startMachine({ name, behaviour: "deaf" }, { soft });
      await request(stage, name);
      await asked(stage, name);
      await libvirtd.virsh("undefine", name);
      const restart = await ended(stage, name);
      const remarks = [`its state is ${(await libvirtd.virsh("domstate", name)).trim()}`];
      const boots = (await guest.boots()).length;
      await libvirtd.virsh("destroy", name);
      return { restart, boots, remarks };
    },
  },
  {
    situation: "libvirtd is away for 1.5 s while the guest shuts down",
    nova: "abandons the reboot with the shutdown already sent: the guest goes off and stays off",
    async perform(stage, name) {
      const { libvirtd } = stage.site;
      const guest = await stage.site.startMachine({ name, behaviour: "obey-after=1" }, { soft });
      await request(stage, name);
      await asked(stage, name);
      await libvirtd.signal("KILL");
      await libvirtd.exited();
      // The case is this length of time, and not an event.
      await delay(1500);
      await libvirtd.start();
      const restart = await ended(stage, name);
      await guest.ready(2);
      return { restart, boots: (await guest.boots()).length };
    },
  },
  {
    situation: "The image of the guest's disk is missing",
    nova: "fails to start the guest that it has shut down, fails with the hard fallback as well, and leaves the domain undefined",
    async perform(stage, name) {
      const { libvirtd } = stage.site;
      const path = `${libvirtd.directory}/${name}.qcow2`;
      await run("qemu-img", ["create", "-q", "-f", "qcow2", path, "1M"]);
      const options = { name, behaviour: "obey", disk: { path, format: "qcow2" } } as const;
      const guest = await stage.site.startMachine(options, { soft });
      await rename(path, `${path}.away`);
      await request(stage, name);
      await waitForStatus(stage.site.api, name, "conditions[?(@.type=='Stalled')].reason", "PreflightFailed");
      const state = (await libvirtd.virsh("domstate", name)).trim();
      await rename(`${path}.away`, path);
      const restart = await ended(stage, name);
      await guest.ready(2);
      const remarks = [`told PreflightFailed with the guest ${state}, and restarted once the image was back`];
      return { restart, boots: (await guest.boots()).length, remarks };
    },
  },
];

async function request({ site }: Stage, name: string): Promise<void> {
  await site.api.kubectl("annotate", "wvm", name, `warmboot.dev/restart=${name}`);
}

/** Resolves when the guest has been asked. */
async function asked({ controller }: Stage, machine: string): Promise<void> {
  await controller.logged(
    ({ name, effect, outcome }) => name === machine && effect === "Shutdown" && outcome === "Done",
  );
}

/** Resolves when the status says that the request waits, to what it says and when it said so. */
async function toldBlocked({ site, controller }: Stage, machine: string): Promise<string> {
  const blocked = await controller.logged(({ name, reason }) => name === machine && reason === "GuestPaused");
  await waitForStatus(site.api, machine, "conditions[?(@.type=='Reconciling')].reason", "GuestPaused");
  const { request: pending } = (await readVirtualMachine(site.api, machine)).status;
  const afterMs = Date.parse(blocked.time) - Date.parse(pending?.requestedAt ?? "");
  return `told GuestPaused ${(afterMs / 1000).toFixed(2)} s after the request, waited, and was resumed`;
}

async function ended({ site }: Stage, name: string): Promise<RestartRecord> {
  await waitForStatus(site.api, name, "observedRestartToken", name);
  const { lastRestart } = (await readVirtualMachine(site.api, name)).status;
  if (lastRestart === undefined) throw new Error(`${name}: its request was served without a restart`);
  return lastRestart;
}

function effects({ controller }: Stage, machine: string): string[] {
  return controller.lines.flatMap(({ name, effect, outcome }) =>
    name === machine && outcome === "Done" ? (effect ?? []) : [],
  );
}
