// The clients that keep up worst, and symbols in trouble.

import { byId, rows, write } from "./elements.js";
import { several, symbolsAway } from "./accounts.js";
import { age, count, plural, stamp } from "./number_format.js";

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
    (client) => client.client,
    (client) => [
      `client-${client.client}`,
      client.key,
      client.address,
      stamp(client.since_ms),
      client.behind_seconds ? { text: age(client.behind_seconds), tone: "bad" } : "–",
      { text: count(client.conflated), tone: client.conflated ? "warn" : "" },
      count(client.delivered),
      count(client.subscriptions),
      { text: client.user_agent || "–", wrap: true },
    ],
    "No client is connected.",
  );
}

export function drawSymbols(snapshot) {
  const { websocket: pool } = snapshot.stats;
  const listed = [
    ...snapshot.degraded.map((symbol) => ({
      symbol,
      what: "degraded",
      since: "now",
      reason: "its connection is out and no other one has room",
    })),
    ...snapshot.gaps.map((gap) => ({
      symbol: gap.symbol,
      what: gap.filled ? "gap, filled" : "gap",
      since: stamp(gap.from_ms),
      reason: gap.reason,
    })),
    ...snapshot.refused.map((r) => ({
      symbol: r.instrument,
      what: "refused",
      since: stamp(r.at_ms),
      reason: `client-${r.client}${r.key ? `, key ${r.key}` : ""}: ${r.code}, ${r.message}`,
      id: `${r.at_ms} ${r.client}`,
    })),
    ...snapshot.guests.map((guest) => ({
      symbol: guest.symbol,
      what: "away from home",
      since: "now",
      reason: `${guest.account} carries it, while its home ${guest.home} is out or only just back`,
    })),
  ];
  const away = several(snapshot) ? ` ${count(symbolsAway(snapshot))} carried by another account than its own.` : "";
  write(
    byId("symbols-sum"),
    `${count(pool.symbols_degraded)} degraded, ${count(pool.gaps_open)} with an open gap (${count(pool.gaps_total)} gaps since the start), ${count(snapshot.refused_total)} refused since the start.${away}`,
  );
  rows(
    byId("symbols"),
    listed,
    (s) => `${s.what} ${s.symbol} ${s.id ?? ""}`,
    (s) => [
      s.symbol,
      { text: s.what, tone: s.what === "gap" || s.what === "degraded" ? "bad" : "warn" },
      s.since,
      { text: s.reason, wrap: true },
    ],
    "None.",
  );
}
