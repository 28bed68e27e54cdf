/** A line was longer than the limit: there is no telling where the next one begins. */
export class LineTooLongError extends Error {
  constructor(limitBytes: number) {
    super(`a line is longer than ${limitBytes} bytes`);
    this.name = "LineTooLongError";
  }
}

const NEWLINE = 0x0a;

/**
 * Splits a stream of bytes into lines, however the bytes are cut into chunks. A line is decoded only
 * when it is complete, so that no character is torn. Empty lines are left out.
 */
export class LineSplitter {
  readonly #limitBytes: number;
  #rest: Buffer[] = [];
  #restBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Whether bytes of an unfinished line are waiting. */
  get unfinished(): boolean {
    return this.#restBytes > 0;
  }

  /** The lines that the chunk completes. Throws {@link LineTooLongError}. The chunk may be kept until its line ends. */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const line = this.#complete(chunk.subarray(start, end));
      if (line !== "") lines.push(line);
      start = end + 1;
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start));
    return lines;
  }

  #complete(end: Buffer): string {
    this.#keep(end);
    const line = this.#rest.length === 1 ? end.toString("utf8") : Buffer.concat(this.#rest).toString("utf8");
    this.#rest = [];
    this.#restBytes = 0;
    return line;
  }

  #keep(part: Buffer): void {
    this.#restBytes += part.length;
    if (this.#restBytes > this.#limitBytes) throw new LineTooLongError(this.#limitBytes);
    this.#rest.push(part);
  }
}
