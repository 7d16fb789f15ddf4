import { h, refill, button, num, plural, wire, frame } from "./ground.js";
import { lineChart } from "./chart.js";

const VERDICTS = { reproduced: "wb-plus", "direction only": "wb-gold", "not reproduced": "wb-minus" };

function render({ model, el }) {
  let entries = [];
  let runs = [];
  let paper = null;
  let proofs = []; // of the method that is shown: [{ seed, where, ...proof }]
  let at = 0; // which of them is seen
  let busy = "";

  const keys = [
    { keys: ["j", "ArrowDown"], says: "next method", act: () => move(1) },
    { keys: ["k", "ArrowUp"], says: "method before", act: () => move(-1) },
    { keys: ["]"], says: "next proof", act: () => turn(1) },
    { keys: ["["], says: "proof before", act: () => turn(-1) },
    { keys: ["p"], says: "run the proof", act: () => prove() },
  ];
  const shell = frame(model, el, { name: "papers", label: model.get("label"), keys });

  // ---------------------------------------------------------------- the shelf

  const list = h("ul", { class: "wb-shelf-list" });
  const count = h("span", { class: "wb-dim" });
  const shelf = h("nav", { class: "wb-shelf", "aria-label": "Methods" },
    h("div", { class: "wb-bar" }, count, h("span", { class: "wb-grow" }), button("Keys", () => shell.root.showKeys())), list);
  const main = h("article", { class: "wb-paper" });

  function drawShelf() {
    count.textContent = `${entries.filter((one) => one.built).length} of ${entries.length} built`;
    const first = entries.find((one) => !one.built);
    refill(list, entries.map((one) => [one === first ? h("li", { class: "wb-rest wb-dim" }, "Not built yet") : null, h("li", {}, entry(one))]));
  }
  const entry = (one) =>
    h("button", { type: "button", class: one.built ? "wb-entry" : "wb-entry wb-later", "aria-current": String(one.name === model.get("chosen")), onclick: () => choose(one.name) },
      h("span", {}, one.number), h("span", {}, one.title), h("span", { class: "wb-dim" }, one.built ? `${one.kind}, ${one.verdict ?? "proof not kept"}` : one.kind));
  function choose(name) {
    line.ask("choose", { name });
  }
  function move(by) {
    const names = entries.map((one) => one.name);
    const next = names[names.indexOf(model.get("chosen")) + by];
    if (!next) return false;
    choose(next);
    return undefined;
  }

  // ---------------------------------------------------------------- one method

  const chart = lineChart({ label: "Curves of the proof", xName: "update", height: 220 });
  const chip = (verdict) => h("span", { class: `wb-chip ${VERDICTS[verdict] ?? "wb-zero"}` }, verdict);
  const proof_part = h("section", { "aria-label": "Proof" });
  const tried = h("div", { class: "wb-figures", tabindex: "0", role: "region", "aria-live": "polite", "aria-label": "What the reward paid" });
  const seed = h("input", { type: "number", min: 0, step: 1, value: 0, "aria-label": "seed", style: { width: "6em" } });
  const go = button("Run the proof", () => prove(), { title: "P" });
  const run = h("select", { "aria-label": "run" });
  const reward = h("select", { "aria-label": "reward" });
  const test = button("Try it", () => ask("try", "scoring …"));
  const record = button("Record for the whole run", () => ask("record", "scoring the whole run …"));
  const told = h("span", { class: "wb-dim", role: "status" });

  function hearPaper(message) {
    const fresh = paper?.name !== message.data.name;
    paper = message.data;
    if (fresh) busy = "";
    proofs = [...(paper.proofs ?? []).map((one) => ({ ...one, where: "mechanism" })), ...(paper.on_world ?? []).map((one) => ({ ...one, where: "embedded world" }))];
    at = 0;
    told.textContent = "";
    refill(tried);
    model.set("chosen", paper.name);
    drawShelf();
    draw();
    list.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  }
  const fact = (name, value) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value));
  function draw() {
    const facts = h("table", { class: "wb-facts" }, h("tbody", {},
      fact("source", paper.source), fact("brings", paper.kind),
      fact("known from", { code: "its released code", paper: "the paper and accounts of it", reconstruction: "an abstract; the rest is our reconstruction" }[paper.fidelity]),
      fact("published", paper.published)));
    const head = [h("h2", {}, paper.title), facts];
    if (!paper.built) return refill(main, head, h("p", { class: "wb-dim" }, "Not built yet."));
    refill(reward, paper.rewards.map(([name]) => h("option", { value: name }, name)));
    refill(main, head,
      h("p", { class: "wb-claim" }, paper.claim),
      h("section", {}, h("h3", {}, "Formula"), h("pre", { class: "wb-formula", tabindex: "0" }, paper.formula)),
      paper.differs.length ? h("section", {}, h("h3", {}, "Other than published"), h("ul", {}, paper.differs.map((one) => h("li", {}, one)))) : null,
      proof_part,
      h("section", {}, h("h3", {}, "Its rewards"), h("table", {}, h("tbody", {}, paper.rewards.map(([name, typed]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, h("code", {}, typed)))))), tryBar(), tried));
    drawProof();
    return undefined;
  }
  function tryBar() {
    if (!paper.rewards.length) return null;
    if (!runs.length) return h("p", { class: "wb-dim" }, "There is no run to try them on.");
    return h("div", { class: "wb-bar" }, h("span", {}, "on my rollouts:"), reward, "in run", run, test, record);
  }

  // ---------------------------------------------------------------- its proof

  function drawProof() {
    const bar = h("div", { class: "wb-bar" },
      proofs.map((one, n) => button(`${one.where === "mechanism" ? "" : "world, "}seed ${one.seed}${one.now ? ", now" : ""}`, () => ((at = n), drawProof()), { "aria-pressed": String(n === at), class: "wb-button wb-small" })),
      h("span", { class: "wb-grow" }), h("label", {}, "seed ", seed), go, told);
    const one = proofs[at];
    refill(proof_part, h("h3", {}, "Proof at small scale ", one ? chip(one.verdict) : null), bar,
      one ? figures(one) : h("p", { class: "wb-dim" }, "None is kept; run it."),
      one && Object.keys(one.curves).length ? h("div", {}, h("h4", {}, `${one.curve_of}, by ${one.curve_by}`), chart.el) : null);
    if (one && Object.keys(one.curves).length) drawCurves(one);
    go.disabled = busy !== "";
  }
  function drawCurves(one) {
    const series = Object.entries(one.curves).map(([name, values], n) => ({ name, points: values.map((y, x) => [x + 1, y]), strong: n === 0 }));
    chart.draw({ series, marks: [], xMax: Math.max(...series.map((some) => some.points.length)) });
  }
  function figures(one) {
    const names = [...new Set(Object.values(one.arms).flatMap((arm) => Object.keys(arm)))];
    const rows = Object.entries(one.arms).map(([arm, found]) => h("tr", {}, h("th", { scope: "row" }, arm), names.map((name) => h("td", { class: "wb-number" }, found[name] === undefined || found[name] === null ? "" : num(found[name], 3)))));
    const checks = one.checks.map((check) => h("li", {}, h("span", { class: check.holds ? "wb-holds" : "wb-fails" }, check.holds ? "✓ holds" : "✗ fails"), h("span", {}, check.says)));
    return [
      h("div", { class: "wb-figures", tabindex: "0", role: "region", "aria-label": "Figures of the proof" }, h("table", {}, h("thead", {}, h("tr", {}, h("th"), names.map((name) => h("th", { class: "wb-number", scope: "col" }, name)))), h("tbody", {}, rows))),
      h("ul", { class: "wb-checks" }, checks),
      one.direction_only ? h("p", { class: "wb-dim" }, `Direction only: ${one.direction_only}`) : null,
      one.reported.length ? h("div", {}, h("h4", {}, "Seen, not claimed"), h("ul", {}, one.reported.map((says) => h("li", {}, says)))) : null,
    ];
  }
  function turn(by) {
    if (!proofs[at + by]) return false;
    at += by;
    drawProof();
    return undefined;
  }
  function prove() {
    if (busy || !paper?.built) return false;
    working("running the proof; it takes some seconds to a minute …");
    line.ask("prove", { name: paper.name, seed: Number(seed.value) });
    return undefined;
  }
  function ask(kind, says) {
    if (busy) return;
    working(says);
    line.ask(kind, { name: paper.name, reward: reward.value, run: run.value });
  }
  function working(says) {
    busy = says;
    told.textContent = says;
    shell.say(says);
    for (const one of [go, test, record]) one.disabled = true;
  }
  function done(says = "") {
    busy = "";
    told.textContent = says;
    shell.say("");
    for (const one of [go, test, record]) one.disabled = false;
  }

  // ---------------------------------------------------------------- what comes back

  function hearProof(message) {
    done();
    if (message.name !== paper.name) return;
    proofs = [{ ...message.data, seed: message.seed, where: "mechanism", now: true }, ...proofs.filter((one) => !one.now)];
    at = 0;
    drawProof();
  }
  function hearTried(message) {
    done();
    if (message.name !== paper.name) return;
    const { columns, rows } = message.data;
    const head = h("tr", {}, columns.map((name, n) => h("th", { scope: "col", class: n ? "wb-number" : null }, name.replaceAll("_", " "))));
    const cell = (value, n) => (n ? h("td", { class: "wb-number" }, value === null ? "" : num(value, 3)) : h("td", {}, value));
    refill(tried, h("p", { class: "wb-dim" }, `${message.reward} on ${plural(message.trees, "tree")} of the last update of ${message.run}; nothing was recorded`),
      h("table", {}, h("thead", {}, head), h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell))))));
  }
  function hearRecorded(message) {
    done();
    const already = message.kept ? `, ${message.kept} of them before` : "";
    refill(tried, h("p", {}, `Recorded as version ${message.version} of the scores of ${message.run}: ${plural(message.trees + message.kept, "tree")}${already}. It is in force now; earlier versions stay.`));
  }
  function hearCatalogue(message) {
    entries = message.data;
    runs = message.runs;
    refill(run, runs.map((name) => h("option", { value: name }, name)));
    drawShelf();
  }

  shell.body.append(shelf, main);
  const line = wire(
    model,
    {
      catalogue: hearCatalogue, paper: hearPaper, proof: hearProof, tried: hearTried, recorded: hearRecorded,
      trouble: (message) => (done(), shell.say(message.says, "trouble")),
    },
    shell.silent,
  );
  line.ask("hello");
  return () => {
    chart.close();
    line.close();
    shell.close();
  };
}

export default { render };
