/** An error of a class that is expected of a parser, as an outcome; any other is thrown again. */
export function refusal(
  what: string,
  error: unknown,
  ...expected: (abstract new (...args: never[]) => Error)[]
): string {
  if (!(error instanceof Error) || !expected.some((one) => error instanceof one)) throw error;
  // Numbers would make each one an outcome of its own.
  return `${what}: ${error.constructor.name}, ${error.message.replaceAll(/-?\d+/g, "N")}`;
}
