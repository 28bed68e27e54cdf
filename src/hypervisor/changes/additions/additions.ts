import { onlySide, pathOf, type Difference } from "../difference.ts";
import type { Addition } from "./addition.ts";
import { devices, disks } from "./devices.ts";
import { choices, firmware, identity, state } from "./domain.ts";
import { interfaces } from "./interfaces.ts";
import { processor } from "./processor.ts";

/**
 * The differences that libvirt itself makes between a running domain's XML and that of its configuration, and what a
 * restart does not bring. Where something of the configuration cannot be told from libvirt's own work, such as a
 * required feature of a processor that is taken away again, it is in here: no difference is told that is none.
 */
export const additions: readonly Addition[] = [
  ...identity,
  ...state,
  ...choices,
  ...firmware,
  ...processor,
  ...disks,
  ...interfaces,
  ...devices,
];

/** The last name of each path that is meant, so that few patterns are tried for each difference. */
const matchers = Map.groupBy(
  additions.map((addition) => ({ ...addition, pattern: patternOf(addition.where) })),
  ({ where }) => lastName(where),
);

/** Whether a difference is one of {@link additions}. */
export function isAddition(difference: Difference): boolean {
  const path = pathOf(difference);
  const side = onlySide(difference);
  return [lastName(path), "*"]
    .flatMap((name) => matchers.get(name) ?? [])
    .some(
      ({ pattern, only, when }) =>
        pattern.test(path) &&
        (only === undefined || only === side) &&
        (when === undefined || when(difference.place)),
    );
}

function lastName(path: string): string {
  const name = /[^/@:]*$/.exec(path)?.[0] ?? "";
  return name.includes("*") ? "*" : name;
}

function patternOf(where: string): RegExp {
  const source = where
    .replaceAll("**/", "(?:<any>/)?")
    .replaceAll("**", "<any>")
    .replaceAll("*", "[^/@#]+")
    .replaceAll("<any>", ".*");
  return new RegExp(`^${source}$`);
}
