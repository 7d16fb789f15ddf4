import { h, refill, button, num, plural, wire, frame } from "./ground.js";

const PAGE = 100; // rows that are drawn at a time
const LONG = 400; // characters of a cell that are drawn
const KEPT = 30; // questions in the history

/** The history of this browser tab; it lives as long as the tab. Where that is forbidden, as long as the page. */
function past(label) {
  const key = `wb-explore ${label}`;
  let held = [];
  try {
    held = JSON.parse(sessionStorage.getItem(key) ?? "[]");
  } catch {
    // no storage here
  }
  return {
    all: () => held,
    add(sql, says) {
      held = [{ sql, says }, ...held.filter((one) => one.sql !== sql)].slice(0, KEPT);
      try {
        sessionStorage.setItem(key, JSON.stringify(held));
      } catch {
        // no storage here
      }
    },
  };
}

function render({ model, el }) {
  const history = past(model.get("label"));
  let columns = []; // [{name, kind, cells}]
  let rows = 0;
  let first = 0; // row of the page in sight
  let asking = 0; // number of the question under way
  let asked = 0;
  let since = 0;
  let ticking = null;
  let sent = "";

  const keys = [
    { keys: ["Ctrl+Enter"], says: "run what is in the box (from inside it)", act: () => false },
    { keys: ["e"], says: "to the box", act: () => box.focus() },
    { keys: ["Escape"], says: "leave the box", act: () => shell.root.focus() },
    { keys: ["r"], says: "run", act: () => run() },
    { keys: ["c"], says: "cancel", act: () => cancel() },
    { keys: ["]"], says: "next rows", act: () => turn(1) },
    { keys: ["["], says: "rows before", act: () => turn(-1) },
    { keys: ["w"], says: "whole texts, or their beginnings", act: () => wholeTexts() },
    { keys: ["d"], says: "download as CSV", act: () => download() },
  ];
  const shell = frame(model, el, { name: "explore", label: model.get("label"), keys });

  // ---------------------------------------------------------------- the box

  const box = h("textarea", {
    class: "wb-sql", rows: 7, spellcheck: "false", autocapitalize: "off", "aria-label": "SQL",
    placeholder: "select part, avg(value) from scores group by part",
    onkeydown: (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      run();
    },
  });
  box.value = model.get("asked");
  const go = button("Run", () => run(), { class: "wb-button wb-go", title: "Ctrl-Enter" });
  const stop = button("Cancel", () => cancel(), { disabled: true });
  const told = h("span", { class: "wb-dim wb-told", role: "status" });
  const wrong = h("pre", { class: "wb-wrong", role: "alert", hidden: true });

  function run() {
    if (asking) return undefined;
    asking = ++asked;
    sent = box.value;
    line.ask("ask", { sql: sent, number: asking });
    busy(true);
    return undefined;
  }
  function cancel() {
    if (!asking) return false;
    line.ask("cancel");
    told.textContent = "cancelling …";
    return undefined;
  }
  function busy(yes) {
    go.disabled = yes;
    stop.disabled = !yes;
    out.setAttribute("aria-busy", yes);
    clearInterval(ticking);
    if (!yes) return;
    since = performance.now();
    wrong.hidden = true;
    told.textContent = "running …";
    ticking = setInterval(() => (ticker.textContent = `${((performance.now() - since) / 1000).toFixed(1)} s`), 200);
  }
  const ticker = h("span", { class: "wb-dim", "aria-hidden": "true" });

  /** What a person chose at the side: into the box, at the caret. */
  function insert(text) {
    box.setRangeText(text, box.selectionStart, box.selectionEnd, "end");
    box.focus();
  }
  function put(sql) {
    box.value = sql;
    box.focus();
    box.scrollIntoView?.({ block: "nearest" });
  }

  // ---------------------------------------------------------------- what comes back

  function hearAnswer(message) {
    if (asking && message.number !== asking) return;
    const own = asking;
    done();
    columns = message.data;
    rows = message.rows;
    first = 0;
    const cut = { rows: " The rest is left out: add WHERE, GROUP BY or LIMIT.", bytes: " The rest is left out, it is too large: ask for fewer columns, or left(text, 200)." }[message.cut] ?? "";
    const says = `${cut ? "the first " : ""}${plural(rows, "row").replace(/^\d+/, (n) => Number(n).toLocaleString())}`;
    told.textContent = `${says} in ${num(message.took, 2)} s.${cut}`;
    if (own) remember(`${says}, ${num(message.took, 2)} s`);
    draw();
  }
  function hearRefusal(message) {
    if (asking && message.number !== asking) return;
    const own = asking;
    done();
    told.textContent = "";
    wrong.hidden = false;
    wrong.textContent = message.says;
    if (own && message.says !== "cancelled") remember("no answer");
  }
  function done() {
    asking = 0;
    busy(false);
    ticker.textContent = "";
  }
  function remember(says) {
    history.add(sent, says);
    drawHistory();
  }

  // ---------------------------------------------------------------- the answer

  const range = h("span", { class: "wb-dim" });
  const before = button("◀", () => turn(-1), { "aria-label": "Rows before" });
  const next = button("▶", () => turn(1), { "aria-label": "Next rows" });
  const whole = button("Whole texts", () => wholeTexts(), { "aria-pressed": "false" });
  const csv = button("CSV", () => download(), { title: "download the rows that came" });
  const turning = h("span", { class: "wb-row" }, range, before, next);
  const tools = h("div", { class: "wb-bar", hidden: true }, turning, h("span", { class: "wb-grow" }), whole, csv);
  const scroll = h("div", { class: "wb-scroll", tabindex: "0", role: "region", "aria-label": "Answer" });
  const out = h("div", { class: "wb-out", "aria-busy": "false" }, tools, scroll);

  const column = (name) => columns.find((one) => one.name === name)?.cells;
  function place(i) {
    const link = model.get("link");
    const at = ["run", "tree", "trajectory", "step"].map((name) => [name, column(name)?.[i]]);
    if (!link || typeof at[0][1] !== "string" || typeof at[1][1] !== "string") return null;
    const known = at.filter(([, value]) => value !== null && value !== undefined);
    return h("a", { href: `${link}?${new URLSearchParams(known)}`, "aria-label": `Open tree ${at[1][1]}` }, "open");
  }
  const full = () => whole.getAttribute("aria-pressed") === "true";
  function cell(value, kind) {
    if (value === null) return h("td", { class: kind === "number" ? "wb-null wb-number" : "wb-null" }, "NULL");
    if (kind === "number") {
      const shown = typeof value === "number" && !Number.isInteger(value) ? num(value, 5) : String(value).replace("-", "−");
      return h("td", { class: "wb-number", title: String(value) }, shown);
    }
    const text = String(value);
    if (full()) return h("td", { class: "wb-whole" }, text);
    const cut = text.length > LONG ? `${text.slice(0, LONG)}…` : text;
    return h("td", {}, h("div", { class: "wb-short", title: text.slice(0, 2000) }, cut));
  }
  function draw() {
    tools.hidden = false;
    const last = Math.min(rows, first + PAGE);
    range.textContent = rows > PAGE ? `${(first + 1).toLocaleString()}–${last.toLocaleString()} of ${rows.toLocaleString()}` : "";
    turning.hidden = rows <= PAGE;
    before.disabled = first === 0;
    next.disabled = last >= rows;
    const opens = rows > 0 && place(0) !== null;
    const head = h("tr", {}, opens && h("th", { scope: "col" }, h("span", { class: "wb-hidden-text" }, "open")),
      columns.map((one) => h("th", { scope: "col", class: one.kind === "number" ? "wb-number" : null }, one.name)));
    const body = [];
    for (let i = first; i < last; i++)
      body.push(h("tr", {}, opens && h("td", {}, place(i)), columns.map((one) => cell(one.cells[i], one.kind))));
    refill(scroll, h("table", {}, h("thead", {}, head), h("tbody", {}, body)), rows ? null : h("p", { class: "wb-empty" }, "No row."));
    scroll.scrollTop = 0;
  }
  function turn(by) {
    const to = first + by * PAGE;
    if (to < 0 || to >= rows) return false;
    first = to;
    draw();
    return undefined;
  }
  function wholeTexts() {
    if (!columns.length) return false;
    whole.setAttribute("aria-pressed", !full());
    draw();
    return undefined;
  }
  function download() {
    if (!columns.length) return false;
    const quoted = (value) => {
      const text = value === null ? "" : String(value);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const lines = [columns.map((one) => quoted(one.name))];
    for (let i = 0; i < rows; i++) lines.push(columns.map((one) => quoted(one.cells[i])));
    const blob = new Blob([lines.map((cells) => `${cells.join(",")}\r\n`).join("")], { type: "text/csv" });
    const address = URL.createObjectURL(blob);
    const link = h("a", { download: "answer.csv", href: address });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
    return undefined;
  }

  // ---------------------------------------------------------------- the side

  const fold = (label, content, open = false) => h("details", { class: "wb-fold", open }, h("summary", {}, label), content);
  const examples = h("ul", { class: "wb-plain" });
  const earlier = h("ul", { class: "wb-plain" });
  const tables = h("div");
  const wide = el.clientWidth > 620;
  const history_fold = fold("Asked before", earlier);
  const side = h("aside", { class: "wb-side", "aria-label": "What can be asked" },
    fold("Examples", examples, wide), history_fold, fold("Tables", tables, wide));

  function example(sql) {
    if (!wide) examples.parentElement.open = false; // the answer stands below it
    put(sql);
    run();
  }
  const choice = (label, act, props = {}) => h("button", { type: "button", class: "wb-choice", onclick: act, ...props }, label);
  function drawHistory() {
    history_fold.hidden = !history.all().length;
    refill(earlier, history.all().map((one) =>
      h("li", {}, choice([h("code", {}, one.sql.slice(0, 160)), h("span", { class: "wb-dim" }, ` ${one.says}`)], () => put(one.sql)))));
  }
  function hearKnown(message) {
    refill(examples, message.data.examples.map(([says, sql]) => h("li", {}, choice(says, () => example(sql), { title: sql }))));
    refill(tables, message.data.tables.map((table) =>
      h("details", {},
        h("summary", { title: table.meaning }, h("code", {}, table.name)),
        h("p", { class: "wb-dim" }, table.meaning),
        h("ul", { class: "wb-plain" },
          h("li", {}, choice(h("code", {}, `from ${table.name}`), () => insert(`from ${table.name}`))),
          table.columns.map(([name, type, meaning]) => h("li", {}, choice([h("code", {}, name), h("span", { class: "wb-dim" }, ` ${type}`)], () => insert(name), { title: meaning })))))));
    drawHistory();
  }

  shell.body.append(
    h("div", { class: "wb-asking" }, box,
      h("div", { class: "wb-bar" }, go, stop, ticker, told, h("span", { class: "wb-grow" }), button("Keys", () => shell.root.showKeys())),
      wrong),
    side, out,
  );
  const line = wire(
    model,
    {
      known: hearKnown, answer: hearAnswer, refused: hearRefusal,
      trouble: (message) => (done(), (told.textContent = ""), shell.say(message.says, "trouble")),
    },
    shell.silent,
  );
  line.ask("hello");
  return () => {
    clearInterval(ticking);
    line.close();
    shell.close();
  };
}

export default { render };
