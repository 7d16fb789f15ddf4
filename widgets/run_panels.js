// What RunMonitor shows beside the curves: numbers of an update, training checks, groups.
import { h, refill, button, num, plural } from "./ground.js";
import { s, sparkline } from "./chart.js";

const ENDS = ["answered", "truncated", "failed", "pruned"];

const isUnknown = (value) => value === null || value === undefined;

export const seconds = (value) => (isUnknown(value) ? "–" : value < 0.1 ? `${Math.round(value * 1000)} ms` : value < 90 ? `${num(value, 2)} s` : value < 5400 ? `${Math.round(value / 60)} min` : `${num(value / 3600, 2)} h`);

// ---------------------------------------------------------------- numbers of an update

/** Tiles with the numbers of one update, each with its course over all of them. */
export function tilesPanel() {
  const el = h("div", { class: "wb-tiles", role: "group", "aria-label": "numbers of the update" });
  return {
    el,
    draw(rows, row) {
      if (!row) return refill(el);
      const past = (f) => sparkline(rows.map((one) => f(one) ?? null));
      const share = (one) => (one.groups ? one.equal_groups / one.groups : null);
      refill(el,
        tile("Searches a rollout", num(row.searches), past((one) => one.searches), plural(row.rollouts, "rollout")),
        tile("Equal groups", `${row.equal_groups} of ${row.groups}`, past(share), "teach nothing"),
        tile("Ends", endsText(row.ends), endsBar(row.ends)),
        tile("Sampling", `${whole(row.sampled_per_s)} tokens/s`, past((one) => one.sampled_per_s), `training ${whole(row.trained_per_s)} tokens/s`),
        tile("Time", seconds(secondsOf(row)), timeBar(row), `rollout ${seconds(row.rollout_s)}, score ${seconds(row.score_s)}, train ${seconds(row.train_s)}`),
        tile("Gradient norm", num(row.grad_norm), past((one) => one.grad_norm), `loss ${num(row.loss)}, lr ${num(row.lr)}${known(", entropy ", row.entropy)}${known(", KL ", row.kl)}${known(", clipped ", row.clipped)}`),
        isUnknown(row.explained) ? null : tile("Critic", num(row.explained), past((one) => one.explained), `of the variance foreseen, loss ${num(row.value_loss)}`),
      );
    },
  };
}

/** Seconds of an update; null where they were not recorded. */
export const secondsOf = (row) => (isUnknown(row.rollout_s) ? null : row.rollout_s + row.score_s + row.train_s);

const whole = (value) => (isUnknown(value) ? "–" : Math.round(value).toLocaleString("en"));
const known = (name, value) => (isUnknown(value) ? "" : `${name}${num(value)}`);

const tile = (name, value, picture, small = "") =>
  h("div", { class: "wb-tile" }, h("h4", {}, name), h("div", { class: "wb-tile-value wb-number" }, value), picture, h("div", { class: "wb-dim" }, small));

const endsText = (ends) => ENDS.filter((end) => ends?.[end]).map((end) => `${ends[end]} ${end}`).join(", ") || "–";

function bar(pieces) {
  const total = pieces.reduce((sum, [, amount]) => sum + amount, 0) || 1;
  return h("div", { class: "wb-shares", "aria-hidden": "true" }, pieces.map(([kind, amount]) => amount > 0 && h("i", { class: `wb-share-${kind}`, style: { width: `${(100 * amount) / total}%` } })));
}

const endsBar = (ends) => bar(ENDS.map((end) => [end, ends?.[end] ?? 0]));
const timeBar = (row) => bar([["rollout", row.rollout_s], ["score", row.score_s], ["train", row.train_s]]);

// ---------------------------------------------------------------- training checks

/** Every check: how it stands, and when it last did not hold. `go(update)` is called to look at an update. */
export function checksPanel(go) {
  const list = h("ul", { class: "wb-checks" });
  const head = h("h3", {}, "Training checks");
  const el = h("section", { class: "wb-panel", "aria-label": "Training checks" }, head, list);
  let items = new Map(); // by name: what it shows, and the element; one that shows the same is left, with its focus
  const item = (name, ...told) => {
    const key = JSON.stringify(told);
    return items.get(name)?.key === key ? items.get(name) : { key, el: checkItem(name, ...told, go) };
  };
  return {
    el,
    /** Returns how many checks ever lit up. */
    draw(checks, rows) {
      const lit = alarmsByName(rows);
      const names = [...new Set([...checks.map((one) => one.name), ...lit.keys()])];
      refill(head, "Training checks ", lit.size > 0 && h("span", { class: "wb-chip wb-error" }, `${lit.size} lit up`));
      items = new Map(names.map((name) => [name, item(name, checks.find((one) => one.name === name), lit.get(name))]));
      const wanted = names.length ? [...items.values()].map((one) => one.el) : [h("li", { class: "wb-dim" }, "They are looked at in every update; none is done yet.")];
      putInOrder(list, wanted);
      return lit.size;
    },
  };
}

/** Make these the children, touching only those that are new: taking an element out and in again takes its focus. */
function putInOrder(list, wanted) {
  [...list.children].filter((one) => !wanted.includes(one)).forEach((one) => one.remove());
  wanted.forEach((one, i) => list.children[i] !== one && list.insertBefore(one, list.children[i] ?? null));
}

