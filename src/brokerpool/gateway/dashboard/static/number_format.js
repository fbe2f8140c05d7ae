// Numbers as people read them, and rates from the counters of two moments.

const whole = new Intl.NumberFormat("en-IN", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en-IN", { maximumFractionDigits: 1 });

export const count = (value) => (value === undefined || value === null ? "–" : whole.format(value));
export const rate = (value) => (value === null ? "–" : (value < 10 ? fine : whole).format(value));
export const percent = (share) => `${(share < 0.1 ? fine : whole).format(share * 100)}\u00a0%`;

export function age(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${fine.format(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${fine.format(seconds / 3600)} h`;
  return `${fine.format(seconds / 86_400)} days`;
}

export function bytes(n) {
  for (const [unit, size] of [
    ["GB", 1e9],
    ["MB", 1e6],
    ["kB", 1e3],
  ])
    if (n >= size) return `${fine.format(n / size)} ${unit}`;
  return `${count(n)} bytes`;
}

// Date and time as this browser's clock has them; `zone` names that clock, for the head of a column.
export const stamp = (ms) => {
  const at = new Date(ms);
  const two = (n) => String(n).padStart(2, "0");
  const date = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
  return `${date} ${[at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":")}`;
};
const zones = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" });
export const zone = (ms) => zones.formatToParts(new Date(ms)).find((part) => part.type === "timeZoneName").value;
export const moment = (ms) => `${stamp(ms)} ${zone(ms)}`;
export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

const STEADY_MS = 3000;

// What counters gained a second between this moment and the one before; null at first and after a restart.
export class Rates {
  #before = new Map();
  #at = 0;
  #seconds = 0;

  begin(atMs) {
    this.#seconds = this.#at && atMs > this.#at ? (atMs - this.#at) / 1000 : 0;
    this.#at = atMs;
  }

  of(name, value) {
    const before = this.#before.get(name);
    this.#before.set(name, value);
    return before === undefined || !this.#seconds || value < before ? null : (value - before) / this.#seconds;
  }

  // The same of a counter that is told more rarely than the moments come: of the last few seconds.
  steady(name, value) {
    const grown = this.recent(name, value, STEADY_MS);
    const seen = this.#history.get(name);
    const seconds = (this.#at - seen[0][0]) / 1000;
    return seconds ? grown / seconds : null;
  }

  // How much a counter has grown within the last so many milliseconds.
  #history = new Map();
  recent(name, value, withinMs) {
    const seen = this.#history.get(name) ?? [];
    seen.push([this.#at, value]);
    while (seen.length > 1 && seen[1][0] <= this.#at - withinMs) seen.shift();
    this.#history.set(name, seen);
    return Math.max(0, value - seen[0][1]);
  }
}
