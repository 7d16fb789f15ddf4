// The ground of every component: elements made of text, numbers as people read them, colours, the wire to Python.

/** An element. Children and attribute values are data: text becomes a text node, never HTML. */
export function h(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) el.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(el.style, value);
    else if (key === "value") el.value = value;
    else el.setAttribute(key, value === true ? "" : value);
  }
  return fill(el, children);
}

/** Append children: elements, texts, numbers, nested lists; null and false are left out. */
export function fill(el, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    el.append(child instanceof Node ? child : String(child));
  }
  return el;
}

/** The same element with other children. */
export function refill(el, ...children) {
  el.replaceChildren();
  return fill(el, children);
}

export const button = (label, onclick, props = {}) =>
  h("button", { type: "button", class: "wb-button", onclick, ...props }, label);

// ---------------------------------------------------------------- numbers

/** A number in at most `digits` significant digits; null is a dash. */
export function num(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size < 1e-12) return "0"; // what sums of floats leave behind
  if (size >= 1e6 || size < 1e-4) return value.toExponential(1).replace(/^-/, "−");
  return String(+value.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(size))))).replace("-", "−");
}

export const signed = (value, digits = 3) => (value > 0 ? "+" : "") + num(value, digits);

export const tone = (value) => (value === null || value === undefined ? "none" : value > 0 ? "plus" : value < 0 ? "minus" : "zero");

/** A count with its noun: 1 step, 2 steps. */
export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/**
 * A chip that shows a reward, in the colour of its sign. What is missing (status 2) and what does not apply (1) say so.
 * `pays` gives the colour where that is another number: a penalty's value is positive and its pay negative.
 */
export function chip(value, { status = 0, title = "", extra = "", pays = value } = {}) {
  if (status === 2) return h("span", { class: "wb-chip wb-missing", title: title || "missing: it could not be scored" }, "missing");
  if (status === 1 || value === null || value === undefined)
    return h("span", { class: "wb-chip wb-not-applicable", title: title || "not applicable: adds nothing here" }, "n/a");
  return h("span", { class: `wb-chip wb-${tone(pays)} ${extra}`, title }, signed(value));
}

// ---------------------------------------------------------------- colours

/** Light or dark as `model` says, or as the page around is; follows it until `stop` is called. */
export function followTheme(root, model) {
  const media = matchMedia("(prefers-color-scheme: dark)");
  const look = () => {
    const asked = model.get("theme");
    const lab = document.body.dataset.jpThemeLight;
    const dark = asked === "auto" || !asked ? (lab === undefined ? media.matches : lab === "false") : asked === "dark";
    root.dataset.theme = dark ? "dark" : "light";
  };
  const watch = new MutationObserver(look);
  watch.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  media.addEventListener("change", look);
  model.on("change:theme", look);
  look();
  return () => {
    watch.disconnect();
    media.removeEventListener("change", look);
    model.off("change:theme", look);
  };
}

// ---------------------------------------------------------------- the wire

/**
 * The wire to Python. `handlers[kind](message)` is called for each message; data that came as bytes is in
 * `message.data`. Until the first answer, and where none comes, `silent(true)` is called.
 */
export function wire(model, handlers, silent = () => {}) {
  let heard = false;
  const hear = (message, buffers) => {
    if (!heard) silent(false);
    heard = true;
    if (buffers && buffers.length) message = { ...message, data: unpacked(buffers[0]) };
    if (handlers[message.kind]) handlers[message.kind](message);
  };
  model.on("msg:custom", hear);
  const timer = setTimeout(() => heard || silent(true), 4000);
  return {
    ask: (kind, content = {}) => model.send({ kind, ...content }),
    close: () => {
      clearTimeout(timer);
      model.off("msg:custom", hear);
    },
  };
}

function unpacked(view) {
  const bytes = view.buffer ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : new Uint8Array(view);
  return JSON.parse(new TextDecoder().decode(bytes));
}

/** The latest of many calls, `wait_ms` after the first of them. */
export function later(wait_ms, f) {
  let timer = null;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...args), wait_ms);
  };
}

// ---------------------------------------------------------------- the frame of a component

/**
 * The frame every component is drawn in: theme, keys, a line that says what happened, the notice that no kernel
 * answers. Returns {root, body, say, keys, close}.
 */
export function frame(model, el, { name, label, keys }) {
  const body = h("div", { class: "wb-body" });
  const line = h("div", { class: "wb-line", role: "status", "aria-live": "polite" });
  const notice = h("div", { class: "wb-notice", role: "alert", hidden: true });
  const root = h("section", { class: `wb wb-${name}`, tabindex: "0", "aria-label": label }, notice, body, line);
  // the picture that a notebook keeps for when nobody answers (Component._ipython_display_)
  for (const one of document.querySelectorAll("[data-wb-kept]")) if (one.dataset.wbKept === model.get("kept")) one.hidden = true;
  const stopTheme = followTheme(root, model);
  const stopKeys = keys ? listen(root, keys) : () => {};
  const stopShield = shield(root);
  el.append(root);
  let fade = null;
  const say = (text, kind = "info") => {
    clearTimeout(fade);
    line.dataset.kind = kind;
    line.textContent = text;
    if (kind !== "trouble") fade = setTimeout(() => (line.textContent = ""), 6000);
  };
  const silent = (yes) => {
    notice.hidden = !yes;
    if (!yes) return;
    const still = model.get("still");
    refill(notice, h("strong", {}, "No kernel answers. "), "What you do here reaches nobody; run the cell again.",
      still && h("pre", { class: "wb-still" }, still));
  };
  return {
    root, body, say, silent,
    close: () => {
      clearTimeout(fade);
      stopTheme();
      stopKeys();
      stopShield();
      root.remove();
    },
  };
}

