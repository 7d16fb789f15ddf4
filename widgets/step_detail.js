// One step in full: what the agent thought and did, what came back, and what it was paid for it.
import { h, button, num, signed, chip, tone } from "./ground.js";
import { marked } from "./marks.js";

/** What a step did, in a few words: {kind, text}. */
export function action(step) {
  const answer = step.spans.findLast((span) => span.name === "answer");
  const queries = step.calls.map((call) => call.query || `${call.tool}(${Object.values(call.arguments).join(", ")})`);
  if (queries.length) return { kind: step.calls.some((call) => call.query) ? "search" : "call", text: queries.join(" · ") };
  if (answer) return { kind: "answer", text: answer.text };
  return { kind: step.valid ? "turn" : "invalid", text: step.text };
}

/**
 * The detail of step `s` of trajectory `n` of `scene`. `patterns` mark the text; `edit(part, step, value, why)` is
 * told of changes, and `isEdited(part, step)` says where one is in force.
 */
export function stepDetail({ scene, n, s, patterns, edit, isEdited, note }) {
  const trajectory = scene.trajectories[n];
  const step = scene.steps[trajectory.path[s]];
  if (!step) return h("div", { class: "wb-detail" }, h("p", {}, `No steps: ${trajectory.end}. ${trajectory.end_reason}`));
  return h(
    "div",
    { class: "wb-detail" },
    h("div", { class: "wb-detail-head" },
      h("h3", {}, `Step ${s + 1} of ${trajectory.path.length}`),
      h("span", { class: "wb-dim" }, facts(step))),
    note && h("p", { class: "wb-note" }, note),
    rewards({ scene, n, s, edit, isEdited }),
    s === 0 && step.context !== null && folded("Prompt", step.context, patterns),
    s > 0 && step.context !== null && folded("Context of its own: this step did not see all that came before", step.context, patterns),
    step.spans.filter((span) => span.name === "think").map((span) => section("Thought", prose(span.text, patterns))),
    step.spans.filter((span) => span.name === "answer").map((span) => section("Answer", prose(span.text, patterns))),
    !step.valid && h("p", { class: "wb-note wb-error" }, "This turn held neither an answer nor a call that could be read."),
    step.calls.map((call) => callSection(call, patterns)),
    step.observation && section("Observation, as the agent saw it", h("pre", {}, marked(step.observation, patterns))),
    folded(`Turn as sampled (${step.tokens} own tokens)`, step.text, patterns, !step.spans.length),
    s === trajectory.path.length - 1 && section("End", h("p", {}, endOf(trajectory))),
  );
}

export const endOf = (trajectory) =>
  `${trajectory.end}${trajectory.end_reason ? `: ${trajectory.end_reason}` : ""}` +
  (trajectory.answer === null ? "" : ` · answer: ${trajectory.answer}`);

function facts(step) {
  const seconds = step.seconds ? `${num(step.seconds, 2)} s` : "";
  const native = step.native === null ? "" : `native reward ${num(step.native)}`;
  return [step.role, step.policy, seconds, native].filter(Boolean).join(" · ");
}

const section = (title, ...children) => h("div", { class: "wb-section" }, h("h4", {}, title), children);
const prose = (text, patterns) => h("div", { class: "wb-prose" }, marked(text, patterns));

function folded(title, text, patterns, open = false) {
  return h("details", { class: "wb-section", open }, h("summary", {}, title), h("pre", {}, marked(text, patterns)));
}

// ---------------------------------------------------------------- calls and hits

function callSection(call, patterns) {
  const wanted = Object.entries(call.arguments);
  return h(
    "div",
    { class: "wb-section" },
    h("h4", {}, `Call: ${call.tool}`, !call.valid && " (cannot be called)"),
    h("dl", { class: "wb-arguments" }, wanted.map(([name, value]) => [h("dt", {}, name), h("dd", {}, marked(value, patterns))])),
    call.error && h("p", { class: "wb-note wb-error" }, `Failed: ${call.error}`),
    call.result && h("pre", {}, marked(call.result, patterns)),
    call.query && !call.error && !call.hits.length && h("p", { class: "wb-dim" }, "No hits."),
    call.hits.length > 0 && h("ol", { class: "wb-hits", "aria-label": "hits" }, call.hits.map((hit) => hitCard(hit, patterns))),
  );
}

function hitCard(hit, patterns) {
  const cut = hit.shown !== null && hit.shown < hit.text.length;
  const seen = cut ? hit.text.slice(0, hit.shown) : hit.text;
  return h(
    "li",
    { class: hit.gold ? "wb-hit wb-hit-gold" : "wb-hit" },
    h("div", { class: "wb-hit-head" },
      h("span", { class: "wb-dim" }, `${hit.rank + 1}.`),
      h("strong", { class: "wb-cut" }, marked(hit.title, patterns)),
      hit.gold && h("span", { class: "wb-chip wb-gold" }, "★ gold page"),
      h("span", { class: "wb-grow" }),
      h("span", { class: "wb-dim wb-number", title: "score of the search engine" }, num(hit.score, 4)),
      h("span", { class: "wb-dim wb-cut", title: "page id" }, hit.id)),
    h("div", { class: "wb-hit-text" }, marked(seen, patterns),
      cut && h("span", { class: "wb-unseen", title: "the agent was not shown this" }, " ✂ ", marked(hit.text.slice(hit.shown), patterns))),
  );
}

