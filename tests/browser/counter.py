"""The smallest component with all that the ground gives: a frame, keys, a wire, a trait. For tests of the ground."""

from __future__ import annotations

import traitlets

from widgets.component import Component, module_text, style_text


class Counter(Component):
    """Counts what the page asks for; `tick` is written by Python."""

    _esm = (
        module_text("ground")
        + """
function counter({ model, el }) {
  const keys = [
    { keys: ["j", "ArrowDown"], says: "one more", act: () => line.ask("bump", { by: 1 }) },
    { keys: ["Escape"], says: "nothing more", act: () => line.ask("bump", { by: 0 }) },
    { keys: ["x"], says: "not now", act: () => false },
  ];
  const shell = frame(model, el, { name: "counter", label: "Counter", keys });
  const shown = h("output", {}, "?");
  const ticks = h("span", {}, "no tick");
  const count = (message) => (shown.textContent = String(message.data.count));
  const trouble = (message) => shell.say(message.says, "trouble");
  const line = wire(model, { count, trouble }, shell.silent);
  const ticked = () => (ticks.textContent = `tick ${model.get("tick")}`);
  model.on("change:tick", ticked);
  shell.body.append(
    button("More", () => line.ask("bump", { by: 1 })),
    button("Wrong", () => line.ask("bump", { off: 1 })),
    h("input", { "aria-label": "field" }),
    h("textarea", { "aria-label": "text" }),
    h("select", { "aria-label": "choice" }, h("option", {}, "a"), h("option", {}, "j")),
    shown, " ", ticks,
  );
  line.ask("hello");
  return () => { line.close(); model.off("change:tick", ticked); shell.close(); };
}
export default { render: counter };
"""
    )
    _css = style_text("ground")
    tick = traitlets.Int(0).tag(sync=True)
    count = 0
    heard_at = -1  # the tick at which the last click was heard

    def hear_hello(self) -> None:
        self.say("count", {"count": self.count})

    def hear_bump(self, by: int) -> None:
        self.count += by
        self.heard_at = self.tick
        self.hear_hello()

    def __repr__(self) -> str:
        return f"Counter({self.count})"
