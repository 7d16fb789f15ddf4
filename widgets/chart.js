// A small line chart: axes with round ticks, lines told apart by dashes and labels as well as colour, marks that say
// what happened, a crosshair for pointer and keyboard, and the same numbers as a table.
import { h, refill, num } from "./ground.js";

const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2", "1 3", "12 3", "5 2 1 2"];
const LINES = 6; // colours there are, see chart.css

/** An SVG element; attribute values and texts are data. */
export function s(tag, props = {}, ...children) {
  const el = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(props)) if (value !== null && value !== undefined && value !== false) el.setAttribute(key, value);
  el.append(...children.flat(Infinity).filter((child) => child !== null && child !== false && child !== undefined));
  return el;
}

/** Round numbers from at most `low` to at least `high`, about `count` of them. */
export function niceTicks(low, high, count, whole = false) {
  const rough = (high - low || Math.abs(high) || 1) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((m) => m * power).find((one) => one >= rough * 0.999);
  if (whole) step = Math.max(1, Math.round(step));
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => +((first + i) * step).toPrecision(12));
}

/** Mean of the last `most` known values, at each place where the value is known. */
export function runningMean(points, most = 5) {
  const last = [];
  return points.map(([x, y]) => {
    if (y === null || y === undefined) return [x, null];
    last.push(y);
    if (last.length > most) last.shift();
    return [x, last.reduce((sum, one) => sum + one, 0) / last.length];
  });
}

/**
 * A chart. `draw({ series, marks, xMax })` shows data: series [{ name, points: [[x, y | null]], strong }], marks
 * [{ x, kind, lines }]. `look(x | null)` is told where the crosshair is. Returns { el, draw, at, toggleTable, close }.
 */
