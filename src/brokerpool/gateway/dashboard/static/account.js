// The account at the broker, its instrument list, and the keys that the gateway has stored.

import { byId, facts, rows, write } from "./elements.js";
import { age, count, moment } from "./number_format.js";
import { loginFacts, several } from "./accounts.js";
import { block } from "./resources.js";

export function drawAccount(snapshot) {
  const { broker, access, websocket: pool } = snapshot.stats;
  write(byId("account-title"), several(snapshot) ? "Instruments and keys" : "Account and keys");
  if (!several(snapshot)) {
    const live = pool.per_connection.some((connection) => connection.state === "live");
    const [login] = Object.values(snapshot.logins);
    facts(block(byId("account"), "Login at the broker"), loginFacts(login, snapshot.at_ms, live));
  }
  facts(block(byId("account"), "Instrument list"), [
    ["instruments", count(broker.instruments), broker.instruments ? "" : "bad"],
    ["read", broker.instruments_read_at === null ? "never" : moment(broker.instruments_read_at * 1000)],
    ["age", age(broker.instruments_age_seconds)],
    ["newest one", broker.instruments_fault || "in use", broker.instruments_fault ? "warn" : ""],
  ]);
  facts(block(byId("account"), "Keys"), [
    ["stored", keysOf(snapshot)],
    ["used since the start", count(access?.keys_used)],
    ["wrong ones", count(access?.wrong_keys)],
    ["addresses locked out", count(access?.addresses_locked_out), access?.addresses_locked_out ? "warn" : ""],
  ]);
  rows(
    byId("keys"),
    snapshot.keys,
    (key) => key.name,
    (key) => [
      key.name,
      key.scopes.join(", "),
      count(key.clients),
      key.last_used_ms === null ? "never" : moment(key.last_used_ms),
      moment(key.created_ms),
    ],
    none(snapshot.stats.database),
  );
}

function keysOf(snapshot) {
  const more = snapshot.keys_stored - snapshot.keys.length;
  return more > 0 ? `${count(snapshot.keys_stored)}, of which ${count(snapshot.keys.length)} are listed` : count(snapshot.keys_stored);
}

function none(database) {
  if (!database) return "This gateway uses no database, so it stores no key.";
  return database.available ? "No key is stored." : "Not known: the database has not been opened yet.";
}
