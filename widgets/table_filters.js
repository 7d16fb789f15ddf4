import { h, refill, button, num, later } from "./ground.js";

const without = (held, name) => Object.fromEntries(Object.entries(held).filter(([key]) => key !== name));

const removable = (text, act) =>
  button([text, " ×"], act, { class: "wb-button wb-filter", "aria-label": `Remove the filter ${text}`, title: "Remove this filter" });

/**
 * What a table's rows can be filtered by: a text, one of several choices, a number from and to. `query()` and
 * `columns()` are those in force, `anew(changes)` asks for other rows. Returns {els, form, build, draw, find, openRange}:
 * `build` where the columns are new, `draw` where the query is.
 */
export function tableFilters({ finds, query, columns, anew }) {
  const find = h("input", {
    type: "search",
    class: "wb-find",
    placeholder: `Find in ${finds}`,
    "aria-label": `Find in ${finds}`,
    value: query().text,
    hidden: !finds,
    oninput: later(250, () => anew({ text: find.value })),
  });
  const choosers = h("span", { class: "wb-row" });
  const chips = h("span", { class: "wb-row wb-wrap" });
  const range = rangeForm({ query, anew });

  const labelOf = (name) => columns().find((column) => column.name === name)?.label ?? name.replace(/^part:/, "");

  const selects = new Map();

  function chooser(column) {
    const options = [h("option", { value: "" }, `${column.label}: any`), ...column.choices.map((one) => h("option", { value: one }, one))];
    const choose = () => {
      const others = without(query().equal, column.name);
      anew({ equal: select.value ? { ...others, [column.name]: select.value } : others });
    };
    const select = h("select", { "aria-label": column.label, onchange: choose }, options);
    selects.set(column.name, select);
    return select;
  }

  function rangeChip([name, [from, to]]) {
    const ends = [from !== null && `from ${num(from, 6)}`, to !== null && `to ${num(to, 6)}`].filter(Boolean).join(" ");
    return removable(`${labelOf(name)}: ${ends}`, () => leave({ ranges: without(query().ranges, name) }));
  }
  function equalChip([name, value]) {
    return removable(`${labelOf(name)}: ${value}`, () => leave({ equal: without(query().equal, name) }));
  }
  /** The chip that was pressed goes away; the focus stays in the bar. */
  function leave(changes) {
    range.opener.focus();
    anew(changes);
  }

  function build() {
    selects.clear();
    refill(choosers, columns().filter((column) => column.filter === "choice").map(chooser));
    range.offer(columns().filter((column) => column.filter === "range"));
    draw();
  }
  function draw() {
    const { equal, ranges } = query();
    for (const [name, select] of selects) select.value = equal[name] ?? "";
    const fixed = Object.entries(equal).filter(([name]) => !selects.has(name));
    refill(chips, fixed.map(equalChip), Object.entries(ranges).map(rangeChip));
  }

  return { els: [find, choosers, range.opener, chips], form: range.form, build, draw, find, openRange: range.open };
}

/** A number column, from and to. */
function rangeForm({ query, anew }) {
  const picked = h("select", { "aria-label": "Column to filter by", onchange: () => fillIn() });
  const end = (label) => h("input", { type: "number", step: "any", "aria-label": label, placeholder: label });
  const [low, high] = [end("from"), end("to")];
  const form = h(
    "form",
    { class: "wb-bar wb-range", hidden: true, onsubmit: (event) => (event.preventDefault(), send()) },
    picked, low, "to", high,
    h("button", { type: "submit", class: "wb-button" }, "Filter"),
    button("Cancel", () => close(), { class: "wb-button wb-quiet" }),
  );
  const opener = button("Filter by number…", () => open(), { "aria-expanded": "false" });

  function show(yes) {
    form.hidden = !yes;
    opener.setAttribute("aria-expanded", yes);
  }
  function fillIn() {
    const [from, to] = query().ranges[picked.value] ?? [null, null];
    low.value = from ?? "";
    high.value = to ?? "";
  }
  function open() {
    if (!picked.options.length) return false;
    fillIn();
    show(true);
    picked.focus();
  }
  function close() {
    show(false);
    opener.focus();
  }
  function send() {
    const pair = [low, high].map((field) => (field.value.trim() === "" ? null : Number(field.value)));
    const others = without(query().ranges, picked.value);
    close();
    anew({ ranges: pair.some((one) => one !== null) ? { ...others, [picked.value]: pair } : others });
  }
  function offer(columns) {
    refill(picked, columns.map((column) => h("option", { value: column.name }, column.label)));
    opener.hidden = !columns.length;
  }
  return { form, opener, open, offer };
}
