import type { Random } from "../simulation/random.ts";

/** Nothing grows much beyond this; the bounds of texts themselves have tests of their own. */
const longest = 200_000;

/** What parsers of XML, JSON and numbers stumble over. */
const words = [
  " ",
  "\uD800",
  "\uDC00",
  "🚀",
  "<!--",
  "-->",
  "<![CDATA[",
  "]]>",
  "<?xml version='1.0'?>",
  "<!DOCTYPE request [<!ENTITY e 'eeeeeeeeee'><!ENTITY f '&e;&e;&e;&e;&e;'>]>",
  "&e;",
  "&f;",
  "&amp;",
  "&#0;",
  "&#x110000;",
  "&#xD800;",
  "&#99999999999999999999;",
  "&#x1;",
  "&toString;",
  "&__proto__;",
  "<a>",
  "</a>",
  "<a/>",
  "<domain>",
  "</domain>",
  "<devices>",
  "</metadata>",
  " a=''",
  ' attempt=""',
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "xmlns:a='urn:a'",
  "9007199254740993",
  "-1",
  "1e999",
  "NaN",
  "0x10",
  '{"__proto__":{"x":1}}',
  "null",
  "true",
  "[[[[[[[[[[[[[[[[",
  "2026-13-45T99:99:99Z",
  "+275760-09-13T00:00:00.001Z",
  "\\u0000",
  "=====",
] as const;

/** Characters that mean something to them, or that no text should have. */
const signs = "<>/&='\"!?[]{}-,:\\$#%;\0\t\n\r\u001B\u2028\uFFFE\uFEFF";

/** Damages a text in one or a few ways. */
export function mutateText(original: string, random: Random, others: readonly string[]): string {
  let text = original;
  do {
    const [start, end] = range(text, random);
    const [before, piece, after] = [text.slice(0, start), text.slice(start, end), text.slice(end)];
    text = `${before}${replacement(piece, random, others)}${after}`.slice(0, longest);
  } while (random.chance(0.6));
  return text;
}

function replacement(piece: string, random: Random, others: readonly string[]): string {
  const other = others[random.below(others.length)] ?? "";
  switch (
    random.pick([
      "remove",
      "repeat",
      "insert",
      "insert",
      "replace",
      "replace",
      "splice",
      "character",
      "flood",
    ])
  ) {
    case "remove":
      return "";
    case "repeat":
      return piece.repeat(2 + (random.chance(0.9) ? 0 : random.below(100)));
    case "insert":
      return `${piece}${random.pick(words)}`;
    case "replace":
      return random.pick(words);
    case "splice":
      return other.slice(...range(other, random));
    case "character":
      return `${piece}${random.chance(0.7) ? signs.charAt(random.below(signs.length)) : String.fromCharCode(random.below(65_536))}`;
    case "flood":
      return random.chance(0.9) ? piece : random.pick(words).repeat(random.below(2000));
    default:
      return piece;
  }
}

/** Mostly short: a text that has lost a half of itself is not well-formed for that reason alone. */
function range(text: string, random: Random): [start: number, end: number] {
  const start = random.below(text.length + 1);
  const length = random.chance(0.8) ? random.below(8) : random.below(text.length + 1);
  return [start, Math.min(start + length, text.length)];
}