// ---------------------------------------------------------------- keys

/**
 * A keyboard map: [{keys: ["j", "ArrowDown"], says: "next step", act}]. Keys typed into a field are left alone, but
 * for Escape. `?` shows the map.
 */
export function listen(root, map) {
  const overlay = helpOverlay(root, map);
  const hear = (event) => {
    const typing = event.composedPath()[0].matches?.("input, textarea, select, [contenteditable]");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (overlay.open && (event.key === "Escape" || event.key === "?")) return done(event, overlay.close);
    if (typing && event.key !== "Escape") return;
    if (event.key === "?") return done(event, overlay.show);
    const bound = map.find((one) => one.keys.includes(event.key));
    if (bound) done(event, bound.act);
  };
  const done = (event, act) => {
    if (act(event) === false) return;
    event.preventDefault();
    event.stopPropagation();
  };
  root.addEventListener("keydown", hear);
  root.showKeys = overlay.show;
  return () => root.removeEventListener("keydown", hear);
}

/**
 * Keep JupyterLab's shortcuts (D, D deletes a cell) from firing in here; those with Control, as for saving, still do.
 * JupyterLab asks the focused element for the mark before it asks those around it.
 */
function shield(root) {
  const mark = (event) => {
    if (!root.contains(event.target)) return;
    const theirs = (event.ctrlKey || event.metaKey) && event.key !== "Enter";
    event.target.toggleAttribute("data-lm-suppress-shortcuts", !theirs);
  };
  window.addEventListener("keydown", mark, true);
  return () => window.removeEventListener("keydown", mark, true);
}

function helpOverlay(root, map) {
  const shown = { open: false };
  let box = null;
  let before = null;
  shown.close = () => {
    box?.close();
    box?.remove();
    box = null;
    shown.open = false;
    before?.focus?.({ preventScroll: true });
  };
  shown.show = () => {
    if (shown.open) return;
    before = root.getRootNode().activeElement ?? root;
    const rows = [...map, { keys: ["?"], says: "show or hide this list" }].map((one) =>
      h("tr", {}, h("td", {}, one.keys.map((key) => h("kbd", {}, KEY_NAMES[key] ?? key))), h("td", {}, one.says)),
    );
    const close = button("Close", shown.close);
    box = h("dialog", { class: "wb-card", "aria-label": "Keyboard", oncancel: (event) => (event.preventDefault(), shown.close()) },
      h("h3", {}, "Keyboard"), h("table", {}, h("tbody", {}, rows)), close);
    root.append(box);
    box.showModal(); // keeps Tab inside
    shown.open = true;
    close.focus({ preventScroll: true });
  };
  return shown;
}

const KEY_NAMES = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", " ": "space" };

// ---------------------------------------------------------------- a list of any length

/**
 * A list of which only the rows in sight exist. `row(i)` makes the element of row i; `pick(i)` is told of clicks.
 * Returns {el, show(count), redraw, select(i)}.
 */
export function virtualList({ rowHeight, label, row, pick }) {
  const id = `wb-list-${Math.random().toString(36).slice(2)}`;
  const space = h("div", { class: "wb-list-space", role: "presentation" });
  const el = h("div", { class: "wb-list", role: "listbox", "aria-label": label, tabindex: "0" }, space);
  const drawn = new Map();
  let count = 0;
  let selected = -1;

  function draw() {
    const top = el.scrollTop;
    const height = el.clientHeight || 400;
    const first = Math.max(0, Math.floor(top / rowHeight) - 4);
    const last = Math.min(count, Math.ceil((top + height) / rowHeight) + 4);
    for (const [i, node] of drawn) if (i < first || i >= last) node.remove(), drawn.delete(i);
    const fresh = document.createDocumentFragment();
    for (let i = first; i < last; i++) {
      if (drawn.has(i)) continue;
      const node = row(i);
      node.id = `${id}-${i}`;
      node.setAttribute("role", "option");
      node.setAttribute("aria-setsize", count);
      node.setAttribute("aria-posinset", i + 1);
      node.setAttribute("aria-selected", i === selected);
      node.style.transform = `translateY(${i * rowHeight}px)`;
      node.style.height = `${rowHeight}px`;
      node.addEventListener("click", (event) => pick(i, event));
      drawn.set(i, node);
      fresh.append(node);
    }
    space.append(fresh);
  }
  let waiting = false;
  el.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => ((waiting = false), draw()));
  });
  const resized = new ResizeObserver(draw);
  resized.observe(el);

  const redraw = () => {
    for (const node of drawn.values()) node.remove();
    drawn.clear();
    draw();
  };
  return {
    el,
    redraw,
    show(howMany) {
      count = howMany;
      space.style.height = `${count * rowHeight}px`;
      redraw();
    },
    select(i) {
      drawn.get(selected)?.setAttribute("aria-selected", false);
      selected = i;
      const top = i * rowHeight;
      const height = el.clientHeight || 400;
      if (top < el.scrollTop || top + rowHeight > el.scrollTop + height)
        el.scrollTop = Math.max(0, top - height / 2 + rowHeight / 2);
      draw();
      drawn.get(i)?.setAttribute("aria-selected", true);
      el.setAttribute("aria-activedescendant", `${id}-${i}`);
    },
    close: () => resized.disconnect(),
  };
}
