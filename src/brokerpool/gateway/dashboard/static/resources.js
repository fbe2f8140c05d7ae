// The HTTP pool, the database and the process; what the gateway does not tell is left out.

import { byId, facts, make } from "./elements.js";
import { age, bytes, count, percent, rate } from "./number_format.js";

// A block with a heading and a list of facts, made once.
export function block(parent, title) {
  let list = parent.querySelector(`dl[data-title="${title}"]`);
  if (!list) {
    list = make("dl", "facts");
    list.dataset.title = title;
    const part = make("div");
    part.append(make("h3", "", title), list);
    parent.append(part);
  }
  return list;
}

const entries = (object) => Object.entries(object ?? {});
const sum = (object) => Object.values(object ?? {}).reduce((total, n) => total + n, 0);

export function drawHttp(snapshot, rates) {
  const http = snapshot.stats.http;
  const parent = byId("http");
  const perSecond = rate(rates.of("http requests", http.requests));
  facts(block(parent, "Calls"), [
    ["connections in use", `${count(http.active_connections)} of ${count(http.pool_size)}`],
    ["calls", `${count(http.requests)} · ${perSecond} a second`],
    ["connections reused", http.reuse_ratio === null ? "–" : percent(http.reuse_ratio)],
    ["answered “too fast” (429)", count(http.rate_limited), http.rate_limited ? "bad" : ""],
    [
      "repeated",
      entries(http.retries)
        .map(([why, n]) => `${why} ${n}`)
        .join(", ") || "none",
    ],
    [
      "refused unsent",
      entries(http.refused)
        .map(([why, n]) => `${why} ${n}`)
        .join(", ") || "none",
    ],
    ["outcome unknown", count(http.outcomes_unknown), http.outcomes_unknown ? "bad" : ""],
  ]);
  facts(block(parent, "Waiting, by lane"), [
    ...entries(http.queued).map(([lane, n]) => [lane, count(n)]),
    ["oldest", http.oldest_wait_seconds ? age(http.oldest_wait_seconds) : "–"],
  ]);
  facts(
    block(parent, "Rate budget left"),
    entries(http.tokens_left).map(([group, left]) => [group, tokens(left)]),
  );
  facts(block(parent, "Breakers"), entries(http.breakers));
  facts(
    block(parent, "Who holds a connection"),
    holders(http.holders, (h) => h.call),
  );
}

// One number for each window of the limit: calls that may leave now.
const tokens = (left) => Object.values(left).map(rate).join(", ") || "no limit";

function holders(list, what) {
  const named = (list ?? [])
    .slice(0, 10)
    .map((h, n) => [`${n + 1}. ${what(h)}`, `${h.task} · ${age(h.seconds)}`]);
  return named.length ? named : [["nobody", ""]];
}

export function drawDatabase(snapshot) {
  const { database, process } = snapshot.stats;
  const parent = byId("database");
  if (database?.available) {
    facts(block(parent, "Database connections"), [
      ["in use", `${count(database.checked_out)} of ${count(database.pool_size)}`],
      ["beyond the size", count(database.overflow)],
      ["waiting", count(database.waiting)],
      ["to be written", count(database.writer.queued)],
      ["dropped", count(sum(database.writer.dropped))],
    ]);
    facts(
      block(parent, "Who holds a database connection"),
      holders(database.holders, (h) => h.site),
    );
  } else {
    const why = database ? ["cannot be opened", database.fault] : ["this gateway uses no database", ""];
    facts(block(parent, "Database connections"), [why]);
  }
  facts(block(parent, "Event loop"), [
    ["worst delay", `${snapshot.lag_ms.toFixed(1)} ms`],
  ]);
  if (process)
    facts(
      block(parent, "Process"),
      entries(process)
        .filter(([, v]) => typeof v !== "object")
        .map(([name, v]) => figure(name, v)),
    );
}

// The unit stands at the end of a number's name.
function figure(name, value) {
  for (const [unit, show] of [
    ["_seconds", age],
    ["_bytes", bytes],
  ])
    if (name.endsWith(unit)) return [words(name.slice(0, -unit.length)), value === null ? "–" : show(value)];
  return [words(name), typeof value === "number" ? rate(value) : value === null ? "–" : String(value)];
}

const NAMES = { rss: "memory", "open fds": "open files and sockets", "loop lag max": "worst delay in a minute" };
const words = (name) => NAMES[name.replaceAll("_", " ")] ?? name.replaceAll("_", " ");
