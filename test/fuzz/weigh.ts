/** What V8 takes for an object of a few fields, for an array without items, for a text and for a number of 64 bits. */
const objectBytes = 56;
const arrayBytes = 32;
const textBytes = 16;
const bigintBytes = 24;

/** About how many bytes of memory a decoded value takes. */
export function weigh(value: unknown): number {
  switch (typeof value) {
    case "string":
      // One that has a character beyond Latin-1 takes two bytes for each.
      return value === "" ? 0 : textBytes + value.length * 2;
    case "bigint":
      return bigintBytes;
    case "object":
      return weighObject(value);
    default:
      return 0;
  }
}

function weighObject(value: object | null): number {
  if (value === null) return 0;
  if (value instanceof Uint8Array) return arrayBytes + value.length;
  const parts: unknown[] = Array.isArray(value) ? value : Object.values(value);
  const own = Array.isArray(value) ? arrayBytes : objectBytes;
  return parts.reduce<number>((sum, part) => sum + 8 + weigh(part), own);
}
