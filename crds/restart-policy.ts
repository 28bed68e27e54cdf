import { z } from "zod";
import { rules } from "./custom-resource.ts";
import { restartMode } from "./restart.ts";

const soft = z
  .object({
    via: z
      .enum(["Shutdown"])
      .default("Shutdown")
      .describe(
        "Shutdown: the guest is shut down and started again, so that a changed configuration is applied.",
      ),
    signals: z
      .array(z.enum(["Agent", "ACPI"]))
      .min(1)
      .max(2)
      .default(["Agent", "ACPI"])
      .describe(
        "How the guest is asked, in this order. ACPI presses the virtual power button. Agent asks the QEMU " +
          "guest agent; it is skipped at once where no agent is connected, and this version connects to none.",
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
  .meta({
    description: "The graceful way.",
    ...rules([
      "!has(self.signals) || self.signals.exists(signal, signal == 'ACPI')",
      "signals must contain ACPI: this version asks no guest agent, so the guest would not be asked at all",
    ]),
  });

const hard = z
  .object({
    via: z
      .enum(["PowerCycle"])
      .default("PowerCycle")
      .describe(
        "PowerCycle: the domain is destroyed and started. The guest gets no chance to write its data.",
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
