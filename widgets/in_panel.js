// A component's page inside Panel: a model as anywidget has it, over the one that Panel gives (see in_panel.py).

const page = (await import("PAGE")).default;
const widget = typeof page === "function" ? await page() : page;

class Sent extends Bokeh.require("core/bokeh_events").ModelEvent {
  constructor(data) {
    super();
    this.data = data;
  }
  get event_values() {
    return { model: this.origin, data: this.data };
  }
}
Sent.prototype.event_name = "data_event";

const bytes = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
const buffer = (value) => (ArrayBuffer.isView(value) ? bytes(value) : value);
const isBytes = (value) => ArrayBuffer.isView(value) || value instanceof ArrayBuffer;

function hosted(model) {
  const heard = []; // {name, f, told}: what `off` has to find again
  const named = (name) => (name.startsWith("change:") ? `change:t_${name.slice(7)}` : name);
  const message = (f) => (event) =>
    f(JSON.parse(event.content), (event.buffers ?? []).map((one) => new DataView(one)));
  return {
    get: (name) => {
      const value = model.get(`t_${name}`);
      return typeof value === "string" ? JSON.parse(value) : value;
    },
    set: (name, value) => model.set(`t_${name}`, isBytes(value) ? buffer(value) : JSON.stringify(value ?? null)),
    save_changes: () => model.save_changes(),
    send: (content, _, buffers) =>
      model.model.trigger_event(
        new Sent({ content: JSON.stringify(content), buffers: (buffers ?? []).map(buffer) }),
      ),
    on: (names, f) => {
      for (const name of names.split(" ")) {
        const told = name === "msg:custom" ? message(f) : () => f();
        heard.push({ name, f, told });
        model.on(named(name), told);
      }
    },
    off: (names, f) => {
      for (const name of names ? names.split(" ") : heard.map((one) => one.name))
        for (const one of heard.filter((one) => one.name === name && (!f || one.f === f))) {
          heard.splice(heard.indexOf(one), 1);
          model.off(named(name), one.told);
        }
    },
  };
}

export default { render: ({ model, el }) => widget.render({ model: hosted(model), el }) };