export function lineChart({ label, xName, height = 300, look = () => {} }) {
  const face = h("div", { class: "wb-chart-face", tabindex: "0", role: "slider", "aria-label": `${label}: ${xName}`, "aria-valuemin": 0, "aria-valuemax": 0, "aria-valuenow": 0 });
  const flags = h("div", { class: "wb-chart-flags" });
  const tip = h("div", { class: "wb-chart-tip", role: "tooltip", hidden: true });
  const plot = h("div", { class: "wb-chart-plot", style: { height: `${height}px` } }, face, flags, tip);
  const legend = h("div", { class: "wb-chart-legend", role: "group", "aria-label": "lines shown" });
  const reading = h("div", { class: "wb-chart-reading wb-dim" });
  const smooth = h("input", { type: "checkbox", checked: true, onchange: () => paint() });
  const tableButton = h("button", { type: "button", class: "wb-button wb-quiet", "aria-pressed": "false", title: "T", onclick: () => toggleTable() }, "Table");
  const table = h("div", { class: "wb-chart-table", tabindex: "0", role: "region", "aria-label": `${label} as a table`, hidden: true });
  const smoothing = h("label", { class: "wb-chart-smooth", title: "M" }, smooth, " mean of last five");
  const el = h("div", { class: "wb-chart" }, legend, plot, h("div", { class: "wb-chart-foot" }, reading, smoothing, tableButton), table);

  let data = { series: [], marks: [], xMax: 10 };
  let frame = null; // the scales of the picture as it stands
  let at = null; // x under the crosshair
  let waiting = false;
  const hidden = new Set();
  const shown = () => data.series.filter((one) => !hidden.has(one.name));
  const number = (one) => data.series.indexOf(one);
  const colour = (one) => (one.strong ? "wb-line-strong" : `wb-line-${number(one) % LINES}`);
  const xs = () => data.series[0]?.points.map(([x]) => x) ?? [];

  const paint = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => ((waiting = false), el.isConnected && redraw()));
  };

  function redraw() {
    const width = plot.clientWidth;
    if (!width) return;
    const lines = shown().map((one) => ({ one, points: smooth.checked ? runningMean(one.points) : one.points }));
    frame = scales(width, height, lines, data, smooth.checked);
    const svg = s("svg", { width, height, "aria-hidden": "true" }, axes(frame, xName), drawMarks(frame), lines.map(drawLine), endLabels(frame, lines, colour));
    refill(face, svg, data.series.length && xs().length ? null : h("p", { class: "wb-chart-empty" }, "No update is done yet; the curves begin with the first."));
    drawFlags(width);
    drawLegend();
    drawCross();
    if (!table.hidden) drawTable();
  }

  function drawLine({ one, points }) {
    const faint = smooth.checked && s("path", { d: pathOf(thin(one.points, frame), frame), class: `wb-line-faint ${colour(one)}` });
    const dots = alone(points).map(([x, y]) => s("circle", { cx: frame.x(x), cy: frame.y(y), r: 2.5, class: `wb-line-dot ${colour(one)}` }));
    const path = s("path", { d: pathOf(thin(points, frame), frame), class: `wb-line-path ${colour(one)} ${one.strong ? "wb-line-thick" : ""}`, "stroke-dasharray": DASHES[number(one) % DASHES.length] });
    return [faint, path, dots];
  }

  // ------------------------------------------------------------ marks

  const drawMarks = (f) => data.marks.map((mark) => s("line", { x1: f.x(mark.x), x2: f.x(mark.x), y1: f.top - 4, y2: f.bottom, class: `wb-chart-mark wb-mark-${mark.kind}` }));

  /** One button for marks that stand too close to be hit apart. */
  function drawFlags() {
    const open = flags.querySelector(":focus")?.dataset.x;
    const near = [];
    for (const mark of [...data.marks].sort((a, b) => a.x - b.x)) {
      const last = near.at(-1);
      if (last && frame.x(mark.x) - frame.x(last[0].x) < 18) last.push(mark);
      else near.push([mark]);
    }
    refill(flags, near.map(flag));
    if (open !== undefined) flags.querySelector(`[data-x="${CSS.escape(open)}"]`)?.focus({ preventScroll: true });
    tip.hidden ||= !flags.querySelector(":hover, :focus");
  }

  function flag(marks) {
    const lines = marks.flatMap((mark) => mark.lines.map((line) => (mark.kind === "back" ? line : `from ${xName} ${mark.x}: ${line}`)));
    const x = frame.x(marks[0].x);
    const show = () => {
      refill(tip, lines.map((line) => h("div", {}, line)));
      tip.hidden = false;
      tip.style.left = `${Math.max(0, Math.min(x - 20, frame.width - tip.offsetWidth - 4))}px`;
    };
    const hide = () => (tip.hidden = true);
    const sign = marks.length > 1 ? String(marks.length) : marks[0].kind === "back" ? "↩" : "◆";
    return h("button", { type: "button", class: "wb-chart-flag", "data-x": marks[0].x, "aria-label": lines.join("; "), style: { left: `${x - 9}px` }, onmouseenter: show, onfocus: show, onmouseleave: hide, onblur: hide, onclick: show }, sign);
  }

  // ------------------------------------------------------------ legend

  function drawLegend() {
    const row = rowAt();
    const known = [...legend.children].map((one) => one.dataset.name).join("\n");
    if (known !== data.series.map((one) => one.name).join("\n")) refill(legend, data.series.map(legendItem));
    for (const [i, one] of data.series.entries()) {
      const item = legend.children[i];
      item.setAttribute("aria-pressed", !hidden.has(one.name));
      item.lastChild.textContent = num(one.points[row]?.[1]);
    }
  }

  function legendItem(one) {
    const swatch = s("svg", { width: 26, height: 10, "aria-hidden": "true" }, s("path", { d: "M0 5H26", class: `wb-line-path ${colour(one)} ${one.strong ? "wb-line-thick" : ""}`, "stroke-dasharray": DASHES[number(one) % DASHES.length] }));
    const toggle = () => (hidden.has(one.name) ? hidden.delete(one.name) : hidden.add(one.name), paint());
    return h("button", { type: "button", class: "wb-chart-item", "data-name": one.name, "aria-pressed": "true", title: "show or hide this line", onclick: toggle }, swatch, h("span", {}, one.name), h("span", { class: "wb-number wb-chart-value" }, ""));
  }

  // ------------------------------------------------------------ crosshair

  /** Index of the point under the crosshair, else of the newest. */
  function rowAt() {
    const all = xs();
    if (at === null || !all.length) return all.length - 1;
    let best = 0;
    for (const [i, x] of all.entries()) if (Math.abs(x - at) < Math.abs(all[best] - at)) best = i;
    return best;
  }

  function drawCross() {
    const all = xs();
    const row = rowAt();
    const said = all.length ? `${xName} ${all[row]}` : "";
    face.setAttribute("aria-valuemin", all[0] ?? 0);
    face.setAttribute("aria-valuemax", all.at(-1) ?? 0);
    face.setAttribute("aria-valuenow", all[row] ?? 0);
    face.setAttribute("aria-valuetext", all.length ? `${said}: ${shown().map((one) => `${one.name} ${num(one.points[row]?.[1])}`).join(", ")}` : "nothing yet");
    reading.textContent = all.length ? (at === null ? `${said}, the newest` : said) : "";
    face.querySelector(".wb-chart-cross")?.remove();
    if (at === null || !all.length || !frame) return;
    const x = frame.x(all[row]);
    const dots = shown().filter((one) => isKnown(one.points[row]?.[1])).map((one) => s("circle", { cx: x, cy: frame.y(one.points[row][1]), r: 3.5, class: `wb-line-dot ${colour(one)}` }));
    face.firstChild.append(s("g", { class: "wb-chart-cross" }, s("line", { x1: x, x2: x, y1: frame.top, y2: frame.bottom }), dots));
  }

  function moveTo(x) {
    const before = at;
    at = x;
    if (at !== null) at = xs()[rowAt()] ?? null;
    if (at === before) return;
    drawLegend();
    drawCross();
    look(at);
  }

  face.addEventListener("pointermove", (event) => frame && moveTo(frame.toX(event.clientX - face.getBoundingClientRect().left)));
  face.addEventListener("pointerleave", () => el.getRootNode().activeElement !== face && moveTo(null));
  face.addEventListener("blur", () => moveTo(null));
  face.addEventListener("keydown", (event) => {
    const all = xs();
    const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") moveTo(null);
    else if (event.key in moves && all.length) moveTo(all[Math.max(0, Math.min(all.length - 1, rowAt() + moves[event.key]))]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  // ------------------------------------------------------------ table

  const MOST_ROWS = 200;

  function drawTable() {
    const all = xs();
    const rows = all.map((x, i) => [x, ...shown().map((one) => one.points[i]?.[1])]).reverse().slice(0, MOST_ROWS);
    const head = h("tr", {}, h("th", { scope: "col" }, xName), shown().map((one) => h("th", { scope: "col", class: "wb-number" }, one.name)));
    const body = rows.map(([x, ...values]) => h("tr", {}, h("th", { scope: "row" }, x), values.map((value) => h("td", { class: "wb-number" }, num(value)))));
    refill(table, h("table", {}, h("thead", {}, head), h("tbody", {}, body)), all.length > MOST_ROWS && h("p", { class: "wb-dim" }, `the newest ${MOST_ROWS} of ${all.length}`));
  }

  function toggleTable() {
    table.hidden = !table.hidden;
    tableButton.setAttribute("aria-pressed", !table.hidden);
    if (!table.hidden) drawTable();
  }

  const resized = new ResizeObserver(paint);
  resized.observe(plot);
  return {
    el,
    draw: (told) => ((data = told), paint()),
    at: moveTo,
    toggleTable,
    toggleSmooth: () => ((smooth.checked = !smooth.checked), paint()),
    close: () => resized.disconnect(),
  };
}

// ---------------------------------------------------------------- where things stand

function scales(width, height, lines, { series, xMax }, smoothed) {
  const all = lines.flatMap(({ one, points }) => [...points, ...(smoothed ? one.points : [])].map(([, y]) => y)).filter(isKnown);
  let low = Math.min(...all, Infinity);
  let high = Math.max(...all, -Infinity);
  if (low > high) [low, high] = [0, 1];
  if (low > 0 && low < 0.5 * high) low = 0;
  if (high < 0 && high > 0.5 * low) high = 0;
  if (low === high) [low, high] = [low - 0.5 * (Math.abs(low) || 1), high + 0.5 * (Math.abs(high) || 1)];
  const yTicks = niceTicks(low - 0.02 * (high - low) * (low !== 0), high + 0.02 * (high - low), height > 200 ? 5 : 3);
  const [bottomY, topY] = [Math.min(low, yTicks[0]), Math.max(high, yTicks.at(-1))];
  const points = series[0]?.points ?? [];
  const [firstX, lastX] = [points.length ? points[0][0] : 1, Math.max(xMax, points.at(-1)?.[0] ?? 1)];
  const wide = width >= 560;
  const left = 12 + 7 * Math.max(...yTicks.map((one) => tickText(one, yTicks).length));
  const right = wide ? 14 + Math.min(150, 6.6 * Math.max(0, ...lines.map(({ one }) => one.name.length))) : 12;
  const [top, bottom] = [26, height - 36];
  const x = (value) => left + ((value - firstX) / Math.max(1e-12, lastX - firstX)) * (width - left - right);
  const y = (value) => bottom - ((value - bottomY) / (topY - bottomY)) * (bottom - top);
  const toX = (px) => firstX + ((px - left) / (width - left - right)) * (lastX - firstX);
  return { width, height, left, right: width - right, top, bottom, x, y, toX, yTicks, xTicks: niceTicks(firstX, lastX, width / 90, true), wide };
}

const isKnown = (y) => y !== null && y !== undefined;

function tickText(value, ticks) {
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : 1;
  const size = Math.max(...ticks.map(Math.abs));
  if (size >= 1e6 || (size < 1e-4 && size > 0)) return num(value);
  return value.toFixed(Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9)))).replace("-", "−");
}

