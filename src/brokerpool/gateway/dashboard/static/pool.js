// The seed's picture come alive: connections side by side, what each carries, and the broker below them;
// of several accounts one such picture each.

import { fillMeter, meter, several } from "./accounts.js";
import { byId, facts, keyed, make, tone, write } from "./elements.js";
import { age, count, plural, rate } from "./number_format.js";

const TONES = {
  live: "good",
  dialling: "warn",
  waiting: "bad",
  stale: "bad",
  parked: "bad",
  closed: "bad",
  idle: "warn",
};

export function drawPool(snapshot, ticks, onOrder) {
  const pool = snapshot.stats.websocket;
  const groups = several(snapshot) ? pool.accounts : [];
  // The connections of one account: `limits` has how many there may be, and how many symbols each takes.
  const draw = (list, open, limits, title, heading) => {
    const missing = Math.max(0, limits.max_connections - open.length);
    const free = Array.from({ length: missing }, (_, n) => ({ name: `free-${n + 1}`, free: true }));
    keyed(
      list,
      [...open, ...free],
      (box) => box.name,
      (box) => (box.free ? freeBox(heading) : openBox(box.name, heading, onOrder)),
      (item, box) => {
        if (!box.free) fill(item, box, limits.max_symbols_per_connection, snapshot, ticks.get(box.name));
      },
    );
    const live = open.filter((connection) => connection.state === "live").length;
    write(list.nextElementSibling, `${title} · ${live} of ${plural(limits.max_connections, "socket")} live`);
  };
  byId("connections").hidden = byId("broker-box").hidden = groups.length > 0;
  keyed(
    byId("groups"),
    groups,
    (account) => account.name,
    (account) => group(account.name),
    (part, account) => {
      const open = pool.per_connection.filter((connection) => connection.account === account.name);
      const named = account.name === account.broker ? "" : `, account ${account.name}`;
      const title = account.broker + named;
      draw(part.querySelector("ol"), open, account, title, "h4");
    },
  );
  if (!groups.length) draw(byId("connections"), pool.per_connection, pool, snapshot.broker, "h3");
}

function group(name) {
  const part = make("section", "group");
  const title = make("h3", "", name);
  title.id = `group-${name}`;
  part.setAttribute("aria-labelledby", title.id);
  part.append(title, make("ol", "connections"), make("p", "broker-box"));
  return part;
}

function freeBox(heading) {
  const item = make("li");
  const box = make("article", "box");
  tone(item, "quiet");
  box.append(make(heading, "", "not open"), make("p", "sample", "opened when the others are full"));
  item.append(box);
  return item;
}

function openBox(name, heading, onOrder) {
  const item = make("li");
  const box = make("article", "box");
  const head = make("header");
  head.append(make(heading, "", name), make("span", "badge state"));
  const buttons = make("div", "buttons");
  for (const [order, label] of [
    ["rotate", "Rotate…"],
    ["drain", "Drain…"],
  ]) {
    const button = make("button", "plain", label);
    button.type = "button";
    button.dataset.order = order;
    button.setAttribute("aria-label", `${label.replace("…", "")} ${name}`);
    button.addEventListener("click", () => onOrder(order, name, Number(item.dataset.symbols)));
    buttons.append(button);
  }
  box.append(head, make("p", "sample"), meter(`places taken on ${name}`), make("dl", "facts"), buttons);
  item.append(box);
  return item;
}

function fill(item, connection, size, snapshot, ticks) {
  const emptying = snapshot.emptying.includes(connection.name);
  const state = emptying ? "emptying" : connection.state;
  const colour = emptying ? "warn" : (TONES[connection.state] ?? "quiet");
  const home = connection.symbols - connection.hosted;
  item.dataset.symbols = home;
  tone(item, colour);
  const badge = item.querySelector(".state");
  write(badge, state);
  tone(badge, colour);
  const names = snapshot.pictured[connection.name] ?? [];
  // Of a cluster the feed node alone knows which they are.
  const more = names.length && connection.symbols > names.length ? ", …" : "";
  write(item.querySelector(".sample"), names.map((name) => name.split(":").pop()).join(", ") + more);
  fillMeter(item.querySelector(".capacity"), home, connection.hosted, size);
  const hosted = connection.hosted ? ` (${plural(connection.hosted, "hosted")})` : "";
  const pairs = [
    ["symbols", `${count(connection.symbols)} of ${count(size)}${hosted}`],
    ["ticks a second", rate(ticks)],
    [
      "last tick",
      connection.last_tick_age_seconds === null ? "none yet" : age(connection.last_tick_age_seconds),
    ],
    ["dials, refusals", `${count(connection.dials)}, ${count(connection.refusals)}`],
  ];
  if (connection.last_fault) pairs.push(["last fault", connection.last_fault]);
  facts(item.querySelector(".facts"), pairs);
  for (const button of item.querySelectorAll("button"))
    button.disabled = emptying || connection.state !== "live";
}
