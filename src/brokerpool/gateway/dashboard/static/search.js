// One symbol: which connection carries it, for how many, and how old its last tick is.

import { byId, facts, make } from "./elements.js";
import { age, count, moment } from "./number_format.js";
import { ask } from "./gateway.js";

const PAUSE_MS = 200;
const REFRESH_MS = 1000;

export class Search {
  #shown = "";
  #timer = 0;
  #asked = 0;
  #suggesting = 0;

  constructor() {
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#find(byId("query").value.trim());
    });
    byId("query").addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#suggest(byId("query").value.trim()), PAUSE_MS);
    });
  }

  // Called with every snapshot: what is shown stays true.
  refresh() {
    if (this.#shown && Date.now() - this.#asked > REFRESH_MS) this.#show(this.#shown);
  }

  async #matches(text) {
    const { symbols } = await ask(`symbols?q=${encodeURIComponent(text)}`);
    return symbols;
  }

  async #suggest(text) {
    const turn = ++this.#suggesting;
    if (text.length < 2) return;
    try {
      const symbols = await this.#matches(text);
      if (turn !== this.#suggesting) return;
      byId("suggestions").replaceChildren(
        ...symbols.map((symbol) => Object.assign(make("option"), { value: symbol })),
      );
    } catch {
      // a suggestion less
    }
  }

  async #find(text) {
    this.#shown = "";
    if (!text) return byId("found").replaceChildren();
    try {
      const symbols = await this.#matches(text);
      const exact = symbols.find(
        (symbol) => symbol === text.toUpperCase() || symbol.split(":").pop() === text.toUpperCase(),
      );
      if (exact || symbols.length === 1) return await this.#show(exact ?? symbols[0]);
      if (!symbols.length) return this.#say(`No client wants a symbol like “${text}”.`);
      this.#choose(symbols);
    } catch (error) {
      this.#say(error.message);
    }
  }

  #choose(symbols) {
    const list = make("div", "buttons");
    for (const symbol of symbols) {
      const button = make("button", "plain", symbol);
      button.type = "button";
      button.addEventListener("click", () => this.#show(symbol));
      list.append(button);
    }
    byId("found").replaceChildren(list);
  }

  async #show(symbol) {
    this.#shown = symbol;
    this.#asked = Date.now();
    try {
      const found = await ask(`symbols/${encodeURIComponent(symbol)}`);
      if (this.#shown === symbol) this.#draw(found);
    } catch (error) {
      if (this.#shown !== symbol) return;
      this.#shown = "";
      this.#say(error.message);
    }
  }

  #say(text) {
    const words = make("p", "quiet", text);
    words.setAttribute("role", "status");
    byId("found").replaceChildren(words);
  }

  #draw(found) {
    let list = byId("found").querySelector("dl");
    if (list?.dataset.symbol !== found.symbol) {
      list = make("dl", "facts");
      list.dataset.symbol = found.symbol;
      byId("found").replaceChildren(list);
    }
    const gap = found.gap;
    facts(list, [
      ["symbol", found.symbol],
      ["state", found.state],
      ["why", found.why],
      ...(found.route ? [["account", found.account || "none serves it"]] : []),
      ["connection", found.connections.join(", ")],
      ["mode", found.mode],
      ["owners", count(found.owners)],
      ["priority", count(found.priority)],
      ["last price", found.ltp === null ? "–" : found.ltp.toLocaleString("en-IN")],
      ["last tick", found.age_seconds === null ? "none yet" : `${age(found.age_seconds)} ago`],
      ["exchange time", found.exchange_ms === null ? "–" : moment(found.exchange_ms)],
      ["usual pause", found.usual_pause_seconds ? age(found.usual_pause_seconds) : "not learned yet"],
      [
        "gap",
        gap ? `open since ${moment(gap.from_ms)}${gap.filled ? ", filled" : ""}: ${gap.reason}` : "none",
      ],
    ]);
  }
}
