// The seed's picture come alive: connections side by side, what each carries, and the broker below them.

import { byId, facts, keyed, make, tone, write } from "./elements.js";
import { age, count, plural, rate } from "./figures.js";

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
  const size = pool.max_symbols_per_connection;
  const open = pool.per_connection;
  const missing = Math.max(0, pool.max_connections - open.length);
  const boxes = [
    ...open,
    ...Array.from({ length: missing }, (_, n) => ({ name: `free-${n + 1}`, free: true })),
  ];
  keyed(
    byId("connections"),
    boxes,
    (box) => box.name,
    (box) => (box.free ? freeBox() : openBox(box.name, onOrder)),
    (item, box) => {
      if (!box.free) fill(item, box, size, snapshot, ticks.get(box.name));
    },
  );
  const carried = open.filter((connection) => connection.state === "live").length;
  write(
    byId("broker-box"),
    `${snapshot.broker} · ${carried} of ${plural(pool.max_connections, "socket")} live`,
  );
}

function freeBox() {
  const item = make("li");
  const box = make("article", "box");
  tone(item, "quiet");
  box.append(make("h3", "", "not open"), make("p", "sample", "opened when the others are full"));
  item.append(box);
  return item;
}

function openBox(name, onOrder) {
  const item = make("li");
  const box = make("article", "box");
  const head = make("header");
  head.append(make("h3", "", name), make("span", "badge state"));
  const bar = make("div", "capacity");
  bar.setAttribute("role", "meter");
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-label", `places taken on ${name}`);
  bar.append(make("i"), make("i"));
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
  box.append(head, make("p", "sample"), bar, make("dl", "facts"), buttons);
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
  const more = connection.symbols > names.length ? ", …" : "";
  write(item.querySelector(".sample"), names.map((name) => name.split(":").pop()).join(", ") + more);
  const bar = item.querySelector(".capacity");
  bar.setAttribute("aria-valuemax", size);
  bar.setAttribute("aria-valuenow", connection.symbols);
  bar.setAttribute("aria-valuetext", `${connection.symbols} of ${size}`);
  [home, connection.hosted].forEach((part, n) => {
    const width = `${Math.min(100, (100 * part) / size)}%`;
    if (bar.children[n].style.width !== width) bar.children[n].style.width = width;
  });
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