function axes(f, xName) {
  const across = f.yTicks.map((tick) => [
    s("line", { x1: f.left, x2: f.right, y1: f.y(tick), y2: f.y(tick), class: tick === 0 ? "wb-chart-zero" : "wb-chart-grid" }),
    s("text", { x: f.left - 6, y: f.y(tick) + 4, "text-anchor": "end", class: "wb-chart-tick" }, tickText(tick, f.yTicks)),
  ]);
  const along = f.xTicks.map((tick) => s("text", { x: f.x(tick), y: f.bottom + 16, "text-anchor": "middle", class: "wb-chart-tick" }, String(tick)));
  const name = s("text", { x: (f.left + f.right) / 2, y: f.height - 4, "text-anchor": "middle", class: "wb-chart-tick" }, xName);
  return s("g", {}, across, along, name);
}

/** The points, at most two for each pixel column: its lowest and highest. */
function thin(points, f) {
  if (points.length <= 2 * (f.right - f.left)) return points;
  const columns = new Map();
  for (const point of points) {
    const key = isKnown(point[1]) ? Math.round(f.x(point[0])) : `gap ${point[0]}`;
    const held = columns.get(key);
    if (!held) columns.set(key, [point]);
    else columns.set(key, [held, [point]].flat().sort((a, b) => a[1] - b[1]).filter((_, i, all) => i === 0 || i === all.length - 1));
  }
  return [...columns.values()].flatMap((pair) => pair.sort((a, b) => a[0] - b[0]));
}

