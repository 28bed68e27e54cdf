const binaryUnits = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const;

/** How many bytes libvirt's units of size are, in lower case: a decimal one ends in "b", "K" alone is 1024. */
const bytesOf: ReadonlyMap<string, bigint> = new Map([
  ["b", 1n],
  ["byte", 1n],
  ["bytes", 1n],
  ...binaryUnits.flatMap((unit, index): [string, bigint][] => {
    const letter = unit.charAt(0).toLowerCase();
    const binary = 1024n ** BigInt(index + 1);
    return [
      [letter, binary],
      [`${letter}ib`, binary],
      [`${letter}b`, 1000n ** BigInt(index + 1)],
    ];
  }),
]);

/** An amount of a unit in bytes; undefined for what is no size. */
export function inBytes(amount: string, unit: string): bigint | undefined {
  const factor = bytesOf.get(unit.toLowerCase());
  if (factor === undefined || !/^\s*\d{1,20}\s*$/.test(amount)) return undefined;
  return BigInt(amount) * factor;
}

/**
 * A size as a person would say it, such as "2 GiB" for 2097152 and "KiB": in the largest unit in which it is a whole
 * number, so that two sizes are equal exactly if their words are. Undefined for what is no size.
 */
export function sizeInWords(amount: string, unit: string): string | undefined {
  let value = inBytes(amount, unit);
  if (value === undefined) return undefined;
  let words = "bytes";
  for (const larger of binaryUnits) {
    if (value === 0n || value % 1024n !== 0n) break;
    value /= 1024n;
    words = larger;
  }
  return `${value} ${words}`;
}
