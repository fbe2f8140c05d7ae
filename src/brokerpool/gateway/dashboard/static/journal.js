// The journal, newest first; the filter looks at what this page has, at most a thousand entries.

import { byId, make, rows } from "./elements.js";
import { count, stamp } from "./number_format.js";

const KEPT = 1000;
const SHOWN = 200;
const TONES = {
  lost: "bad",
  stale: "bad",
  refused: "bad",
  parked: "bad",
  evicted: "bad",
  degraded: "bad",
  gap: "bad",
  mute: "bad",
  starved: "bad",
  fault: "bad",
  live: "good",
  "gap closed": "good",
  ordered: "warn",
};

export class JournalView {
  #entries = [];
  #events = new Set();

  constructor() {
    byId("words").addEventListener("input", () => this.draw());
    byId("kind").addEventListener("change", () => this.draw());
    byId("filter").addEventListener("submit", (event) => event.preventDefault());
  }

  // Entries come oldest first, and some twice: the backlog and a snapshot overlap.
  add(entries) {
    const newest = this.#entries[0]?.number ?? 0;
    const fresh = entries.filter((entry) => entry.number > newest);
    if (!fresh.length) return;
    this.#entries = [...fresh.reverse(), ...this.#entries].slice(0, KEPT);
    for (const { event } of fresh) {
      if (this.#events.has(event)) continue;
      this.#events.add(event);
      const option = make("option", "", event);
      option.value = event;
      byId("kind").append(option);
    }
    this.draw();
  }

  // How many of these events there were since the time.
  count(events, sinceMs) {
    let found = 0;
    for (const entry of this.#entries) {
      if (entry.at_ms < sinceMs) break;
      if (events.has(entry.event)) found += 1;
    }
    return found;
  }

  // The gateway was started anew: its numbers begin again.
  clear() {
    this.#entries = [];
  }

  draw() {
    const words = byId("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const kind = byId("kind").value;
    const matches = ({ event, connection, reason }) => {
      const text = `${event} ${connection} ${reason}`.toLowerCase();
      return (!kind || event === kind) && words.every((word) => text.includes(word));
    };
    rows(
      byId("journal"),
      this.#entries.filter(matches).slice(0, SHOWN),
      (entry) => entry.number,
      (entry) => [
        stamp(entry.at_ms),
        { text: entry.event, tone: TONES[entry.event] ?? "" },
        entry.symbols ? count(entry.symbols) : "–",
        entry.connection || "–",
        { text: entry.reason, wrap: true },
      ],
      this.#entries.length ? "No entry matches." : "Nothing has happened yet.",
    );
  }
}