// ---------------------------------------------------------------- what it was paid

function rewards({ scene, n, s, edit, isEdited }) {
  if (!scene.parts.length) return h("p", { class: "wb-dim" }, "Not scored.");
  const last = s === scene.trajectories[n].path.length - 1;
  const rows = scene.parts.map((part, r) => partRow({ scene, n, s, r, last, edit, isEdited }));
  const reward = scene.rewards[n][s];
  const advantage = scene.advantages[n][s];
  return h(
    "table",
    { class: "wb-rewards", "aria-label": "rewards of this step" },
    h("thead", {}, h("tr", {}, ["part", "weight", "value", "pays", "why", ""].map((head, i) =>
      h("th", { scope: "col", class: i > 0 && i < 4 ? "wb-number" : null }, head || h("span", { class: "wb-hidden-text" }, "edit"))))),
    h("tbody", {}, rows),
    h("tfoot", {},
      h("tr", {}, h("th", { scope: "row", colspan: 3 }, "reward of this step"),
        h("td", { class: "wb-number" }, chip(reward)),
        h("td", { colspan: 2 }, "advantage ", h("span", { class: `wb-chip wb-${tone(advantage)}` }, signed(advantage)),
          h("span", { class: "wb-dim" }, ` · return ${num(scene.returns[n])}`)))),
  );
}

function partRow({ scene, n, s, r, last, edit, isEdited }) {
  const part = scene.parts[r];
  const given = scene.scores[n][r];
  const single = given.level === "trajectory" || given.level === "group";
  const i = single ? 0 : s;
  const [value, status, why] = [given.values[i], given.status[i], given.why[i]];
  const lands = !single || last;
  const step = single ? null : s;
  const row = h(
    "tr",
    { class: lands ? null : "wb-elsewhere" },
    h("th", { scope: "row", class: "wb-part" }, part.name, single && h("span", { class: "wb-dim" }, `of the ${given.level}`)),
    h("td", { class: "wb-number wb-weight", title: "weight" }, "× ", num(part.weight)),
    h("td", { class: "wb-number" }, chip(value, { status, pays: part.weight * value, extra: isEdited(part.name, step) ? "wb-edited" : "" })),
    h("td", { class: "wb-number" }, status !== 0 ? "" : lands ? signed(part.weight * value) : h("span", { class: "wb-dim" }, "at the end")),
    h("td", { class: "wb-why" }, isEdited(part.name, step) && h("span", { class: "wb-chip wb-edited" }, "edited"), " ", why || statusWord(status)),
    h("td", {}, given.level !== "token" && status !== 1 &&
      button("Edit", () => openForm(row, { part, step, value, edit }), { class: "wb-button wb-small wb-edit", "aria-label": `Edit ${part.name}` })),
  );
  return row;
}

const statusWord = (status) => ["", "not applicable: adds nothing here", "missing: it could not be scored"][status];

function openForm(row, { part, step, value, edit }) {
  if (row.nextSibling?.classList?.contains("wb-form-row")) return row.nextSibling.querySelector("input").focus();
  const number = h("input", { type: "text", inputmode: "decimal", value: value ?? "", "aria-label": `new value of ${part.name}`, size: 8 });
  const why = h("input", { type: "text", placeholder: "why? (needed)", "aria-label": "reason", class: "wb-grow" });
  const wrong = h("span", { class: "wb-note wb-error", role: "alert", hidden: true });
  const close = () => (formRow.remove(), row.querySelector("button")?.focus({ preventScroll: true }));
  const send = (event) => {
    event.preventDefault();
    const given = Number(number.value.trim().replace("−", "-").replace(",", "."));
    const trouble = number.value.trim() === "" || !Number.isFinite(given) ? `"${number.value}" is not a number` :
      given === value ? `it is ${value} already` : why.value.trim() === "" ? "say why, in a few words" : "";
    wrong.hidden = !trouble;
    wrong.textContent = trouble;
    if (trouble) return (trouble.startsWith("say") ? why : number).focus();
    close();
    edit(part.name, step, given, why.value.trim());
  };
  const form = h("form", { class: "wb-form", onsubmit: send }, number, why, h("button", { class: "wb-button", type: "submit" }, "Apply"), button("Cancel", close), wrong);
  form.addEventListener("keydown", (event) => event.key === "Escape" && (event.stopPropagation(), close()));
  const formRow = h("tr", { class: "wb-form-row" }, h("td", { colspan: 6 }, form));
  row.after(formRow);
  number.select();
  number.focus();
}
