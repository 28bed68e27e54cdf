import { Command, InvalidArgumentError, Option } from "commander";
import { AddressError, parseUri } from "libvirt";
import { logLevels, type LogFormat, type LogLevel } from "./log.ts";

/** What the program is told on its command line. */
export interface ProgramOptions {
  /** URI of the hypervisor. */
  connect: string;
  kubeconfig?: string;
  context?: string;
  namespace?: string;
  /** Whether resources may say how their domains are defined. */
  allowDefinitions: boolean;
  workers: number;
  logLevel: LogLevel;
  logFormat: LogFormat;
}

/**
 * Reads the command line. For --help and --version, and for a wrong flag after one line that says what is wrong,
 * the process ends here.
 */
export function readOptions(argv: readonly string[], version: string, isTerminal: boolean): ProgramOptions {
  const command = new Command("warmboot")
    .description(
      "Restarts libvirt virtual machines when their VirtualMachine resources in Kubernetes ask for it:\n" +
        "gracefully where the guest answers, by power cycle where it does not, once per request.",
    )
    .version(version)
    .option(
      "--connect <uri>",
      "libvirt URI of the hypervisor, as virsh takes it; local UNIX sockets only",
      libvirtUri,
      "qemu:///system",
    )
    .option(
      "--kubeconfig <file>",
      "kubeconfig to use (default: $KUBECONFIG, ~/.kube/config, or the pod's own)",
    )
    .option("--context <name>", "context of the kubeconfig (default: its current one)")
    .option("--namespace <name>", "watch the VirtualMachines of this namespace only (default: all)")
    .option(
      "--allow-definitions",
      "let VirtualMachines define domains (spec.definition): whoever may write one then decides what runs on the hypervisor",
      false,
    )
    .option(
      "--workers <number>",
      "how many resources are worked on at once; waiting for a guest holds none",
      wholeNumber,
      64,
    )
    .addOption(new Option("--log-level <level>", "how much is logged").choices(logLevels).default("info"))
    .addOption(
      new Option(
        "--log-format <format>",
        "how log lines look (default: pretty on a terminal, json elsewhere)",
      ).choices(["json", "pretty"]),
    )
    .allowExcessArguments(false)
    .configureOutput({
      outputError: (text, write) => write(`${text.trim()} (npm start -- --help explains every flag)\n`),
    })
    .addHelpText(
      "after",
      "\nExamples:\n  npm start -- --connect qemu:///system\n  npm start -- --connect 'qemu+unix:///system?socket=/run/libvirt/libvirt-sock' --namespace lab",
    )
    .parse(argv, { from: "user" });
  const options = command.opts<Omit<ProgramOptions, "logFormat"> & { logFormat?: LogFormat }>();
  return { ...options, logFormat: options.logFormat ?? (isTerminal ? "pretty" : "json") };
}

function libvirtUri(text: string): string {
  try {
    parseUri(text);
    return text;
  } catch (error) {
    if (error instanceof AddressError) throw new InvalidArgumentError(error.message);
    throw error;
  }
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > 10_000) {
    throw new InvalidArgumentError("it must be a whole number from 1 to 10000.");
  }
  return number;
}
