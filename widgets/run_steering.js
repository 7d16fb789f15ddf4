// What RunMonitor lets a person do: asking once more, paying otherwise, going back.
import { h, refill, button } from "./ground.js";

/** A bar that asks before something is done that cannot be taken back at once. */
export function confirmBar() {
  const el = h("div", { class: "wb-confirm", role: "alertdialog", "aria-label": "Please confirm", hidden: true });
  let before = null;
  const close = () => {
    if (el.hidden) return;
    el.hidden = true;
    before?.focus?.({ preventScroll: true });
  };
  el.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
  });
  return {
    el,
    ask(text, yes, act) {
      before = el.getRootNode().activeElement;
      const go = button(yes, () => (close(), act()), { class: "wb-button wb-danger" });
      refill(el, h("span", { class: "wb-grow" }, text), go, button("Cancel", close));
      el.hidden = false;
      go.focus();
    },
  };
}

/** The reward in force, its weights, and a field for a whole new one. `swap({weights} | {reward})` is asked for. */
export function rewardPanel(swap) {
  const shown = h("pre", { class: "wb-formula" });
  const state = h("p", { class: "wb-dim", role: "status" });
  const fields = h("div", { class: "wb-weights" });
  const trouble = h("p", { class: "wb-trouble", role: "alert", hidden: true });
  const weigh = button("Swap weights", null, { type: "submit", disabled: true });
  const reset = button("Reset", () => fill(), { disabled: true });
  const text = h("textarea", { rows: 3, spellcheck: "false", class: "wb-reward-text", "aria-label": "a whole new reward", placeholder: "ExactMatch() + 0.5 * CoverageGain()" });
  const other = button("Swap reward", () => text.value.trim() && swap({ reward: text.value }));
  const form = h("form", { onsubmit: (event) => (event.preventDefault(), sendWeights()) }, fields, h("div", { class: "wb-bar wb-tight" }, weigh, reset));
  const whole = h("details", {}, h("summary", {}, "A whole new reward"), text, h("div", { class: "wb-bar wb-tight" }, other));
  const steered = h("div", { class: "wb-steered" }, form, whole, trouble);
  const el = h("section", { class: "wb-panel", "aria-label": "Reward" }, h("h3", {}, "Reward"), shown, state, steered);
  let weights = [];
  let formula = null;
  let typed = false; // the text field holds what a person wrote

  const inputs = () => [...fields.querySelectorAll("input")];
  const changed = () => inputs().filter((input, i) => input.value.trim() !== String(weights[i][1]));
  const look = () => {
    weigh.disabled = reset.disabled = !changed().length;
    inputs().forEach((input, i) => input.classList.toggle("wb-changed", input.value.trim() !== String(weights[i][1])));
  };
  text.addEventListener("input", () => (typed = true));
  text.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && other.click());

  function fill() {
    refill(fields, weights.map(([name, weight]) => h("label", {}, h("span", { class: "wb-cut" }, name), h("input", { type: "text", inputmode: "decimal", size: 7, value: weight, oninput: look }))));
    complain("");
    look();
  }

  function sendWeights() {
    const asked = {};
    for (const input of changed()) {
      const i = inputs().indexOf(input);
      const value = Number(input.value.trim().replace(",", ".").replace("−", "-"));
      if (!input.value.trim() || !Number.isFinite(value)) {
        input.focus();
        return complain(`${weights[i][0]}: “${input.value}” is not a number; write for example 0.5`);
      }
      asked[weights[i][0]] = value;
    }
    complain("");
    if (Object.keys(asked).length) swap({ weights: asked });
  }

  function complain(says) {
    trouble.textContent = says;
    trouble.hidden = !says;
  }

  return {
    el, complain,
    focus: () => (inputs()[0] ?? text).focus(),
    swapped: () => ((typed = false), (formula = null)),
    draw({ plan, waiting, steers, weights: told }) {
      steered.hidden = !steers;
      state.textContent = waiting ? "It counts from the next update on." : "";
      state.hidden = !waiting;
      if (!plan || plan.reward === formula) return;
      formula = plan.reward;
      shown.textContent = formula;
      weights = told ?? [];
      if (steers) fill();
      if (!typed) text.value = formula;
    },
  };
}

/** Checkpoints to go back to. `back(update)` is asked for. */
export function backPanel(back) {
  const pick = h("select", { "aria-label": "checkpoint to go back to" });
  const go = button("Roll back…", () => pick.value && back(Number(pick.value)));
  const says = h("p", { class: "wb-dim" });
  const el = h("section", { class: "wb-panel", "aria-label": "Checkpoints" }, h("h3", {}, "Go back"), h("div", { class: "wb-bar wb-tight" }, pick, go), says);
  let known = "";
  return {
    el,
    focus: () => pick.focus(),
    draw({ steers, checkpoints = [], returning }) {
      el.hidden = !steers;
      if (known !== checkpoints.join()) {
        known = checkpoints.join();
        const chosen = pick.value;
        refill(pick, [...checkpoints].reverse().map((update) => h("option", { value: update }, `after update ${update}`)));
        if (checkpoints.includes(Number(chosen))) pick.value = chosen;
      }
      pick.hidden = !checkpoints.length;
      go.disabled = !checkpoints.length;
      says.textContent = returning !== null && returning !== undefined ? `Goes back to update ${returning} after the update under way.`
        : checkpoints.length ? "What was done so far is kept; the run goes on under a new name." : "No checkpoint is saved yet.";
    },
  };
}
