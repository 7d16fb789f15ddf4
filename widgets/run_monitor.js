// RunMonitor: the curves of a training, what its checks say, its newest groups, and the means to steer it.
import { h, refill, button, plural, frame, wire } from "./ground.js";
import { lineChart } from "./chart.js";
import { tilesPanel, checksPanel, groupsPanel, seconds, secondsOf } from "./run_panels.js";
import { confirmBar, rewardPanel, backPanel } from "./run_steering.js";
import { nestedModel } from "./nested.js";
import { stepThrough } from "./step_through.js";

export function runMonitor({ model, el }) {
  const keys = [];
  const shell = frame(model, el, { name: "run-monitor", label: "Training run", keys });
  const state = { rows: [], checks: [], groups: { update: null, rows: [] }, run: null, at: null, opened: null };
  const { ask, close: closeWire } = wire(model, {
    run: ({ data }) => take(data),
    done: ({ says, swapped }) => (swapped && reward.swapped(), reward.complain(""), shell.say(says)),
    // what went wrong is said where the person is
    trouble: ({ says }) => (reward.el.contains(focused()) ? reward.complain(says) : shell.say(says, "trouble")),
    open: (told) => showGroup(told),
    inner: (told) => inner?.hear(told),
  }, shell.silent);
  const focused = () => shell.root.getRootNode().activeElement;

  // ------------------------------------------------------------ parts of the page

  const name = h("h2", { class: "wb-run-name wb-cut" });
  const pill = h("span", { class: "wb-pill", role: "status" });
  const progress = h("progress", { class: "wb-progress", "aria-label": "updates done" });
  const said = h("span", { class: "wb-dim wb-number" });
  const pause = button("Pause", () => togglePause(), { title: "Space" });
  const stop = button("Stop", () => askStop(), { title: "S" });
  const alarm = button("", () => checks.el.scrollIntoView({ block: "nearest" }), { class: "wb-chip wb-error wb-run-alarm", hidden: true });
  const note = h("p", { class: "wb-run-note", hidden: true });
  const confirm = confirmBar();
  const chart = lineChart({ label: "What was paid", xName: "update", look: (update) => ((state.at = update), drawUpdate()) });
  const tiles = tilesPanel();
  const checks = checksPanel((update) => chart.at(update));
  const reward = rewardPanel((told) => ask("swap", told));
  const back = backPanel((update) => {
    const since = state.run.update - update;
    const kept = since > 0 ? `The ${plural(since, "update")} since stay recorded; the run` : "The run";
    confirm.ask(`Go back to the checkpoint after update ${update}? ${kept} goes on from there under a new name.`, `Roll back to ${update}`, () => ask("roll_back", { update }));
  });
  const groups = groupsPanel({ open: (group) => ask("open", { group }), hold: (on) => ask("hold", { on }) });
  const opened = h("section", { class: "wb-opened-group", "aria-label": "The opened group", hidden: true });
  let inner = null;
  let closeInner = null;

  refill(shell.body,
    h("header", { class: "wb-bar wb-run-head" }, pill, name, alarm, h("div", { class: "wb-grow wb-run-progress" }, progress, said),
      h("div", { class: "wb-run-buttons" }, pause, stop, button("Keys", () => shell.root.showKeys(), { title: "?" }))),
    confirm.el, note,
    h("div", { class: "wb-run-columns" },
      h("div", { class: "wb-run-main" },
        h("section", { class: "wb-panel", "aria-label": "Curves" }, h("h3", {}, "What was paid ", h("span", { class: "wb-dim" }, "mean a rollout, before weighting")), chart.el),
        h("section", { class: "wb-panel", "aria-label": "Numbers" }, tiles.el), groups.el),
      h("div", { class: "wb-run-side" }, checks.el, reward.el, back.el)),
    opened);

  // ------------------------------------------------------------ hearing

  function take(data) {
    state.rows = [...state.rows.slice(0, data.from), ...data.rows];
    state.checks = data.checks;
    if (data.groups) state.groups = data.groups;
    state.run = data;
    draw(Boolean(data.groups));
  }

  // ------------------------------------------------------------ drawing

  function draw(withGroups) {
    const { run, rows } = state;
    const parts = [...new Set(rows.flatMap((row) => Object.keys(row.parts ?? {})))];
    const line = (of) => rows.map((row) => [row.update, of(row) ?? null]);
    const series = [{ name: "return", strong: true, points: line((row) => row.mean_return) }, ...parts.map((part) => ({ name: part, points: line((row) => row.parts?.[part]) }))];
    const done = rows.at(-1)?.update ?? 0;
    chart.draw({ series, marks: run.marks.map((mark) => ({ x: mark.update, kind: mark.kind, lines: mark.lines })), xMax: Math.min(run.updates, Math.max(10, Math.ceil(done * 1.25))) });
    drawHead();
    drawUpdate();
    const lit = checks.draw(state.checks, rows);
    alarm.hidden = !lit;
    alarm.textContent = `▲ ${plural(lit, "check")} lit up`;
    reward.draw(run);
    back.draw(run);
    if (withGroups) groups.draw(state.groups, state.opened);
    groups.el.hidden = !run.steers && !state.groups.rows.length;
  }

  function drawUpdate() {
    const row = state.rows.find((one) => one.update === state.at) ?? state.rows.at(-1);
    tiles.draw(state.rows, row);
  }

  function drawHead() {
    const { run } = state;
    name.textContent = run.name;
    const asked = run.stopping ? "stopping" : run.paused && run.status === "running" ? "pausing" : run.status;
    pill.textContent = asked;
    pill.dataset.status = asked;
    progress.max = run.updates;
    progress.value = run.update;
    said.textContent = [`update ${run.update} of ${run.updates}`, ...pace(run)].join(" · ");
    const left = run.update < run.updates;
    pause.hidden = stop.hidden = !run.steers;
    pause.textContent = run.paused ? "Resume" : run.driven ? "Pause" : "Start";
    pause.title = run.driven ? "Space" : "Space: in a thread of its own";
    pause.disabled = !left && !run.driven;
    stop.disabled = !run.driven || run.stopping;
    drawNote(run, asked);
  }

  function pace(run) {
    const last = state.rows.slice(-5).map(secondsOf).filter((one) => one !== null);
    if (!last.length) return [];
    const each = last.reduce((sum, one) => sum + one, 0) / last.length;
    const left = (run.updates - run.update) * each;
    return [`${seconds(each)} an update`, ...(left > 0 && run.driven !== false && run.status === "running" ? [`about ${seconds(left)} left`] : [])];
  }

  function drawNote(run, asked) {
    const waits = { stopping: "Stops after the update under way.", pausing: "Pauses after the update under way." }[asked];
    const failed = run.status === "failed" && run.error;
    const read = !run.steers && run.status === "running" && "This run is driven elsewhere: here it can be watched, and not steered.";
    const from = run.continues && `Goes on from update ${run.continues.update} of ${run.continues.run}.`;
    const text = [failed, waits, read, from].filter(Boolean).join(" ");
    note.textContent = text;
    note.hidden = !text;
    note.classList.toggle("wb-error", Boolean(failed));
  }

  // ------------------------------------------------------------ steering

  function togglePause() {
    const { run } = state;
    if (!run?.steers || pause.disabled) return;
    ask(run.paused || !run.driven ? "resume" : "pause");
  }

  function askStop() {
    if (stop.disabled || stop.hidden) return;
    confirm.ask("Stop after the update under way? It can be started again from there.", "Stop", () => ask("stop"));
  }

  // ------------------------------------------------------------ a group, opened

  function showGroup(told) {
    shutGroup(false);
    state.opened = told;
    const nested = nestedModel(told, ask);
    const place = h("div");
    const head = h("h3", { tabindex: "-1", class: "wb-grow wb-cut" }, `Update ${told.update}: ${told.question}`);
    refill(opened, h("div", { class: "wb-bar" }, head, button("Close", () => shutGroup(true), { title: "X" })), place);
    opened.hidden = false;
    inner = nested;
    closeInner = stepThrough({ model: nested.model, el: place });
    groups.draw(state.groups, state.opened);
    head.focus({ preventScroll: true });
    opened.scrollIntoView({ block: "nearest" });
  }

  function shutGroup(tell) {
    closeInner?.();
    closeInner = inner = state.opened = null;
    opened.replaceChildren();
    opened.hidden = true;
    if (!tell) return;
    ask("shut");
    groups.draw(state.groups, null);
    groups.focus();
  }

  // ------------------------------------------------------------ keys

  /** Keys of the monitor are not those of the group that is open in it, nor of a button that has the focus. */
  const outside = (act, spares = "") => (event) => {
    const target = event.composedPath()[0];
    if (opened.contains(target) || (spares && target.matches?.(spares))) return false;
    return act();
  };
  keys.push(
    { keys: [" "], says: "pause, go on, or start", act: outside(togglePause, "button, summary") },
    { keys: ["s"], says: "stop after this update", act: outside(askStop) },
    { keys: ["w"], says: "weigh the reward anew", act: outside(() => reward.focus()) },
    { keys: ["b"], says: "go back to a checkpoint", act: outside(() => back.focus()) },
    { keys: ["g"], says: "the groups of the newest update", act: outside(() => groups.focus()) },
    { keys: ["c"], says: "the curves; then ← → move through the updates", act: outside(() => chart.el.querySelector("[role=slider]").focus()) },
    { keys: ["m"], says: "mean of the last five, or every update as it was", act: outside(() => chart.toggleSmooth()) },
    { keys: ["t"], says: "the curves as a table", act: outside(() => chart.toggleTable()) },
    { keys: ["x"], says: "close the opened group", act: outside(() => state.opened && shutGroup(true)) },
  );

  groups.draw(state.groups, null);
  ask("hello");
  return () => {
    shutGroup(false);
    ask("bye");
    closeWire();
    chart.close();
    shell.close();
  };
}

export default { render: runMonitor };
