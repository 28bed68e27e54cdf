import { faultNames, type Fault } from "./account.ts";
import type { Result } from "./matrix.ts";
import { pointOf } from "./points.ts";

/** The command that performs a case again. */
export function commandOf({ path, blow }: Result): string {
  const where = blow === undefined ? "" : ` --point ${blow.passage} --fault ${blow.injection.name}`;
  return `npm run faults -- --path ${path.name}${where}`;
}

/** A Markdown table: points by paths, in each cell how many passages were tried and what was wrong. */
export function tableOf(results: readonly Result[]): string {
  const paths = [...new Set(results.map(({ path }) => path.name))];
  const points = [...new Set(results.map(pointAndFault))].toSorted();
  const rows = points.map((point) => [
    point,
    ...paths.map((path) =>
      cellOf(results.filter((result) => result.path.name === path && pointAndFault(result) === point)),
    ),
  ]);
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const head = ["point", ...paths];
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function pointAndFault({ blow }: Result): string {
  if (blow === undefined) return "none";
  const { passage, injection } = blow;
  return injection.name === "kill" ? pointOf(passage) : `${pointOf(passage)} ${injection.name}`;
}

function cellOf(results: readonly Result[]): string {
  if (results.length === 0) return "";
  const faults = results.flatMap(({ outcome }) => outcome.faults.map(([fault]) => fault));
  const missed = results.filter(({ blow, outcome }) => blow !== undefined && !outcome.struck).length;
  const wrong = [...new Set(faults)].map((fault) => `**${fault}**`);
  const words = [`${results.length} ${wrong.length === 0 ? "ok" : wrong.join(", ")}`];
  if (missed > 0) words.push(`${missed} not reached`);
  return words.join(", ");
}

function hasFault({ outcome }: Result, name: Fault): boolean {
  return outcome.faults.some(([fault]) => fault === name);
}

/** How many cases, what was wrong with them, and the longest that a guest which was off waited for its start. */
export function totalsOf(results: readonly Result[]): string {
  const faulty = results.filter(({ outcome }) => outcome.faults.length > 0);
  const missed = results.filter(({ blow, outcome }) => blow !== undefined && !outcome.struck);
  const points = new Set(results.flatMap(({ blow }) => (blow === undefined ? [] : [pointOf(blow.passage)])));
  const delays = results.flatMap((result) => {
    const { startDelayMs } = result.outcome;
    return startDelayMs === undefined ? [] : [{ result, startDelayMs }];
  });
  const [worst] = delays.toSorted((one, other) => other.startDelayMs - one.startDelayMs);
  const counts = faultNames.map(
    (name) => `${results.filter((result) => hasFault(result, name)).length} ${name}`,
  );
  const lines = [
    `${results.length} cases at ${points.size} points: ${counts.join(", ")}; ${missed.length} did not come to their point.`,
    `${delays.length} guests were off when the next process was ready` +
      (worst === undefined
        ? "."
        : `; the last of them was started ${Math.round(worst.startDelayMs)} ms later (${commandOf(worst.result)}).`),
    ...faulty.map(
      (result) =>
        `${result.outcome.faults.map(([fault, why]) => `${fault}: ${why}`).join("; ")}\n    ${commandOf(result)}`,
    ),
  ];
  return lines.join("\n");
}
