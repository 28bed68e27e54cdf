import { repairKey, type Finding, type Repair } from "../../controller/finding.ts";
import type { Comparison, NextStart, Outcome } from "../../controller/ports.ts";

/** What a boot of the model's domain was started with. */
export interface StartedWith {
  configuration: string;
  /** Disks that were left out. */
  without: readonly string[];
}

/** What the model's domain needs of its host in order to start, and what it is configured with. */
export class ModelHost {
  /** Told when something has gone missing or has come back. */
  onChange: () => void = () => {};
  /** Whether what is missing is not needed after all. */
  isMistaken = false;
  /** Repairs that do not help, by what they answer; all others mend what they are for. */
  readonly refusedRepairs = new Map<string, string>();
  /** Configurations that libvirt takes and does not start. */
  readonly unstartable = new Set<string>();
  /** Disks that libvirt does not plug into a running guest. */
  readonly unpluggable = new Set<string>();
  /** The persistent configuration of the domain, by a name. */
  configuration = "first";
  #before: string | undefined;
  /** Repairs that were carried out, by their keys, in order. */
  readonly repaired: string[] = [];
  #lacks: readonly Finding[] = [];

  /** What is missing or broken at the moment. */
  get lacks(): readonly Finding[] {
    return this.#lacks;
  }

  set lacks(lacks: readonly Finding[]) {
    this.#lacks = lacks;
    this.onChange();
  }

  /** Something goes missing. */
  lose(finding: Finding): void {
    if (!this.#lacks.includes(finding)) this.lacks = [...this.#lacks, finding];
  }

  /** It is back. */
  regain(finding: Finding): void {
    this.lacks = this.#lacks.filter((lack) => lack !== finding);
  }

  /** What a look at the next start finds; `running` is what the boot that runs was started with. */
  nextStart({ blueprint, preflight }: Comparison, running: StartedWith | undefined): NextStart {
    const { definition } = blueprint;
    const wanted = definition ?? this.configuration;
    const isInvalid = definition === "";
    const invalid: Finding = {
      reason: "DefinitionInvalid",
      path: "spec.definition",
      message: "it is empty",
      remedy: "write one",
    };
    // Of a definition that cannot be read nothing else is known.
    if (isInvalid) return { isToBeDefined: true, keepsPrevious: false, absentDisks: [], findings: [invalid] };
    const changes =
      running === undefined
        ? undefined
        : [
            ...(running.configuration === wanted ? [] : [`${running.configuration} -> ${wanted}`]),
            ...running.without.map((disk) => `disk ${disk} added`),
          ];
    return {
      isToBeDefined: wanted !== this.configuration,
      keepsPrevious: this.#before !== undefined,
      changes,
      absentDisks: [...(running?.without ?? [])],
      findings: preflight ? [...this.lacks] : undefined,
    };
  }

  /** Why libvirt does not start the domain without these disks; undefined where it does. */
  refusalToStart(without: readonly string[] = []): string | undefined {
    const lack = this.lacks.find(({ disk }) => disk === undefined || !without.includes(disk));
    if (lack !== undefined && !this.isMistaken) return lack.message;
    return this.unstartable.has(this.configuration) ? `cannot start ${this.configuration}` : undefined;
  }

  repair(repair: Repair): Outcome {
    const key = repairKey(repair);
    const refusal = this.refusedRepairs.get(key);
    if (refusal !== undefined) return { kind: "Refused", message: refusal };
    this.repaired.push(key);
    this.lacks = this.lacks.filter((lack) => lack.repair === undefined || repairKey(lack.repair) !== key);
    return { kind: "Done" };
  }

  /** Gives the domain another configuration. */
  define(configuration = this.configuration): void {
    if (configuration === this.configuration) return;
    this.#before = this.configuration;
    this.configuration = configuration;
  }

  /** What was kept beside the configuration is gone: the domain was undefined, or a boot with that is proven. */
  forget(): void {
    this.#before = undefined;
  }

  rollBack(): Outcome {
    if (this.#before === undefined)
      return { kind: "Refused", message: "no configuration before is known to go back to" };
    this.configuration = this.#before;
    this.#before = undefined;
    return { kind: "Done" };
  }
}
