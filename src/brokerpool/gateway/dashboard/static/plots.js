// Two plots over the last five minutes; they begin when the page is opened.

/* global uPlot */
import { byId } from "./elements.js";

const MOMENTS = 600;
const HEIGHT = 170;
// Between two labels of the time axis; parts of a second would show the same time twice.
const SECONDS = [1, 2, 5, 10, 15, 30, 60, 120];
const DECADES = [0.1, 1, 10, 100, 1_000, 10_000, 100_000];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

class Plot {
  #node;
  #plot = null;
  #series;
  #log;
  #data;

  constructor(id, series, log) {
    this.#node = byId(id);
    this.#series = series;
    this.#log = log;
    this.#data = [[], ...series.map(() => [])];
    new ResizeObserver(() => {
      if (this.#plot) this.#plot.setSize({ width: this.#node.clientWidth, height: HEIGHT });
    }).observe(this.#node);
  }

  add(at, values) {
    this.#data[0].push(at);
    values.forEach((value, n) => this.#data[n + 1].push(value));
    if (this.#data[0].length > MOMENTS) for (const column of this.#data) column.shift();
    if (!this.#node.clientWidth) return;
    if (this.#plot) this.#plot.setData(this.#data);
    else this.draw();
    // The legend shows the newest values while nobody points at others.
    if (!this.#node.matches(":hover")) this.#plot.setLegend({ idx: this.#data[0].length - 1 });
    const last = this.#series.map(
      ([label], n) => `${label} ${values[n] === null ? "unknown" : Math.round(values[n])}`,
    );
    this.#node.setAttribute("aria-label", last.join(", "));
  }

  // Made anew when the theme changes: its colours are drawn, not styled.
  draw() {
    if (this.#plot) this.#plot.destroy();
    const axis = {
      stroke: colour("--quiet"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
    };
    const indian = (most) => (_, v) =>
      v === null ? "–" : v.toLocaleString("en-IN", { maximumFractionDigits: most });
    const y = {
      ...axis,
      size: 56,
      values: (_, splits) => splits.map((v) => (v === null ? "" : v.toLocaleString("en-IN"))),
      ...(this.#log && { splits: (plot) => DECADES.filter((v) => v <= plot.scales.y.max) }),
    };
    const scale = this.#log
      ? { distr: 3, range: (_, min, max) => [0.1, Math.max(100, max * 2)] }
      : { range: (_, min, max) => [0, Math.max(10, max * 1.1)] };
    this.#plot = new uPlot(
      {
        width: this.#node.clientWidth,
        height: HEIGHT,
        cursor: { y: false, drag: { x: false, y: false } },
        scales: { x: { time: true }, y: scale },
        axes: [{ ...axis, space: 70, size: 28, incrs: SECONDS, values: [[1, "{HH}:{mm}:{ss}"]] }, y],
        series: [
          {},
          ...this.#series.map(([label, variable]) => ({
            label,
            stroke: colour(variable),
            width: 2,
            points: { show: false },
            value: indian(1),
          })),
        ],
      },
      this.#data,
      this.#node,
    );
  }
}

export class Plots {
  #ticks = new Plot(
    "ticks-plot",
    [
      ["from the broker", "--series-1"],
      ["to clients", "--series-2"],
    ],
    false,
  );
  #lag = new Plot(
    "lag-plot",
    [
      ["event loop", "--series-3"],
      ["slowest client", "--series-4"],
    ],
    true,
  );

  add(snapshot, received, delivered) {
    const at = snapshot.at_ms / 1000;
    const behind = Math.max(0, ...snapshot.clients.map((client) => client.behind_seconds)) * 1000;
    this.#ticks.add(at, [received, delivered]);
    this.#lag.add(at, [
      Math.max(0.1, snapshot.lag_ms),
      behind ? Math.max(0.1, behind) : null,
    ]);
  }

  redraw() {
    this.#ticks.draw();
    this.#lag.draw();
  }
}
