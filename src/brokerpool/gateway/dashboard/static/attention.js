// The totals, and what needs attention now.

import { byId, keyed, make, tone, write } from "./elements.js";
import { count, moment, percent, plural, rate } from "./number_format.js";

const RECENT_MS = 15_000;
// What is told of an account tells of all its connections.
const OUT = new Set(["login_refused", "account_out"]);
const FAILURES = new Set(["lost", "stale", "refused", "evicted"]);

export function drawTotals(snapshot, received, delivered) {
  const { websocket: pool, gateway, broker } = snapshot.stats;
  const live = pool.per_connection.filter((connection) => connection.state === "live").length;
  const totals = [
    ["live connections", `${live} of ${pool.connections}`, live < pool.connections ? "bad" : ""],
    ["symbols", `${count(pool.total_symbols)} · ${percent(pool.capacity_used)}`],
    ["ticks a second", rate(received)],
    ["frames a second", rate(delivered)],
    [
      "clients",
      gateway.slow_clients
        ? `${count(gateway.clients)} · ${gateway.slow_clients} slow`
        : count(gateway.clients),
      gateway.slow_clients ? "warn" : "",
    ],
    ["open gaps", count(pool.gaps_open), pool.gaps_open ? "bad" : ""],
    [
      "listed instruments",
      count(broker.instruments),
      broker.instruments_fault ? "warn" : "",
    ],
    ["without a feed", count(pool.symbols_down), pool.symbols_down ? "bad" : ""],
  ];
  keyed(
    byId("totals"),
    totals,
    ([name]) => name,
    ([name]) => {
      const pair = make("div");
      pair.append(make("dt", "", name), make("dd"));
      return pair;
    },
    (pair, [, text, colour = ""]) => {
      write(pair.lastChild, text);
      tone(pair, colour);
    },
  );
}

export function drawAttention(snapshot, rates, journal) {
  const { websocket: pool, gateway, http, health } = snapshot.stats;
  // First what /health says, in its words and with its next step.
  const found = snapshot.reasons.map((reason) => [
    ["h", reason.code, reason.account].filter(Boolean).join(" "),
    health?.status === "down" ? "bad" : "warn",
    `${reason.text} (since ${moment(reason.since * 1000)})`,
    reason.action,
  ]);
  // What a reason counts already is not told twice.
  const told = new Set(snapshot.reasons.map((reason) => reason.code));
  const out = new Set(snapshot.reasons.filter((reason) => OUT.has(reason.code)).map((reason) => reason.account));
  for (const connection of pool.per_connection) {
    if (connection.state === "live" || out.has(connection.account)) continue;
    const why = connection.last_fault ? `: ${connection.last_fault}` : "";
    const colour = connection.state === "dialling" || connection.state === "idle" ? "warn" : "bad";
    found.push([`c ${connection.name}`, colour, `${connection.name} is ${connection.state}${why}`]);
  }
  const lost = journal.count(FAILURES, snapshot.at_ms - RECENT_MS);
  if (lost)
    found.push([
      "lost",
      "warn",
      `${plural(lost, "socket")} lost or refused in the last ${RECENT_MS / 1000} s`,
    ]);
  if (pool.gaps_open && !told.has("data_stale"))
    found.push(["gaps", "bad", `${plural(pool.gaps_open, "symbol")} with an open gap`]);
  if (pool.symbols_degraded && !told.has("demand_not_served"))
    found.push([
      "degraded",
      "bad",
      `${plural(pool.symbols_degraded, "symbol")} without a connection that has room`,
    ]);
  if (gateway.slow_clients)
    found.push([
      "slow",
      "warn",
      `${plural(gateway.slow_clients, "client")} cannot keep up and gets newest values only`,
    ]);
  const dropped = rates.recent("dropped", snapshot.clients_dropped, RECENT_MS);
  if (dropped)
    found.push(["dropped", "warn", `${plural(dropped, "client")} dropped in the last ${RECENT_MS / 1000} s`]);
  // The time and not the age: what changes with every snapshot would be read aloud each time.
  if (snapshot.refused.length && snapshot.at_ms - snapshot.refused[0].at_ms < 2 * RECENT_MS)
    found.push([
      "refused",
      "warn",
      `Symbols were refused at ${moment(snapshot.refused[0].at_ms)}: the last was ${snapshot.refused[0].instrument}, ${count(snapshot.refused_total)} since the start`,
    ]);
  if (http) {
    const tooFast = rates.recent("429", http.rate_limited ?? 0, RECENT_MS);
    if (tooFast)
      found.push([
        "429",
        "bad",
        `The broker answered “too fast” (429) ${plural(tooFast, "time")} in the last ${RECENT_MS / 1000} s`,
      ]);
    for (const [name, state] of Object.entries(http.breakers ?? {}))
      if (state === "half-open") found.push([`b ${name}`, "bad", `Breaker of ${name} is ${state}`]);
  }
  if (!found.length && (health?.status ?? "ok") === "ok") found.push(["well", "good", well(pool)]);
  keyed(
    byId("attention"),
    found,
    ([name]) => name,
    ([, , , action]) => {
      const item = make("li");
      item.append(make("span"));
      if (action) item.append(make("strong", "step"));
      return item;
    },
    (item, [, colour, text, action = ""]) => {
      write(item.firstChild, text);
      if (action) write(item.lastChild, action);
      tone(item, colour);
    },
  );
}

function well(pool) {
  if (!pool.total_symbols) return "All is well: no client wants a symbol.";
  return "All is well: every connection live, no gap, no slow client, nothing refused.";
}
