// The page's side of a component inside another's page: the model it is given, over the wire of the other.

/** A model for the inner component, and `hear(message)` for what Python says to it. */
export function nestedModel({ number, traits }, ask) {
  const state = { ...traits };
  const heard = {};
  let unsaved = {};
  const on = (names, f) => names.split(" ").forEach((name) => (heard[name] ??= new Set()).add(f));
  const off = (names, f) => names.split(" ").forEach((name) => heard[name]?.delete(f));
  const fire = (name, ...told) => [...(heard[name] ?? [])].forEach((f) => f(...told));
  const put = (name, value) => {
    if (JSON.stringify(state[name]) === JSON.stringify(value)) return;
    state[name] = value;
    fire(`change:${name}`, {}, value);
  };
  return {
    model: {
      get: (name) => state[name],
      set: (name, value) => (put(name, value), (unsaved[name] = value)),
      save_changes: () => (ask("inner", { number, state: unsaved }), (unsaved = {})),
      send: (content) => ask("inner", { number, content }),
      on,
      off,
    },
    hear(message) {
      if (message.number !== number) return;
      if (message.trait) put(message.trait, message.value);
      // the data was unpacked on its way through the outer wire
      else fire("msg:custom", { ...message.content, data: message.data }, []);
    },
  };
}
