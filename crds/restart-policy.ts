import { z } from "zod";
import { rules } from "./custom-resource.ts";
import { restartMode } from "./restart.ts";

/** How a guest can be asked to shut down or to reboot. */
export const signals = ["Agent", "ACPI"] as const;
/** How a guest can be asked to shut down or to reboot. */
export type Signal = (typeof signals)[number];

const soft = z
  .object({
    via: z
      .enum(["Shutdown", "Reboot"])
      .default("Shutdown")
      .describe(
        "Shutdown: the guest is shut down and started again, so that a changed configuration is applied. " +
          "Reboot: it is asked to reboot in place; the domain is never off, and its configuration stays as it is. " +
          "What proves a reboot in place does not survive a crash of the controller unless the guest has an agent.",
      ),
    signals: z
      .array(z.enum(signals))
      .min(1)
      .max(signals.length)
      .default([...signals])
      .describe(
        "How the guest is asked, in this order. ACPI presses the virtual power button. Agent asks the QEMU " +
          "guest agent; it is skipped at once where no agent is connected.",
      )
      .meta({ "x-kubernetes-list-type": "set" }),
    timeoutSeconds: z
      .int()
      .min(1)
      .max(86_400)
      .default(120)
      .describe(
        "How long the guest may take to shut down before the restart is forced (Auto) or fails (Soft).",
      ),
    resendSeconds: z
      .int()
      .min(1)
      .max(86_400)
      .default(30)
      .describe(
        "The signal is sent again after this time, for a guest that was still booting and did not hear it.",
      ),
  })
  .prefault({})
  .describe("The graceful way.");

const hard = z
  .object({
    via: z
      .enum(["PowerCycle", "Reset"])
      .default("PowerCycle")
      .describe(
        "PowerCycle: the domain is destroyed and started. Reset: its reset button is pressed; it is never off, and " +
          "its configuration stays as it is. Either way the guest gets no chance to write its data.",
      ),
  })
  .prefault({})
  .describe("The forced way.");

/** How a machine is restarted. */
export const restartPolicy = z
  .object({
    mode: restartMode.default("Auto"),
    soft,
    hard,
    deadlineSeconds: z
      .int()
      .min(1)
      .max(31_536_000)
      .optional()
      .describe(
        "How long a request may wait for something that blocks it (a paused guest, a missing domain, ...) before " +
          "it fails. Default: it waits for ever.",
      ),
    minIntervalSeconds: z
      .int()
      .min(0)
      .max(31_536_000)
      .default(0)
      .describe(
        "Least time between the end of one restart and the beginning of the next: a guard against templates that " +
          "change at every render. The annotation warmboot.dev/skip-interval, with the request's token or " +
          "generation as its value, lets one request through.",
      ),
    whenPaused: z
      .enum(["Block", "Force"])
      .default("Block")
      .describe(
        "What happens to a paused guest, which cannot hear any signal. Block: the request waits until it is " +
          "resumed. Force: it is power-cycled, unless the mode is Soft.",
      ),
    whenBusy: z
      .enum(["Block", "Force"])
      .default("Block")
      .describe(
        "What a hard restart does while libvirt copies a disk, backs it up or dumps the guest's memory. Block: it " +
          "waits until the job is over. Force: the power is cut, and the job is lost. A migration is always waited for.",
      ),
    whenSaved: z
      .enum(["Block", "Discard"])
      .default("Block")
      .describe(
        "What happens to a domain that is off with its guest's memory saved on disk. Block: the request waits until " +
          "somebody starts the domain or removes the saved image. Discard: it is started anew, and the saved memory is lost.",
      ),
    onUnavailableVolume: z
      .enum(["Fail", "Detach"])
      .default("Fail")
      .describe(
        "What happens when a disk of the machine cannot be had. Fail: nothing is done to the guest until it can. " +
          "Detach: the machine is started without it, unless it is the boot disk; status.detachedVolumes lists it, " +
          "and it comes back at the next restart, or at once where libvirt can plug it in.",
      ),
    marks: z
      .enum(["Domain", "None"])
      .default("Domain")
      .describe(
        "Where a restart is recorded before the guest is touched. Domain: in the domain's own metadata, which " +
          "survives whatever happens to the controller and to the API server. None: only in this status, for " +
          "hypervisors where the controller lacks libvirt's permission to write a domain; a restart during which " +
          "the controller dies then ends as Unverified.",
      ),
    verifyGuest: z
      .object({
        timeoutSeconds: z
          .int()
          .min(1)
          .max(86_400)
          .default(300)
          .describe("How long the agent of the new boot may take to answer before the restart has failed."),
      })
      .optional()
      .describe(
        "With it a restart has succeeded only once the QEMU guest agent of the new boot answers. Without it, once " +
          "the new boot runs.",
      ),
  })
  .prefault({})
  .meta({
    description:
      "How the machine is restarted: gracefully first by default, then by force when the guest is deaf.",
    ...rules([
      "!has(self.mode) || self.mode != 'Soft' || !has(self.whenPaused) || self.whenPaused != 'Force'",
      "whenPaused: Force cuts the power, which mode Soft never does: use mode Auto or Hard, or whenPaused: Block",
    ]),
  });

/** How a machine is restarted, every default filled in. */
export type RestartPolicy = z.output<typeof restartPolicy>;
