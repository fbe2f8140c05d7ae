// Writing into the page: text only, never markup, and only where something has changed.

export const byId = (id) => document.getElementById(id);

export function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function tone(node, value) {
  if (node.dataset.tone !== value) node.dataset.tone = value;
}

// Keep one child for each item, in the order of the items; `build` makes one, `update` fills it.
export function keyed(parent, items, key, build, update) {
  const known = new Map(Array.from(parent.children, (child) => [child.dataset.key, child]));
  let place = parent.firstChild;
  for (const item of items) {
    const name = String(key(item));
    let child = known.get(name);
    if (child) known.delete(name);
    else {
      child = build(item);
      child.dataset.key = name;
    }
    update(child, item);
    if (child === place) place = place.nextSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of known.values()) child.remove();
}

// A table's body: `cells` gives for an item the texts of its row, or {text, tone, wrap}.
export function rows(body, items, key, cells, empty) {
  const listed = items.length ? items : [null];
  keyed(
    body,
    listed,
    (item) => (item === null ? "" : key(item)),
    (item) => {
      const row = make("tr", item === null ? "none" : "");
      if (item === null) row.append(make("td"));
      return row;
    },
    (row, item) => {
      if (item === null) {
        row.firstChild.colSpan = body.parentElement.tHead.rows[0].cells.length;
        write(row.firstChild, empty);
        return;
      }
      cells(item).forEach((cell, column) => {
        const { text, tone: colour = "", wrap = false } = typeof cell === "object" ? cell : { text: cell };
        const node = row.cells[column] ?? row.appendChild(make("td", wrap ? "text" : ""));
        write(node, String(text));
        tone(node, colour);
      });
    },
  );
}

// Pairs of a name and a value: [name, text, tone].
export function facts(list, pairs) {
  keyed(
    list,
    pairs,
    ([name]) => name,
    ([name]) => {
      const pair = make("div");
      pair.style.display = "contents";
      pair.append(make("dt", "", name), make("dd"));
      return pair;
    },
    (pair, [, text, colour = ""]) => {
      write(pair.lastChild, text);
      tone(pair, colour);
    },
  );
}
