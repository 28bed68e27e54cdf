import { restartStages, type RestartStage } from "../../crds/restart.ts";
import { domainStates, type DomainState } from "../../crds/virtual-machine.ts";

/** Where an attempt was when a decision was made; None: there was no attempt. */
export type CoveredStage = RestartStage | "None";

const stages: readonly CoveredStage[] = ["None", ...restartStages];

/** Counts decisions by the domain's state, the attempt's stage and what had happened last. */
export class Coverage {
  readonly #happenings: readonly string[];
  readonly #counts: Float64Array;

  /** Made for a closed list of happenings; `counts` are those of another one for the same list. */
  constructor(happenings: readonly string[], counts?: Float64Array) {
    this.#happenings = happenings;
    this.#counts = counts ?? new Float64Array(happenings.length * stages.length * domainStates.length);
  }

  /** All counts, as the constructor takes them. */
  get counts(): Float64Array {
    return this.#counts;
  }

  count(state: DomainState, stage: CoveredStage, happening: string): void {
    const index = this.#index(
      this.#happenings.indexOf(happening),
      stages.indexOf(stage),
      domainStates.indexOf(state),
    );
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
  }

  add(other: Coverage): void {
    for (const [index, count] of other.#counts.entries()) {
      this.#counts[index] = (this.#counts[index] ?? 0) + count;
    }
  }

  /** Tables for people: what came together how often, and what never did. */
  *lines(): Iterable<string> {
    const states = domainStates.filter((_, state) => this.#sum({ state }) > 0);
    const unseenStates = domainStates.filter((_, state) => this.#sum({ state }) === 0);
    yield "Decisions by the state of the domain and the stage of the attempt:";
    yield* table(stages, states, (stage, row) => this.#sum({ state: domainStates.indexOf(row), stage }));
    yield "";
    yield "Decisions by what had happened last and the stage of the attempt:";
    yield* table(stages, this.#happenings, (stage, row) =>
      this.#sum({ happening: this.#happenings.indexOf(row), stage }),
    );
    yield "";
    const possible = states.length * stages.length * this.#happenings.length;
    const seen = this.#counts.reduce((sum, count) => sum + (count > 0 ? 1 : 0), 0);
    yield `${seen} of ${possible} combinations of state, stage and happening were seen`;
    if (unseenStates.length > 0) yield `no domain was ever in the state ${unseenStates.join(", ")}`;
    for (const [happening, name] of this.#happenings.entries()) {
      const unseen = stages.filter((_, stage) => this.#sum({ happening, stage }) === 0);
      if (unseen.length > 0) yield `never seen: "${name}" in ${unseen.join(", ")}`;
    }
  }

  #index(happening: number, stage: number, state: number): number {
    return (happening * stages.length + stage) * domainStates.length + state;
  }

  /** Of everything where the dimensions that are given have the value that is given. */
  #sum(fixed: { happening?: number; stage?: number; state?: number }): number {
    let sum = 0;
    for (const happening of every(this.#happenings, fixed.happening))
      for (const stage of every(stages, fixed.stage))
        for (const state of every(domainStates, fixed.state))
          sum += this.#counts[this.#index(happening, stage, state)] ?? 0;
    return sum;
  }
}

function every(all: readonly unknown[], one: number | undefined): Iterable<number> {
  return one === undefined ? all.keys() : [one];
}

function* table<Row extends string>(
  columns: readonly string[],
  rows: readonly Row[],
  count: (column: number, row: Row) => number,
): Iterable<string> {
  const first = Math.max(...rows.map(({ length }) => length));
  const width = Math.max(...columns.map(({ length }) => length), 8);
  const line = (name: string, cells: readonly string[]) =>
    `  ${name.padEnd(first)}${cells.map((cell) => cell.padStart(width + 1)).join("")}`;
  yield line("", columns);
  for (const row of rows)
    yield line(
      row,
      columns.map((_, column) => `${count(column, row) || "-"}`),
    );
}
