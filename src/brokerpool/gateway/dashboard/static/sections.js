// Totals, what needs attention, clients, the HTTP pool, the database, and symbols in trouble.

import { byId, facts, keyed, make, rows, tone, write } from "./elements.js";
import { age, clock, count, percent, plural, rate } from "./figures.js";

const RECENT_MS = 15_000;

export function drawTotals(snapshot, received, delivered) {
  const { websocket: pool, gateway } = snapshot.stats;
  const live = pool.per_connection.filter((connection) => connection.state === "live").length;
  const totals = [
    ["live connections", `${live} of ${pool.connections}`, live < pool.connections ? "bad" : ""],
    ["symbols", `${count(pool.total_symbols)} · ${percent(pool.capacity_used)}`],
    ["ticks a second", rate(received)],
    ["frames a second", rate(delivered)],
    ["clients", gateway.slow_clients ? `${count(gateway.clients)} · ${gateway.slow_clients} slow` : count(gateway.clients), gateway.slow_clients ? "warn" : ""],
    ["open gaps", count(pool.gaps_open), pool.gaps_open ? "bad" : ""],
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

export function drawAttention(snapshot, rates) {
  const { websocket: pool, gateway, http } = snapshot.stats;
  const found = [];
  for (const connection of pool.per_connection) {
    if (connection.state === "live") continue;
    const why = connection.last_fault ? `: ${connection.last_fault}` : "";
    const colour = connection.state === "dialling" || connection.state === "idle" ? "warn" : "bad";
    found.push([`c ${connection.name}`, colour, `${connection.name} is ${connection.state}${why}`]);
  }
  const lost = rates.recent("losses", pool.per_connection.reduce((sum, c) => sum + c.dials, 0), RECENT_MS);
  if (lost) found.push(["dials", "warn", `${plural(lost, "dial")} in the last ${RECENT_MS / 1000} s`]);
  if (pool.gaps_open) found.push(["gaps", "bad", `${plural(pool.gaps_open, "symbol")} with an open gap`]);
  if (pool.symbols_degraded) found.push(["degraded", "bad", `${plural(pool.symbols_degraded, "symbol")} without a connection that has room`]);
  if (pool.allowed_connections < pool.max_connections)
    found.push(["allowed", "warn", `${pool.allowed_connections} of ${pool.max_connections} connections allowed after evictions`]);
  if (gateway.slow_clients) found.push(["slow", "warn", `${plural(gateway.slow_clients, "client")} cannot keep up and gets newest values only`]);
  const dropped = rates.recent("dropped", snapshot.clients_dropped, RECENT_MS);
  if (dropped) found.push(["dropped", "warn", `${plural(dropped, "client")} dropped in the last ${RECENT_MS / 1000} s`]);
  const refused = snapshot.refused.length ? snapshot.at_ms - snapshot.refused[0].at_ms : Infinity;
  if (refused < 2 * RECENT_MS)
    found.push(["refused", "warn", `Symbols were refused ${age(refused / 1000)} ago: the last was ${snapshot.refused[0].instrument}, ${count(snapshot.refused_total)} since the start`]);
  if (http) {
    const tooFast = rates.recent("429", http.rate_limited ?? 0, RECENT_MS);
    if (tooFast) found.push(["429", "bad", `The broker answered “too fast” (429) ${plural(tooFast, "time")} in the last ${RECENT_MS / 1000} s`]);
    for (const [name, state] of Object.entries(http.breakers ?? {}))
      if (state !== "closed") found.push([`b ${name}`, "bad", `Breaker of ${name} is ${state}`]);
  }
  if (!found.length) found.push(["well", "good", "All is well: every connection live, no gap, no slow client, nothing refused."]);
  keyed(byId("attention"), found, ([name]) => name, () => make("li"), (item, [, colour, text]) => {
    write(item, text);
    tone(item, colour);
  });
}

export function drawClients(snapshot) {
  const { gateway } = snapshot.stats;
  write(
    byId("clients-sum"),
    `${plural(gateway.clients, "client")}, ${count(gateway.slow_clients)} slow, ${count(snapshot.clients_dropped)} dropped; ` +
      `${count(gateway.frames_delivered)} frames delivered, ${count(gateway.frames_conflated)} conflated. The slowest:`,
  );
  rows(
    byId("clients"),
    snapshot.clients,
    (client) => client.number,
    (client) => [
      `#${client.number}`,
      client.behind_seconds ? { text: age(client.behind_seconds), tone: "bad" } : "–",
      { text: count(client.conflated), tone: client.conflated ? "warn" : "" },
      count(client.delivered),
      count(client.subscriptions),
    ],
    "No client is connected.",
  );
}

// A block with a heading and a list of facts, made once.
function block(parent, title) {
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

export function drawHttp(snapshot, rates) {
  const http = snapshot.stats.http;
  const parent = byId("http");
  const perSecond = rate(rates.of("http requests", http.requests));
  facts(block(parent, "Calls"), [
    ["connections in use", `${count(http.active_connections)} of ${count(http.pool_size)}`],
    ["calls", `${count(http.requests)} · ${perSecond} a second`],
    ["connections reused", http.reuse_ratio === null ? "–" : percent(http.reuse_ratio)],
    ["answered “too fast” (429)", count(http.rate_limited), http.rate_limited ? "bad" : ""],
    ["repeated", entries(http.retries).map(([why, n]) => `${why} ${n}`).join(", ") || "none"],
    ["refused unsent", entries(http.refused).map(([why, n]) => `${why} ${n}`).join(", ") || "none"],
    ["outcome unknown", count(http.outcomes_unknown), http.outcomes_unknown ? "bad" : ""],
  ]);
  facts(block(parent, "Waiting, by lane"), [
    ...entries(http.queued).map(([lane, n]) => [lane, count(n)]),
    ["oldest", http.oldest_wait_seconds ? age(http.oldest_wait_seconds) : "–"],
  ]);
  facts(block(parent, "Rate budget left"), entries(http.tokens_left).map(([group, left]) => [group, tokens(left)]));
  facts(block(parent, "Breakers"), entries(http.breakers));
  facts(block(parent, "Who holds a connection"), holders(http.holders, (h) => h.call));
}

// One number for each window of the limit: calls that may leave now.
const tokens = (left) => Object.values(left).map(rate).join(", ") || "no limit";

function holders(list, what) {
  const named = (list ?? []).slice(0, 10).map((h, n) => [`${n + 1}. ${what(h)}`, `${h.task} · ${age(h.seconds)}`]);
  return named.length ? named : [["nobody", ""]];
}

export function drawDatabase(snapshot) {
  const { database, process } = snapshot.stats;
  const parent = byId("database");
  if (database) {
    facts(block(parent, "Database connections"), [
      ["in use", `${count(database.checked_out)} of ${count(database.size)}`],
      ["beyond the size", count(database.overflow)],
      ["waiting", count(database.waiting)],
    ]);
    facts(block(parent, "Who holds a database connection"), holders(database.holders, (h) => h.where));
  } else facts(block(parent, "Database connections"), [["this gateway uses no database", ""]]);
  facts(block(parent, "Event loop"), [["worst delay", snapshot.lag_ms === null ? "–" : `${snapshot.lag_ms.toFixed(1)} ms`]]);
  if (process)
    facts(
      block(parent, "Process"),
      entries(process).filter(([, v]) => typeof v !== "object").map(([name, v]) => [name.replaceAll("_", " "), typeof v === "number" ? rate(v) : String(v)]),
    );
}

export function drawSymbols(snapshot) {
  const { websocket: pool } = snapshot.stats;
  const listed = [
    ...snapshot.degraded.map((symbol) => ({ symbol, what: "degraded", since: "now", reason: "its connection is out and no other one has room" })),
    ...snapshot.gaps.map((gap) => ({ symbol: gap.symbol, what: gap.filled ? "gap, filled" : "gap", since: clock(gap.from_ms), reason: gap.reason })),
    ...snapshot.refused.map((r) => ({ symbol: r.instrument, what: "refused", since: clock(r.at_ms), reason: `client #${r.client}: ${r.code}, ${r.message}`, id: `${r.at_ms} ${r.client}` })),
  ];
  write(
    byId("symbols-sum"),
    `${count(pool.symbols_degraded)} degraded, ${count(pool.gaps_open)} with an open gap (${count(pool.gaps_total)} gaps since the start), ${count(snapshot.refused_total)} refused since the start.`,
  );
  rows(
    byId("symbols"),
    listed,
    (s) => `${s.what} ${s.symbol} ${s.id ?? ""}`,
    (s) => [s.symbol, { text: s.what, tone: s.what === "gap, filled" || s.what === "refused" ? "warn" : "bad" }, s.since, { text: s.reason, wrap: true }],
    "None.",
  );
}
