import { h, refill, wire, frame } from "./ground.js";

function render({ model, el }) {
  const link = model.get("link");
  const shell = frame(model, el, { name: "form", label: model.get("label"), keys: [] });
  const form = h("form", { class: link ? "wb-questions wb-leads" : "wb-questions", onsubmit: (event) => (event.preventDefault(), send()) });
  const pressed = h("button", { type: "submit", class: "wb-button wb-send" }, model.get("send_label"));
  const busy = (yes) => {
    pressed.disabled = yes;
    form.setAttribute("aria-busy", yes);
  };

  function question(field) {
    const number = typeof field.value === "number";
    const props = { name: field.name, onchange: link ? () => lead(input) : null, value: field.value };
    const input = field.choices.length
      ? h("select", props, field.choices.map((choice) => h("option", { value: choice }, choice)))
      : h("input", { ...props, type: number ? "number" : "text", min: number ? 0 : null, step: number ? 1 : null, required: true, spellcheck: "false" });
    input.value = field.value;
    const says = field.says && h("span", { class: "wb-dim" }, field.says);
    return h("label", { class: field.wide ? "wb-question wb-wide" : "wb-question" }, h("span", {}, field.label), input, says);
  }
  /** Go where the answers lead. What is asked after the changed one depends on it, and is left open. */
  function lead(changed) {
    const inputs = [...form.elements].filter((one) => one.name);
    const known = inputs.slice(0, inputs.indexOf(changed) + 1);
    window.location.assign(`${link}?${new URLSearchParams(known.map((one) => [one.name, one.value]))}`);
  }
  function send() {
    const answers = {};
    for (const input of form.elements)
      if (input.name) answers[input.name] = input.type === "number" ? Number(input.value) : input.value;
    if (link) return;
    busy(true);
    shell.say("Working on it …");
    line.ask("answers", { answers });
  }

  const folded = model.get("folded");
  shell.body.append(folded ? h("details", {}, h("summary", {}, folded), form) : form);
  const line = wire(
    model,
    {
      fields: (message) => refill(form, message.data.map(question), link ? [] : pressed),
      done: (message) => window.location.assign(message.go),
      trouble: (message) => (busy(false), shell.say(message.says, "trouble")),
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
