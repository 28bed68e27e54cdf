/**
 * Loaded before a program, this makes its clock go so many times as fast: what it waits minutes for comes in seconds,
 * and nothing of the program is changed for it. The wall clock is left alone.
 *
 *     node --import file:///.../fast-clock.ts?times=10 program.ts
 */
const times = Number(new URL(import.meta.url).searchParams.get("times"));
const { setTimeout: wait, setInterval: repeat } = globalThis;
const now = performance.now.bind(performance);
const later = (callback: () => void, delayMs = 0, ...args: []) => wait(callback, delayMs / times, ...args);
const again = (callback: () => void, delayMs = 0, ...args: []) => repeat(callback, delayMs / times, ...args);

performance.now = () => now() * times;
globalThis.setTimeout = later as typeof setTimeout;
globalThis.setInterval = again as typeof setInterval;
