// Says in words that a table goes on beyond what is seen: to the right, below, or both.

import { make, write } from "./elements.js";

const SLACK = 2;

export function showMore() {
  for (const area of document.querySelectorAll(".scroll")) {
    const hint = make("p", "more");
    hint.setAttribute("aria-hidden", "true"); // a reader of the page hears the whole table anyway
    area.after(hint);
    const look = () => {
      const right = area.scrollWidth - area.clientWidth - area.scrollLeft > SLACK;
      const below = area.scrollHeight - area.clientHeight - area.scrollTop > SLACK;
      const where = [right && "to the right →", below && "below ↓"].filter(Boolean).join(" and ");
      area.classList.toggle("more-right", right);
      write(hint, where ? `Scroll for more ${where}` : "");
      hint.hidden = !where;
    };
    area.addEventListener("scroll", look, { passive: true });
    const watch = new ResizeObserver(look);
    watch.observe(area);
    watch.observe(area.firstElementChild);
    look();
  }
}