function pathOf(points, f) {
  let d = "";
  let pen = "M";
  for (const [x, y] of points) {
    if (!isKnown(y)) pen = "M";
    else (d += `${pen}${f.x(x).toFixed(1)} ${f.y(y).toFixed(1)}`), (pen = "L");
  }
  return d;
}

/** Points without a known neighbour: no line goes through them. */
const alone = (points) => points.filter(([, y], i) => isKnown(y) && !isKnown(points[i - 1]?.[1]) && !isKnown(points[i + 1]?.[1]));

/** Names at the ends of the lines, pushed apart until none covers another. */
function endLabels(f, lines, colour) {
  if (!f.wide) return [];
  const ends = lines.map(({ one, points }) => [one, points.findLast(([, y]) => isKnown(y))]).filter(([, end]) => end);
  const placed = ends.map(([one, [x, y]]) => ({ one, x: f.x(x), y: f.y(y) })).sort((a, b) => a.y - b.y);
  for (let i = 1; i < placed.length; i++) placed[i].y = Math.max(placed[i].y, placed[i - 1].y + 14);
  const over = placed.length ? Math.max(0, placed.at(-1).y - f.bottom) : 0;
  return placed.map(({ one, x, y }) => s("text", { x: Math.min(x, f.right) + 6, y: y - over + 4, class: `wb-chart-label ${colour(one)}` }, one.name.length > 22 ? `${one.name.slice(0, 21)}…` : one.name));
}

// ---------------------------------------------------------------- small pictures

/** A line without axes, for a tile. Decoration: the tile says the number. */
export function sparkline(values, { width = 150, height = 22 } = {}) {
  const points = values.map((y, x) => [x, y]).slice(-120);
  const known = points.map(([, y]) => y).filter(isKnown);
  if (known.length < 2) return s("svg", { width, height, "aria-hidden": "true" });
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const [x0, x1] = [points[0][0], points.at(-1)[0]];
  const f = { x: (x) => 2 + ((x - x0) / (x1 - x0)) * (width - 6), y: (y) => height - 3 - ((y - low) / (high - low || 1)) * (height - 6) };
  const last = points.findLast(([, y]) => isKnown(y));
  return s("svg", { width, height, "aria-hidden": "true", class: "wb-spark" }, s("path", { d: pathOf(points, f) }), s("circle", { cx: f.x(last[0]), cy: f.y(last[1]), r: 2 }));
}
