// The accounts of a gateway that has several: how each stands, what it carries, and whose symbols those are.

import { byId, facts, keyed, make, tone, write } from "./elements.js";
import { count, moment, plural } from "./number_format.js";

// Where there is one account, the rest of the page tells all of it.
export const several = (snapshot) => (snapshot.stats.websocket.accounts ?? []).length > 1;

// Symbols that another account than their home carries.
export const symbolsAway = (snapshot) =>
  snapshot.stats.websocket.accounts.reduce((sum, account) => sum + account.symbols_away, 0);

export function drawAccounts(snapshot) {
  const part = byId("accounts-part");
  part.hidden = !several(snapshot);
  if (part.hidden) return;
  const { accounts, per_connection: connections } = snapshot.stats.websocket;
  const carried = accounts.reduce((sum, account) => sum + account.symbols_home - account.symbols_down, 0);
  const home = accounts.reduce((sum, account) => sum + account.symbols_home, 0);
  const away = symbolsAway(snapshot);
  write(
    byId("accounts-sum"),
    `In order of preference; ${count(carried)} of ${plural(home, "symbol")} are carried` +
      (away ? `, ${count(away)} of them away from home.` : ", all at home."),
  );
  keyed(
    byId("accounts"),
    accounts,
    (account) => account.name,
    (account) => card(account.name),
    (item, account) => fill(item, account, snapshot, connections.filter((c) => c.account === account.name)),
  );
}

function card(name) {
  const item = make("li");
  const box = make("article", "box");
  const head = make("header");
  head.append(make("h3", "", name), make("span", "badge state"));
  box.append(head, make("p", "sample"), meter(`places taken on the account ${name}`), make("dl", "facts"));
  item.append(box);
  return item;
}

// A bar of two parts: what is at home, and what is a guest there.
export function meter(label) {
  const bar = make("div", "capacity");
  bar.setAttribute("role", "meter");
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-label", label);
  bar.append(make("i"), make("i"));
  return bar;
}

export function fillMeter(bar, home, guests, size) {
  bar.setAttribute("aria-valuemax", size);
  bar.setAttribute("aria-valuenow", home + guests);
  bar.setAttribute("aria-valuetext", `${home + guests} of ${size}`);
  [home, guests].forEach((part, n) => {
    const width = size ? `${Math.min(100, (100 * part) / size)}%` : "0%";
    if (bar.children[n].style.width !== width) bar.children[n].style.width = width;
  });
}

function state(account) {
  if (account.login_refused) return ["login refused", "bad"];
  if (account.connected) return ["live", "good"];
  return account.symbols || account.symbols_home ? ["out", "bad"] : ["idle", "quiet"];
}

function fill(item, account, snapshot, connections) {
  const [word, colour] = state(account);
  tone(item, colour);
  const badge = item.querySelector(".state");
  write(badge, word);
  tone(badge, colour);
  const exchanges = account.exchanges ? ` · ${account.exchanges.replaceAll(",", ", ")}` : "";
  const orders = snapshot.orders_account === account.name ? " · carries orders" : "";
  write(item.querySelector(".sample"), `${account.broker}${exchanges}${orders}`);
  const guests = account.symbols + account.symbols_away - account.symbols_home;
  fillMeter(item.querySelector(".capacity"), account.symbols_home, guests, account.capacity);
  const login = snapshot.logins[account.name];
  const live = connections.filter((connection) => connection.state === "live").length;
  const away = account.symbols_away;
  const pairs = [
    ["symbols at home", `${count(account.symbols_home)} of ${count(account.capacity)}`],
    ["of them away", count(away), away ? "warn" : ""],
    ["of them not carried", count(account.symbols_down), account.symbols_down ? "bad" : ""],
    ["guests of other accounts", count(guests)],
    ["live connections", `${count(live)} of ${count(account.max_connections)}`],
    ...loginFacts(login, snapshot.at_ms, account.connected),
  ];
  facts(item.querySelector(".facts"), pairs);
}

// Whose login it is, what the broker says of it, and until when it is valid.
export function loginFacts(login, atMs, live) {
  const expired = login.expires_at !== null && login.expires_at * 1000 <= atMs;
  const accepted = login.refused
    ? "refused by the broker"
    : expired
      ? "its time is over"
      : live
        ? "accepted by the broker"
        : "not refused; no connection is live";
  return [
    ["user", login.user || "not known"],
    ["access token", accepted, login.refused || expired ? "bad" : ""],
    ["valid until", login.expires_at === null ? "not known" : moment(login.expires_at * 1000)],
    ["logins since the start", count(login.version)],
  ];
}