function alarmsByName(rows) {
  const found = new Map();
  for (const row of rows)
    for (const alarm of row.alarms) {
      const before = found.get(alarm.name) ?? { times: 0, first: row.update };
      found.set(alarm.name, { ...before, times: before.times + 1, update: row.update, says: alarm.says });
    }
  return found;
}

function checkItem(name, check, lit, go) {
  const now = !check ? "unseen" : check.ok ? "ok" : "look";
  const sign = { ok: "✓", look: "▲", unseen: "·" }[now];
  const word = { ok: "holds", look: "does not hold", unseen: "not looked at in the newest update" }[now];
  return h("li", { class: `wb-check wb-check-${now} ${lit ? "wb-check-lit" : ""}` },
    h("span", { class: "wb-check-sign", role: "img", "aria-label": word, title: word }, sign),
    h("div", { class: "wb-grow" },
      h("div", { class: "wb-row" }, h("strong", {}, name), h("span", { class: "wb-number wb-dim" }, check ? num(check.value) : "")),
      h("div", { class: "wb-check-says" }, check ? check.says : word),
      lit && alarmLine(lit, now, go)));
}

/** When a check lit up: the newest time with what it said then; where it is lit now, only since when. */
function alarmLine({ times, first, update, says }, now, go) {
  const link = (at) => button(`update ${at}`, () => go(at), { class: "wb-link", title: "show this update" });
  if (now !== "look") return h("div", { class: "wb-alarm" }, link(update), `: ${says}`, times > 1 && ` (${times} updates in all)`);
  return times > 1 && h("div", { class: "wb-alarm" }, `in ${times} updates, the first was `, link(first));
}

// ---------------------------------------------------------------- groups

/** The groups of an update. `open(i)` is called to read one; `hold(yes)` while someone is busy in the list. */
export function groupsPanel({ open, hold }) {
  const head = h("h3", {}, "Groups");
  const body = h("div", { class: "wb-groups", tabindex: "0", role: "region", "aria-label": "groups of the newest update" });
  const el = h("section", { class: "wb-panel wb-panel-groups", "aria-label": "Groups of the newest update" }, head, body);
  let busy = 0;
  const count = (by) => {
    const before = busy > 0;
    busy = Math.max(0, busy + by);
    if (before !== busy > 0) hold(busy > 0);
  };
  let inside = false;
  body.addEventListener("pointerenter", () => inside || ((inside = true), count(1)));
  body.addEventListener("pointerleave", () => inside && ((inside = false), count(-1)));
  body.addEventListener("focusin", (event) => body.contains(event.relatedTarget) || count(1));
  body.addEventListener("focusout", (event) => body.contains(event.relatedTarget) || count(-1));
  return {
    el,
    focus: () => (body.querySelector("button") ?? body).focus(),
    draw({ update, rows }, opened) {
      refill(head, update === null ? "Groups" : `Groups of update ${update}`);
      const paid = rows.flatMap((row) => row.returns).filter((one) => one !== null);
      const range = [Math.min(...paid), Math.max(...paid)];
      const line = (row, i) => groupLine(row, i, range, open, opened?.update === update && opened.question === row.question);
      const heads = ["", "question", "returns", "mean", "spread", "ends"].map((name, i) => h("th", { scope: "col", class: i === 3 || i === 4 ? "wb-number" : "" }, name || h("span", { class: "wb-hidden-text" }, "number")));
      refill(body, rows.length ? h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows.map(line))) : h("p", { class: "wb-dim" }, "The groups of the newest update come here; open one to read it step by step."));
    },
  };
}

function groupLine(row, i, range, open, opened) {
  const equal = row.spread === 0;
  return h("tr", { class: opened ? "wb-opened" : "" },
    h("td", { class: "wb-number wb-dim" }, i + 1),
    h("td", { class: "wb-question-cell" }, button(row.question, () => open(i), { class: "wb-link", title: `open in StepThrough (task ${row.task})` })),
    h("td", {}, returnsStrip(row.returns, range)),
    h("td", { class: "wb-number", "data-label": "mean" }, num(row.mean)),
    h("td", { class: `wb-number ${equal ? "wb-dim" : ""}`, "data-label": equal ? null : "spread", title: equal ? "all returns are equal: this group teaches nothing" : "population standard deviation of the returns" }, equal ? "equal" : num(row.spread)),
    h("td", { class: "wb-dim wb-ends-cell" }, endsText(row.ends)));
}

/** A dot for each return, from the lowest of all groups to the highest; equal ones stand on each other. */
function returnsStrip(returns, [low, high]) {
  const [width, height] = [120, 24];
  const stacked = new Map();
  const dots = returns.map((value) => {
    if (value === null) return null;
    const x = Math.round(5 + ((value - low) / (high - low || 1)) * (width - 10));
    const under = stacked.get(x) ?? 0;
    stacked.set(x, under + 1);
    return s("circle", { cx: x, cy: height - 5 - Math.min(under * 3, height - 8), r: 2.6 });
  });
  const missing = returns.filter((value) => value === null).length;
  const text = returns.map((value) => num(value)).join(", ");
  return h("span", { class: "wb-strip", title: text },
    s("svg", { width, height, "aria-hidden": "true" }, s("line", { x1: 2, x2: width - 2, y1: height - 1.5, y2: height - 1.5 }), dots),
    missing > 0 && h("span", { class: "wb-chip wb-missing" }, `${missing} unscored`), h("span", { class: "wb-hidden-text" }, text));
}
