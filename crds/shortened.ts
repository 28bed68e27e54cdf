/**
 * A text of at most so many characters, as the API server keeps it: half a character at its end would come back as
 * U+FFFD, and what was written would never be what is there.
 */
export function shortened(text: string, mostCharacters: number): string {
  return text.slice(0, mostCharacters).toWellFormed();
}
