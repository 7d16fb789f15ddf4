import { h, refill, button, chip, wire, frame } from "./ground.js";
import { tableFilters } from "./table_filters.js";

const END = { truncated: "wb-error", failed: "wb-error" };
const NOT_SAID = () => h("span", { class: "wb-dim" }, "–");

/** Times are UTC in the lab; a person reads them in their own zone. */
const time = (text) => {
  const when = new Date(`${text}Z`);
  return isNaN(when) ? text : when.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
};

const DRAWN = {
  text: (value) => h("span", { class: "wb-cut", title: value }, value ?? ""),
  list: (value) => h("span", { class: "wb-cut", title: value }, value ?? ""),
  number: (value) => (value === null ? NOT_SAID() : value.toLocaleString()),
  paid: (value) =>
    chip(value.value, {
      status: value.status,
      pays: value.pays,
      title: value.edited ? "changed by a person" : "",
      extra: value.edited ? "wb-edited" : "",
    }),
  time: (value) => (value ? time(value) : NOT_SAID()),
  end: (value) => h("span", { class: `wb-chip ${END[value] ?? "wb-zero"}` }, value ?? ""),
};

const RIGHT = new Set(["number", "paid"]);

function render({ model, el }) {
  let columns = [];
  let rows = [];
  let total = 0;
  let empty = "";
  let query = { ...model.get("asked") };
  let good = query; // the last one that was answered
  let asking = 0; // the question under way
  let waiting = false; // another was asked meanwhile
  let answered = 0;
  let entering = 0; // where to put the focus once the rows are there: 1 the first, -1 the last

  const keys = [
    { keys: ["ArrowDown", "j"], says: "next row", act: () => move(1) },
    { keys: ["ArrowUp", "k"], says: "row before", act: () => move(-1) },
    { keys: ["Enter"], says: "open the row", act: () => false },
    { keys: ["]"], says: "next page", act: () => turn(1) },
    { keys: ["["], says: "page before", act: () => turn(-1) },
    { keys: ["Home"], says: "first page", act: () => go({ offset: 0 }) },
    { keys: ["/"], says: "find in the texts", act: () => (model.get("finds") ? filters.find.focus() : false) },
    { keys: ["f"], says: "filter by a number", act: () => filters.openRange() },
    { keys: ["Escape"], says: "back to the rows", act: () => focusRow(0) },
  ];
  const shell = frame(model, el, { name: "rollout-table", label: model.get("label"), keys });

  // ---------------------------------------------------------------- the question

  function go(changes) {
    query = { ...query, ...changes };
    if (asking) {
      waiting = true;
      return;
    }
    asking = ++answered;
    body.setAttribute("aria-busy", "true");
    line.ask("page", { ...query, number: asking });
  }
  const anew = (changes) => go({ ...changes, offset: 0 });
  const filters = tableFilters({ finds: model.get("finds"), query: () => query, columns: () => columns, anew });

  function hearRows(message) {
    if (message.number && message.number !== asking) return;
    asking = 0;
    if (waiting) {
      waiting = false;
      go({});
      return;
    }
    ({ data: rows, total, query } = message);
    good = query;
    draw();
  }

  function hearTrouble(message) {
    asking = 0;
    waiting = false;
    query = good;
    body.removeAttribute("aria-busy");
    filters.draw();
    shell.say(message.says, "trouble");
  }

  // ---------------------------------------------------------------- moving about

  const openers = () => [...body.querySelectorAll(".wb-opens")];
  function focusRow(at) {
    const all = openers();
    if (!all.length) return false;
    all[Math.max(0, Math.min(at, all.length - 1))].focus();
  }
  function move(by) {
    const all = openers();
    const now = all.indexOf(el.getRootNode().activeElement);
    if (now < 0) return focusRow(by > 0 ? 0 : all.length - 1);
    if (now + by >= 0 && now + by < all.length) return focusRow(now + by);
    return turn(by, true);
  }
  function turn(by, enter = false) {
    const offset = query.offset + by * query.limit;
    if (offset < 0 || offset >= total) return undefined;
    entering = enter ? by : 1;
    return go({ offset });
  }
  function follow(event, row) {
    if (event.defaultPrevented || String(getSelection())) return;
    if (event.target.closest(".wb-opens") || event.button) return;
    event.currentTarget.querySelector(".wb-opens")?.click();
  }

  // ---------------------------------------------------------------- the table

  const told = h("span", { class: "wb-dim wb-told", role: "status" });
  const before = button("◀", () => turn(-1), { "aria-label": "Page before" });
  const next = button("▶", () => turn(1), { "aria-label": "Next page" });
  const head = h("tr");
  const body = h("tbody", { "aria-busy": "true" });
  const table = h("table", { "aria-label": model.get("label") }, h("thead", {}, head), body);
  const scroll = h("div", { class: "wb-scroll" }, table);
  const nothing = h("p", { class: "wb-empty", hidden: true });

  function drawHead() {
    refill(head, columns.map((column) => {
      const sorted = query.sort === column.name;
      const direction = sorted ? (query.descending ? "descending" : "ascending") : "none";
      const arrow = { ascending: " ▲", descending: " ▼", none: "" }[direction];
      return h(
        "th",
        { scope: "col", class: classOf(column), "aria-sort": direction, title: column.says },
        h("button", { type: "button", class: "wb-sort", onclick: () => sortBy(column) }, column.label, h("span", { "aria-hidden": "true" }, arrow)),
      );
    }));
  }
  const classOf = (column) =>
    [`wb-kind-${column.kind}`, RIGHT.has(column.kind) && "wb-number", column.minor && query.sort !== column.name && "wb-minor"].filter(Boolean).join(" ");

  function sortBy(column) {
    const first = RIGHT.has(column.kind) || column.kind === "time"; // the largest first
    if (query.sort !== column.name) anew({ sort: column.name, descending: first });
    else if (query.descending === first) anew({ descending: !first });
    else anew({ sort: "", descending: false });
  }

  function drawRow(row) {
    let opens = columns.findIndex((column) => column.kind === "text");
    const cells = columns.map((column, c) => {
      const shown = DRAWN[column.kind](row.cells[c]);
      return h("td", { class: classOf(column) }, c === opens ? opener(row, shown) : shown);
    });
    return h("tr", { onclick: (event) => follow(event, row) }, cells);
  }
  function opener(row, shown) {
    const link = model.get("link");
    const inside = shown.textContent ? shown : h("span", { class: "wb-dim" }, "(no text)");
    if (!link) return h("button", { type: "button", class: "wb-opens", onclick: () => line.ask("open", { row: row.open }) }, inside);
    return h("a", { class: "wb-opens", href: `${link}${link.includes("?") ? "&" : "?"}${new URLSearchParams(row.open)}` }, inside);
  }

  function draw() {
    const within = body.contains(el.getRootNode().activeElement);
    body.removeAttribute("aria-busy");
    drawHead();
    filters.draw();
    refill(body, rows.map(drawRow));
    scroll.scrollTop = 0;
    const filtered = query.text || Object.keys(query.equal).length || Object.keys(query.ranges).length;
    nothing.hidden = rows.length > 0;
    refill(nothing, filtered ? "No row fits these filters." : empty);
    const last = query.offset + rows.length;
    told.textContent = total ? `${(query.offset + 1).toLocaleString()}–${last.toLocaleString()} of ${total.toLocaleString()}` : "no rows";
    before.disabled = query.offset === 0;
    next.disabled = last >= total;
    if (entering || within) focusRow(entering < 0 ? rows.length - 1 : 0);
    entering = 0;
  }

  shell.body.append(
    h(
      "div",
      { class: "wb-bar" },
      filters.els,
      h("span", { class: "wb-row wb-turn" }, told, before, next, button("Keys", () => shell.root.showKeys())),
    ),
    filters.form, scroll, nothing,
  );
  const line = wire(
    model,
    {
      columns: (message) => {
        columns = message.data;
        empty = message.empty;
        filters.build();
        drawHead();
      },
      rows: hearRows,
      trouble: hearTrouble,
    },
    shell.silent,
  );
  line.ask("hello");
  return () => {
    line.close();
    shell.close();
  };
}

export default { render };
