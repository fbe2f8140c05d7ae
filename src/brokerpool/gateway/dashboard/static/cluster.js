// The cluster that a gateway belongs to: the way to NATS, the feed nodes, and who holds which account.

import { byId, facts, rows, write } from "./elements.js";
import { age, count, plural, rate } from "./number_format.js";
import { block } from "./resources.js";

export function drawCluster(snapshot, rates) {
  const { cluster } = snapshot.stats;
  byId("cluster-part").hidden = !cluster;
  if (!cluster) return;
  const { bus, nodes, accounts } = cluster;
  const others = bus.connected
    ? `${plural(cluster.gateways, "gateway")} and ${plural(nodes.length, "feed node")} have given a sign of life lately.`
    : "without NATS nothing is heard of the others.";
  write(byId("cluster-sum"), `This is the gateway ${cluster.name}; ${others}`);
  facts(block(byId("cluster"), "NATS"), [
    ["server", bus.connected ? "connected" : "away", bus.connected ? "" : "bad"],
    ["way there and back", age(bus.round_trip_seconds)],
    ["messages received", `${rate(rates.of("bus received", bus.received))} a second`],
    ["dropped for want of a server", count(bus.lost), bus.lost ? "warn" : ""],
    ["dropped for want of time here", count(bus.overrun), bus.overrun ? "warn" : ""],
    ["found again", count(bus.reconnects)],
  ]);
  facts(
    block(byId("cluster"), "Feed nodes"),
    nodes.length ? nodes.map((node) => [node.name, plural(node.accounts, "account")]) : [["heard", "none", "bad"]],
  );
  rows(
    byId("leases"),
    accounts,
    (account) => account.name,
    (account) => [
      account.name,
      account.held ? account.node : { text: bus.connected ? "nobody" : "not known", tone: "bad" },
      age(account.renewal_age_seconds),
      ...heard(account.shards),
    ],
    "No feed node has shown an account yet.",
  );
}

// What a gateway hears of an account's ticks, which travel by shard.
function heard(shards) {
  if (!shards) return ["–", "–", "–", "–"];
  return [
    count(shards.heard),
    { text: count(shards.dark), tone: shards.dark ? "bad" : "" },
    { text: count(shards.missing), tone: shards.missing ? "warn" : "" },
    shards.lag_seconds === null ? "–" : age(Math.max(0, shards.lag_seconds)),
  ];
}
