// StepThrough: choose a trajectory, step through it, compare two, edit what a step was paid.
import { h, refill, button, num, signed, chip, plural, frame, wire, virtualList, later, tone } from "./ground.js";
import { answerPattern, findPattern } from "./marks.js";
import { action, endOf, stepDetail } from "./step_detail.js";

export function stepThrough({ model, el }) {
  const keys = [];
  const shell = frame(model, el, { name: "step-through", label: "Step through trajectories", keys });
  const state = {
    trees: [], scene: null, n: 0, s: 0, beside: null, find: "", edits: { in_force: [] }, busy: true,
  };
  const say = shell.say;
  const { ask, close: closeWire } = wire(model, {
    trees: ({ data }) => ((state.trees = data), drawChooser()),
    tree: ({ data }) => showTree(data),
    credited: ({ data, tree }) => tree === state.scene?.id && (Object.assign(state.scene, data), draw()),
    edits: (told) => ((state.edits = told), drawEdits(), state.scene && drawDetail()),
    trouble: ({ says }) => say(says, "trouble"),
  }, shell.silent);

  // ------------------------------------------------------------ parts of the page

  const chooser = h("select", { class: "wb-grow wb-cut", "aria-label": "tree", onchange: () => openTree(+chooser.value) });
  const question = h("div", { class: "wb-question" });
  const finder = h("input", { type: "search", placeholder: "find in text", "aria-label": "find in text", size: 14 });
  const found = h("span", { class: "wb-dim", role: "status" });
  const undo = button("Undo", () => ask("undo"), { title: "U" });
  const redo = button("Redo", () => ask("redo"), { title: "R" });
  const kept = h("span", { class: "wb-dim" });
  const compare = button("Compare", () => toggleCompare(), { "aria-pressed": "false", title: "C" });
  const list = virtualList({ rowHeight: 46, label: "trajectories", row: trajectoryRow, pick: (n, event) => (event.shiftKey ? setBeside(n) : go(n, 0)) });
  const rail = virtualList({ rowHeight: 30, label: "steps", row: stepRow, pick: (s) => go(state.n, s) });
  const detail = h("div", { class: "wb-panes", tabindex: "0", role: "region", "aria-label": "the step", "aria-live": "off" });
  const empty = h("p", { class: "wb-empty" }, "Loading…");

  refill(shell.body,
    h("div", { class: "wb-bar wb-chooser" },
      button("‹", () => openTree(treeNumber() - 1), { "aria-label": "previous tree", title: "{" }), chooser,
      button("›", () => openTree(treeNumber() + 1), { "aria-label": "next tree", title: "}" })),
    question,
    h("div", { class: "wb-bar wb-tools" },
      button("◂ Back", () => step(-1), { title: "K" }), button("Step ▸", () => step(1), { title: "J" }),
      compare, button("Disagreement", () => disagree(1), { title: "D: next step where parts, scorings, siblings or a person disagree" }),
      finder, found, h("span", { class: "wb-grow" }), kept, undo, redo,
      button("Link", copyLink, { title: "Y: copy a link to this step" }),
      button("Keys", () => shell.root.showKeys(), { title: "?" })),
    empty,
    h("div", { class: "wb-columns", hidden: true }, list.el, rail.el, detail));
  const columns = shell.body.querySelector(".wb-columns");
  const size = () => columns.style.setProperty("--wb-height", `${model.get("height") || 620}px`);
  model.on("change:height", size);
  size();

  // ------------------------------------------------------------ drawing

  function drawChooser() {
    refill(chooser, state.trees.map((tree, i) => h("option", { value: i }, `${i + 1} of ${state.trees.length} · ${tree.question.slice(0, 120)}${spread(tree)}`)));
    if (!state.trees.length) empty.textContent = "No trees were given.";
    drawQuestion();
  }

  function spread(tree) {
    const paid = tree.returns.filter((one) => one !== null);
    return paid.length ? ` · returns ${num(Math.min(...paid))} to ${num(Math.max(...paid))}` : "";
  }

  function drawQuestion() {
    if (!state.scene) return;
    const { task } = state.scene;
    chooser.value = treeNumber();
    refill(question,
      h("h2", {}, task.question),
      h("div", { class: "wb-dim" }, [`task ${task.id}`, /^\d+-hop$/.test(task.kind) ? "" : task.kind, plural(task.hops, "hop")].filter(Boolean).join(" · "),
        task.golds.length > 0 && [" · gold answer: ", h("span", { class: "wb-chip wb-gold" }, task.golds.join(" / "))],
        task.gold_pages.length > 0 && ` · ${plural(task.gold_pages.length, "gold page")}`));
  }

  function draw() {
    list.redraw();
    rail.redraw();
    drawDetail();
  }

  function drawEdits() {
    const { edits } = state;
    undo.disabled = !edits.can_undo;
    redo.disabled = !edits.can_redo;
    const rows = (model.get("edits") ?? []).length;
    kept.textContent = !rows ? "" : `${plural(rows, "edit")}, ` + (!edits.keeps ? "held in this widget only" : edits.kept === rows ? "kept" : "not kept yet");
  }

  function drawDetail() {
    const shown = [[state.n, state.s]];
    if (state.beside !== null) shown.push([state.beside, Math.min(state.s, path(state.beside).length - 1)]);
    detail.classList.toggle("wb-two", shown.length > 1);
    const focused = detail.contains(detail.getRootNode().activeElement);
    refill(detail, shown.map(([n, s], pane) => h("div", { class: "wb-pane" }, shown.length > 1 && paneHead(n, pane), oneDetail(n, s))));
    detail.scrollTop = 0;
    if (focused) detail.focus({ preventScroll: true });
  }

  function paneHead(n, pane) {
    const pick = h("select", { "aria-label": pane ? "trajectory beside" : "trajectory", onchange: (event) => (pane ? setBeside(+event.target.value) : go(+event.target.value, state.s)) },
      state.scene.trajectories.map((one, i) => h("option", { value: i, selected: i === n }, `#${i + 1} · return ${num(state.scene.returns[i])} · ${endOf(one)}`.slice(0, 90))));
    return h("div", { class: "wb-bar" }, pick);
  }

  function oneDetail(n, s) {
    const { scene } = state;
    const trajectory = scene.trajectories[n];
    return stepDetail({
      scene, n, s,
      patterns: [[findPattern(state.find), "wb-found"], [answerPattern(scene.task.golds), "wb-answer", "matches a gold answer"]],
      edit: (part, step, value, why) => ask("edit", { tree: scene.id, trajectory: trajectory.id, part, step, new: value, why }),
      isEdited: (part, step) => state.edits.in_force.some((one) => one[0] === scene.id && one[1] === trajectory.id && one[2] === part && one[3] === step),
      note: disagreement(n, s),
    });
  }

  function trajectoryRow(n) {
    const { scene } = state;
    const one = scene.trajectories[n];
    const marks = one.path.slice(0, 60).map((_, s) => h("i", { class: `wb-tick wb-${tone(scene.rewards[n]?.[s])}` }));
    return h("div", { class: "wb-trajectory" },
      h("div", { class: "wb-row" }, h("strong", {}, `#${n + 1}`), h("span", { class: `wb-end wb-end-${one.end}` }, one.end),
        h("span", { class: "wb-cut wb-grow" }, one.answer ?? one.end_reason), scene.parts.length > 0 && chip(scene.returns[n], { title: "return", status: returnStatus(n) })),
      h("div", { class: "wb-row" }, h("span", { class: "wb-ticks", "aria-hidden": "true" }, marks),
        h("span", { class: "wb-dim" }, plural(one.path.length, "step")), n === state.beside && h("span", { class: "wb-chip wb-zero" }, "beside")));
  }

  function stepRow(s) {
    const { scene, n } = state;
    const step = scene.steps[path(n)[s]];
    const did = action(step);
    const gold = step.calls.some((call) => call.hits.some((hit) => hit.gold));
    return h("div", { class: "wb-step" },
      h("span", { class: "wb-dim wb-number wb-count" }, s + 1),
      h("span", { class: `wb-kind wb-kind-${did.kind}` }, did.kind),
      h("span", { class: "wb-cut wb-grow" }, did.text.slice(0, 160)),
      gold && h("span", { class: "wb-star", title: "brought a gold page", role: "img", "aria-label": "brought a gold page" }, "★"),
      disagreement(n, s) && h("span", { class: "wb-bang", title: disagreement(n, s), role: "img", "aria-label": "disagreement" }, "≠"),
      scene.parts.length > 0 && chip(scene.rewards[n][s], { status: scene.rewards[n][s] === null ? stepStatus(n, s) : 0, title: "reward of this step" }),
      scene.parts.length > 0 && h("span", { class: "wb-dim wb-number wb-advantage", title: "advantage" }, signed(scene.advantages[n][s], 2)));
  }

  /** 2 where a term of the trajectory is missing, 1 where nothing was scored. */
  function returnStatus(n) {
    if (state.scene.returns[n] !== null) return 0;
    return state.scene.scores[n].some((one) => one.status.includes(2)) ? 2 : 1;
  }

  /** 2 where a term of the step is missing, else 1. */
  function stepStatus(n, s) {
    return state.scene.scores[n].some((one) => one.level === "step" && one.status[s] === 2) ? 2 : 1;
  }

  // ------------------------------------------------------------ moving

  const path = (n) => state.scene.trajectories[n].path;
  const treeNumber = () => state.trees.findIndex((tree) => tree.id === state.scene?.id);
  const tell = later(120, () => {
    const { scene, n, s } = state;
    model.set("at", { tree: scene.id, trajectory: scene.trajectories[n].id, step: s });
    model.save_changes();
  });

  function openTree(i) {
    if (i >= 0 && i < state.trees.length) ask("tree", { tree: state.trees[i].id });
  }

  function showTree(scene) {
    const again = state.scene?.id === scene.id;
    state.scene = scene;
    empty.hidden = true;
    columns.hidden = false;
    if (!again) state.beside = null;
    const at = model.get("at") ?? {};
    const here = at.tree === scene.id ? scene.trajectories.findIndex((one) => one.id === at.trajectory) : -1;
    drawQuestion();
    list.show(scene.trajectories.length);
    go(Math.max(0, here), here < 0 ? 0 : at.step ?? 0, true);
  }

  function go(n, s, fresh = false) {
    const other = fresh || n !== state.n;
    state.n = n;
    state.s = Math.max(0, Math.min(s, path(n).length - 1));
    if (other) rail.show(path(n).length), list.select(n);
    rail.select(state.s);
    drawDetail();
    const at = model.get("at") ?? {}; // where Python led, there is nothing to tell
    if (at.tree !== state.scene.id || at.trajectory !== state.scene.trajectories[n].id || at.step !== state.s) tell();
  }

  const step = (by) => state.scene && go(state.n, state.s + by);
  const sibling = (by) => state.scene && go((state.n + by + state.scene.trajectories.length) % state.scene.trajectories.length, state.s);

  function setBeside(n) {
    state.beside = n === state.n ? null : n;
    compare.setAttribute("aria-pressed", state.beside !== null);
    shell.root.classList.toggle("wb-comparing", state.beside !== null);
    draw();
  }

  function toggleCompare() {
    if (!state.scene) return;
    if (state.beside !== null) return setBeside(state.n);
    if (state.scene.trajectories.length < 2) return say("There is only one trajectory in this tree.");
    // the sibling whose return differs most says most
    const gap = (n) => Math.abs((state.scene.returns[n] ?? 0) - (state.scene.returns[state.n] ?? 0));
    const others = state.scene.trajectories.map((_, n) => n).filter((n) => n !== state.n);
    setBeside(others.reduce((best, n) => (gap(n) > gap(best) ? n : best)));
  }

  const onAt = () => {
    const at = model.get("at") ?? {};
    if (!state.scene || !at.tree) return;
    if (at.tree !== state.scene.id) return ask("tree", { tree: at.tree });
    const n = state.scene.trajectories.findIndex((one) => one.id === at.trajectory);
    if (n >= 0 && (n !== state.n || at.step !== state.s)) go(n, at.step);
  };
  model.on("change:at", onAt);

  // ------------------------------------------------------------ disagreement

  /** Why this step is worth a look, or "". */
  function disagreement(n, s) {
    const { scene } = state;
    const said = [];
    if (scene.parts.length) {
      const paid = scene.parts.map((part, r) => ({ name: part.name, one: scene.scores[n][r], weight: part.weight }))
        .filter(({ one }) => one.level === "step" && one.status[s] === 0).map(({ name, one, weight }) => [name, weight * one.values[s]]);
      const plus = paid.find(([, value]) => value > 0);
      const minus = paid.find(([, value]) => value < 0);
      if (plus && minus) said.push(`${plus[0]} pays ${signed(plus[1])}, ${minus[0]} ${signed(minus[1])}`);
      const reward = scene.rewards[n][s];
      if (reward * scene.advantages[n][s] < 0) said.push(`paid ${signed(reward)}, yet its advantage is ${signed(scene.advantages[n][s])}`);
      if (scene.against && differs(scene.against[n][s], reward)) said.push(`the other scoring pays ${num(scene.against[n][s])}, this one ${num(reward)}`);
    }
    if (state.edits.in_force.some((one) => one[0] === scene.id && one[1] === scene.trajectories[n].id && one[3] === s)) said.push("a person changed what it was paid");
    if (state.beside !== null && n === state.n && path(state.beside)[s] !== undefined && path(n)[s] !== undefined && path(state.beside)[s] !== path(n)[s]) {
      const [mine, theirs] = [n, state.beside].map((one) => action(scene.steps[path(one)[s]]));
      if (mine.text !== theirs.text) said.push(`the trajectory beside did otherwise: ${theirs.kind} ${theirs.text.slice(0, 80)}`);
    }
    return said.join(" · ");
  }

  const differs = (a, b) => (a === null) !== (b === null) || Math.abs((a ?? 0) - (b ?? 0)) > 1e-9;

  /** Go to the next step (in this trajectory, then in those after it) for which `test(n, s)` holds. */
  function seek(test, by) {
    const { scene } = state;
    let [n, s] = [state.n, state.s];
    const all = scene.trajectories.reduce((sum, one) => sum + one.path.length, 0);
    for (let looked = 0; looked < all; looked++) {
      s += by;
      while (s < 0 || s >= path(n).length) {
        n = (n + by + scene.trajectories.length) % scene.trajectories.length;
        s = by > 0 ? 0 : path(n).length - 1;
      }
      if (test(n, s)) return go(n, s), true;
    }
    return false;
  }

  function disagree(by) {
    if (!state.scene) return;
    if (seek((n, s) => disagreement(n, s), by)) say(`#${state.n + 1}, step ${state.s + 1}: ${disagreement(state.n, state.s)}`);
    else say("No step of this tree disagrees.");
  }

  // ------------------------------------------------------------ finding

  const texts = (step) => [step.text, step.observation, ...step.calls.flatMap((call) => [call.query, call.result, call.error, ...call.hits.flatMap((hit) => [hit.title, hit.text])])];
  const holds = (n, s) => texts(state.scene.steps[path(n)[s]]).some((text) => text && text.toLowerCase().includes(state.find.toLowerCase()));

  function findNext(by) {
    if (!state.scene || !state.find) return finder.focus();
    found.textContent = seek(holds, by) ? `#${state.n + 1}, step ${state.s + 1}` : "not found";
    detail.querySelector("mark.wb-found")?.scrollIntoView({ block: "nearest" });
  }

  finder.addEventListener("input", () => ((state.find = finder.value), (found.textContent = ""), state.scene && drawDetail()));
  finder.addEventListener("keydown", (event) => {
    if (event.key === "Enter") findNext(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") (finder.value = state.find = ""), state.scene && drawDetail(), shell.root.focus();
  });

  // ------------------------------------------------------------ links and keys

  function copyLink() {
    const { scene, n, s } = state;
    const at = { tree: scene.id, trajectory: scene.trajectories[n].id, step: s };
    const served = new URLSearchParams(location.search).has("run");
    const text = served ? linkTo(at) : `at=${JSON.stringify(at)}`;
    const copied = navigator.clipboard?.writeText(text) ?? Promise.reject();
    copied.then(() => say(`Copied: ${text}`), () => say(`Copy this: ${text}`));
  }

  function linkTo(at) {
    const url = new URL(location.href);
    for (const [name, value] of Object.entries(at)) url.searchParams.set(name, value);
    return url.href;
  }

  const editFirst = () => detail.querySelector(".wb-edit")?.click();
  keys.push(
    { keys: ["j", "ArrowDown"], says: "next step", act: () => step(1) },
    { keys: ["k", "ArrowUp"], says: "previous step", act: () => step(-1) },
    { keys: ["Home", "g"], says: "first step", act: () => state.scene && go(state.n, 0) },
    { keys: ["End", "G"], says: "last step", act: () => state.scene && go(state.n, Infinity) },
    { keys: ["]", "l", "ArrowRight"], says: "next trajectory", act: () => sibling(1) },
    { keys: ["[", "h", "ArrowLeft"], says: "previous trajectory", act: () => sibling(-1) },
    { keys: ["}"], says: "next tree", act: () => openTree(treeNumber() + 1) },
    { keys: ["{"], says: "previous tree", act: () => openTree(treeNumber() - 1) },
    { keys: ["c"], says: "compare with a sibling, side by side", act: toggleCompare },
    { keys: ["d"], says: "next disagreement", act: () => disagree(1) },
    { keys: ["D"], says: "previous disagreement", act: () => disagree(-1) },
    { keys: ["e"], says: "edit the first value of this step", act: editFirst },
    { keys: ["u"], says: "undo the last edit", act: () => ask("undo") },
    { keys: ["r"], says: "redo", act: () => ask("redo") },
    { keys: ["/"], says: "find in text", act: () => finder.focus() },
    { keys: ["n"], says: "next match", act: () => findNext(1) },
    { keys: ["N"], says: "previous match", act: () => findNext(-1) },
    { keys: ["y"], says: "copy a link to this step", act: () => state.scene && copyLink() },
  );

  drawEdits();
  ask("hello");
  return () => {
    closeWire();
    model.off("change:at", onAt);
    model.off("change:height", size);
    list.close();
    rail.close();
    shell.close();
  };
}

export default { render: stepThrough };
