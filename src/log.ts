import { pino, type Logger } from "pino";
import { PinoPretty } from "pino-pretty";

/** How log lines look: JSON for programs, pretty for people. */
export type LogFormat = "json" | "pretty";

/** Levels that can be asked for, the quietest first. */
export const logLevels = ["error", "warn", "info", "debug"] as const;
/** One of them. */
export type LogLevel = (typeof logLevels)[number];

/** The program's log, on standard output. Times are RFC 3339 with milliseconds, levels are words. */
export function createLog(level: LogLevel, format: LogFormat): Logger {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  if (format === "json") return pino(options);
  return pino(options, PinoPretty({ sync: true, translateTime: "SYS:HH:MM:ss.l", singleLine: true }));
}
