// Orders of the operator: each is confirmed first, and what became of it is said.

import { byId, write } from "./elements.js";
import { plural } from "./number_format.js";
import { order } from "./gateway.js";

const WORDS = {
  rotate: [
    "Rotate",
    "are served by other connections, a new one if need be, before this one is closed. No tick is lost.",
  ],
  drain: ["Drain", "move to the connections that are open, and this one is closed. No tick is lost."],
};

export function confirmed(name, connection, symbols) {
  const dialog = byId("confirm");
  const [verb, text] = WORDS[name];
  write(byId("confirm-title"), `${verb} ${connection}?`);
  write(byId("confirm-text"), `Its ${plural(symbols, "symbol")} ${text}`);
  write(byId("confirm-yes"), `${verb} it`);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

export async function give(name, connection, symbols) {
  if (!(await confirmed(name, connection, symbols))) return;
  try {
    const answer = await order(`connections/${encodeURIComponent(connection)}/${name}`);
    toast(
      `${connection}: ${plural(answer.symbols, "symbol")} on the move; the journal tells when it is done.`,
    );
  } catch (error) {
    toast(error.message);
  }
}

let hiding = 0;

export function toast(text) {
  const node = byId("toast");
  write(node, text);
  node.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => {
    node.hidden = true;
  }, 8000);
}
