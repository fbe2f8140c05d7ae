// The page as a whole: asks for the key, follows the stream, and draws each moment once.

import { byId, tone, write } from "./elements.js";
import { Rates, moment, zone } from "./number_format.js";
import { Refused, key, listen } from "./gateway.js";
import { JournalView } from "./journal.js";
import { drawAccount } from "./account.js";
import { drawAccounts } from "./accounts.js";
import { drawCluster } from "./cluster.js";
import { drawClients, drawSymbols } from "./clients_and_symbols.js";
import { drawAttention, drawTotals } from "./attention.js";
import { give } from "./orders.js";
import { drawDatabase, drawHttp } from "./resources.js";
import { Plots } from "./plots.js";
import { drawPool } from "./pool.js";
import { showMore } from "./scroll.js";
import { Search } from "./search.js";

const PAUSES_MS = [500, 1000, 2000, 5000];
// Two snapshots are half a second apart; after so long without one the numbers are old.
const SILENT_MS = 5000;

const journal = new JournalView();
const search = new Search();
let rates = new Rates();
let plots = null;
let stream = null;
let pending = null;
let heardAt = 0;
let silent = false;

function draw(snapshot) {
  const { websocket: pool, gateway, http } = snapshot.stats;
  rates.begin(snapshot.at_ms);
  // Summed as rates: a connection that is closed takes its counter with it. Of a cluster's connections the
  // numbers come once a second, which is every second snapshot or so.
  const perSecond = snapshot.stats.cluster ? rates.steady : rates.of;
  const ticks = new Map(
    pool.per_connection.map((c) => [c.name, perSecond.call(rates, `ticks ${c.name}`, c.ticks)]),
  );
  const known = [...ticks.values()].filter((value) => value !== null);
  const received = known.length || !ticks.size ? known.reduce((sum, value) => sum + value, 0) : null;
  const delivered = rates.of("frames", gateway.frames_delivered);
  const brokers = new Set(pool.accounts.map((account) => account.broker));
  write(byId("broker"), [...brokers].join(", "));
  drawTotals(snapshot, received, delivered);
  drawAttention(snapshot, rates, journal);
  drawAccounts(snapshot);
  drawCluster(snapshot, rates);
  drawPool(snapshot, ticks, give);
  drawAccount(snapshot);
  drawClients(snapshot);
  if (http) drawHttp(snapshot, rates);
  drawDatabase(snapshot);
  drawSymbols(snapshot);
  plots ??= new Plots();
  plots.add(snapshot, received, delivered);
  search.refresh();
}

// Drawn with the browser's next frame; of several that came meanwhile only the newest.
function take(message) {
  heardAt = Date.now();
  if (silent) {
    silent = false;
    say("connected", "good");
    fresh();
  }
  if (message.kind === "journal") journal.add(message.entries);
  if (message.kind !== "snapshot") return;
  journal.add(message.journal);
  if (pending === null)
    requestAnimationFrame(() => {
      const snapshot = pending;
      pending = null;
      if (snapshot) draw(snapshot);
    });
  pending = message;
}

function say(text, colour) {
  write(byId("link"), text);
  tone(byId("link"), colour);
}

// What is shown is of an earlier moment: nothing of it may look as if it were of now.
function old(why) {
  const text = `${why} Everything below is of ${moment(heardAt)}; this page tries again by itself.`;
  write(byId("gone"), text);
  byId("gone").hidden = byId("main").hidden;
  byId("main").classList.add("old");
  byId("attention").querySelector("[data-key=well]")?.remove();
  pending = null;
}

function fresh() {
  byId("gone").hidden = true;
  byId("main").classList.remove("old");
}

function askForKey(fault) {
  fresh();
  byId("main").hidden = true;
  byId("leave").hidden = true;
  byId("entry").hidden = false;
  write(byId("broker"), "");
  write(byId("entry-fault"), fault);
  say("not connected", "quiet");
  byId("key").focus();
}

function opened() {
  heardAt = Date.now();
  rates = new Rates();
  journal.clear();
  byId("entry").hidden = true;
  byId("main").hidden = false;
  byId("leave").hidden = false;
  for (const head of document.querySelectorAll(".zone")) write(head, `(${zone(heardAt)})`);
  silent = false;
  fresh();
  say("connected", "good");
}

async function follow() {
  stream?.abort();
  const mine = (stream = new AbortController());
  for (let tries = 0; !mine.signal.aborted; tries += 1) {
    let fault = "the gateway ended the stream";
    try {
      await listen(
        take,
        () => {
          tries = 0;
          opened();
        },
        mine.signal,
      );
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error instanceof Refused && error.status === 403) {
        key.forget();
        return askForKey(error.message);
      }
      fault = error instanceof Refused ? error.message : "the gateway cannot be reached";
    }
    if (mine.signal.aborted) return;
    say(`cut off: ${fault}`, "bad");
    if (heardAt) old(`The gateway is gone since ${moment(heardAt)}: ${fault}.`);
    await new Promise((resolve) => setTimeout(resolve, PAUSES_MS[Math.min(tries, PAUSES_MS.length - 1)]));
  }
}

setInterval(() => {
  if (stream && !byId("main").hidden && Date.now() - heardAt > SILENT_MS) {
    if (byId("main").classList.contains("old")) return;
    silent = true;
    say("no news: the numbers are old", "bad");
    old(`The gateway is silent since ${moment(heardAt)}.`);
  }
}, 1000);

byId("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(byId("key").value);
  byId("key").value = "";
  follow();
});

byId("leave").addEventListener("click", () => {
  stream?.abort();
  stream = null;
  key.forget();
  askForKey("");
});

const root = document.documentElement;
const themed = () => write(byId("theme"), `Theme: ${root.dataset.theme ?? "system"}`);
byId("theme").addEventListener("click", () => {
  const next = { undefined: "light", light: "dark", dark: undefined }[root.dataset.theme];
  if (next) {
    root.dataset.theme = next;
    localStorage.setItem("brokerpool-theme", next);
  } else {
    delete root.dataset.theme;
    localStorage.removeItem("brokerpool-theme");
  }
  themed();
  plots?.redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots?.redraw());

themed();
showMore();
if (key.get()) follow();
else askForKey("");
