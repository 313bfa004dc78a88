"use strict";
// One question: its groups, the chosen transcripts and the gains of their searches. Helpers are those of microscope.js.

// ---- a question

/** The rollouts that a button chooses, as keys. Of equal rewards the one with the highest gain is the better. */
function preset(name) {
  const all = episodes(question());
  const reward = ({ episode }) => episode.reward ?? -Infinity;
  const gain = ({ episode }) => Math.max(-1e9, ...episode.steps.map((step) => (step.gain ?? step.reference)?.gain ?? -1e9));
  const above = (a, b) => (reward(a) === reward(b) ? gain(b) - gain(a) : reward(b) - reward(a));
  const ranked = (run) => all.filter((each) => each.run === run).sort(above);
  const chosen = { all, runs: [ranked(0)[0], ranked(1)[0]], extremes: [ranked(0)[0], ranked(0).at(-1)] }[name];
  return new Set(chosen.filter(Boolean).map(key));
}

function draw() {
  const asked = question();
  main.replaceChildren(
    el("h2", {}, said(asked.question)),
    el("p", { class: "facts" }, facts(asked)),
    el("p", { class: "note" }, `Reward and advantage without unit, EM 0 or 1, F1 from 0 to 1, IG in ${UNIT}.`),
    el("div", { class: "strips" }, asked.groups.map((group, run) => strip(asked, group, run))),
    toolbar(asked),
    el("div", { class: "columns", role: "region", "aria-label": "Transcripts, side by side", tabindex: "0" }),
  );
  drawColumns();
}

function facts(asked) {
  const answers = asked.answers.flatMap((answer, place) => [place ? " / " : "", el("b", {}, said(answer))]);
  const { change: found } = asked;
  const against = found ? `${found.kind === "same" ? "unchanged" : found.kind} against ${data.runs[1].run} (${found.by} ${number(found.from)} → ${number(found.to)})` : null;
  const group = asked.failed ? "failed group: every rollout is wrong" : asked.uniform ? "uniform group: equal rewards" : null;
  const hops = asked.hops === null ? "hops unknown" : count(asked.hops, "hop");
  const rest = [said(asked.uid), hops, group, against].filter(Boolean).flatMap((each) => [" · ", each]);
  return ["Gold: ", ...answers, ...rest, el("details", {}, el("summary", {}, "Prompt"), el("pre", { dir: "auto" }, asked.prompt))];
}

/** The whole group of one run: a line for each sibling. */
function strip(asked, group, run) {
  const name = data.runs[run].run;
  if (!group) return el("p", { class: `note run${run}` }, `${name} has no rollouts of this question.`);
  const greedy = group.greedy
    ? [`; greedy answer ${group.greedy.em ? "right" : "wrong"}: `, said(group.greedy.prediction ?? "none")]
    : ["; no greedy answer known"];
  const means = ` – group of ${group.episodes.length}: mean reward ${number(group.reward)}, mean EM ${number(group.em)}`;
  const heads = ["show", "rollout", "reward", "EM", "F1", "answer", "IG of each search"];
  const largest = Math.max(1e-9, ...gainsOf(asked).map((gain) => Math.abs(gain.gain)));
  return el(
    "div",
    { class: `strip run${run}`, tabindex: "0", role: "region", "aria-label": `Rollouts of ${name}` },
    el(
      "table",
      {},
      el("caption", {}, el("b", {}, said(name)), means, ...greedy),
      el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, group.episodes.map((episode) => sibling(run, episode, largest))),
    ),
  );
}

function sibling(run, episode, largest) {
  const name = key({ run, episode });
  const choose = ({ target }) => {
    state.chosen[target.checked ? "add" : "delete"](name);
    drawColumns();
  };
  const label = `show rollout ${episode.rollout} of ${data.runs[run].run}`;
  const box = el("input", { type: "checkbox", name, "aria-label": label, checked: state.chosen.has(name), on: { change: choose } });
  const cells = [episode.rollout, number(episode.reward), number(episode.em), number(episode.f1)];
  const end = episode.end === "answered" ? null : ` (${episode.end.replaceAll("_", " ")})`;
  const gains = episode.steps.length ? episode.steps.map((step) => small(step, largest)) : el("span", { class: "note" }, "no search");
  return el(
    "tr",
    {},
    el("td", {}, box),
    cells.map((cell) => el("td", { class: "figure" }, String(cell))),
    el("td", { class: episode.em ? "right" : "wrong", title: episode.end_sentence }, episode.em ? "✓ " : "✗ ", said(episode.prediction ?? "none"), end),
    el("td", {}, el("div", { class: "gains" }, gains)),
  );
}

/** A gain as a small bar from the middle, on the scale of the largest of this question. */
function small({ gain, reference, query, why }, largest) {
  const shown = gain ?? reference;
  if (!shown) return el("span", { class: "small none", title: `${query}: not scored, ${why}` }, "not scored");
  const half = (50 * Math.abs(shown.gain)) / largest;
  const bar = el("i", { class: shown.gain < 0 ? "neg" : "pos", style: { left: `${shown.gain < 0 ? 50 - half : 50}%`, width: `${half}%` } });
  return el("span", { class: "small", title: `${query}: ${signed(shown.gain)} ${UNIT}${gain ? "" : `; for reference only: ${why}`}` }, el("span", { class: "track" }, bar), gain ? signed(shown.gain) : el("i", {}, `(${signed(shown.gain)})`));
}

function toolbar(asked) {
  const view = ([name, label]) => {
    const lacking = name !== "whole" && !episodes(asked).some(({ episode }) => episode.step);
    const act = () => ((state.view = name), drawColumns());
    const box = el("input", { type: "radio", name: "view", value: name, checked: name === state.view, disabled: lacking, on: { change: act } });
    return el("label", { title: lacking ? "no step signal in this method: the advantage is all outcome" : null }, box, ` ${label}`);
  };
  const button = (name, label) =>
    el("button", { type: "button", "data-preset": name, on: { click: () => ((state.chosen = preset(name)), draw()) } }, label);
  const documents = (event) => ((state.allDocuments = event.target.checked), drawColumns());
  return el(
    "div",
    { class: "tools", role: "group", "aria-label": "What is shown" },
    el("fieldset", {}, el("legend", {}, "Shade of a token"), Object.entries(VIEWS).map(view)),
    el("span", { id: "scale" }),
    el("span", {}, button("extremes", "Best and worst"), asked.groups[1] ? button("runs", "Best of each run") : null, button("all", "All")),
    el("label", {}, el("input", { type: "checkbox", name: "documents", checked: state.allDocuments, on: { change: documents } }), " open all documents"),
  );
}

// ---- transcripts

const valuesOf = (episode, view) => {
  const runs = episode[view] ?? (view === "outcome" ? episode.whole : null);
  return runs && runs.flatMap(([count, value]) => Array(count).fill(value));
};

function drawColumns() {
  const asked = question();
  const all = episodes(asked);
  const sizes = all.flatMap(({ episode }) => (episode[state.view] ?? []).map(([, value]) => Math.abs(value)));
  const largest = Math.max(0, ...sizes);
  const axis = axisOf(gainsOf(asked));
  document.getElementById("scale").replaceChildren(...scale(largest));
  for (const box of main.querySelectorAll(".strip input")) box.checked = state.chosen.has(box.name);
  const chosen = all.filter((each) => state.chosen.has(key(each)));
  const columns = chosen.map(({ run, episode }) => column(run, episode, largest, axis));
  const none = el("p", { class: "note" }, "Choose rollouts above to read them side by side.");
  main.querySelector(".columns").replaceChildren(...(columns.length ? columns : [none]));
}

function scale(largest) {
  if (!largest) return [`Every ${VIEWS[state.view]} of this question is 0: nothing is shaded.`];
  return [fine(-largest), el("span", { class: "ramp", role: "img", "aria-label": "orange to blue" }), fine(largest), ` ${VIEWS[state.view]}, no unit`];
}

function column(run, episode, largest, axis) {
  const name = data.runs[run].run;
  const placed = new Set(episode.parts.filter((part) => part.kind === "documents").map((part) => part.step));
  const lost = episode.steps.map((_, step) => step).filter((step) => !placed.has(step));
  const state = { values: tokensOf(episode), place: 0, largest };
  return el(
    "article",
    { class: `run${run}`, "aria-label": `${name}, rollout ${episode.rollout}` },
    el("h3", { title: episode.id }, said(name), ` · rollout ${episode.rollout}`),
    outcome(episode),
    el(
      "div",
      { class: "transcript" },
      episode.parts.map((part) => (part.tokens ? sampled(part, state) : injected(part, episode, axis))),
      lost.map((step) => search(episode, step, "", axis)),
      episode.asides.map((aside) => {
        const where = aside.step < 0 ? "a search that no longer fitted" : `search ${aside.step + 1}`;
        return el("details", { class: "environment" }, el("summary", {}, `Aside about ${where}, in a context of its own`), el("pre", { dir: "auto" }, aside.text));
      }),
    ),
  );
}

function outcome(episode) {
  const gold = question().answers.flatMap((answer, place) => [place ? " / " : "", said(answer)]);
  const answer = episode.prediction === null ? "none" : said(episode.prediction);
  const figures = `EM ${number(episode.em)}, F1 ${number(episode.f1)}, reward ${number(episode.reward)}. `;
  const missing = episode.step ? null : el("span", { class: "note" }, " No step signal in this method.");
  return el("p", { class: "outcome" }, el("b", { class: episode.em ? "right" : "wrong" }, episode.em ? "✓ " : "✗ ", answer), " – gold: ", ...gold, el("br"), figures, episode.end_sentence, missing);
}

/** Value to shade by and figures to read, for each sampled token. */
function tokensOf(episode) {
  const [shade, whole, outcome, step] = [state.view, "whole", "outcome", "step"].map((view) => valuesOf(episode, view));
  return whole.map((value, place) => {
    const split = step ? ` = outcome ${fine(outcome[place])}, step ${fine(step[place])}` : "";
    return { shade: shade ? shade[place] : 0, text: `advantage ${fine(value)}${split} (no unit)` };
  });
}

function sampled(part, column) {
  const tokens = part.tokens.map((text, place) => {
    const { shade, text: figures } = column.values[column.place];
    const sign = shade > 0 ? "pos" : shade < 0 ? "neg" : "zero";
    const title = `${figures}, log-probability ${number(part.logprobs[place], 3)} nats`;
    const attributes = { class: `token ${sign}`, title, tabindex: column.place++ ? "-1" : "0", "data-shade": shade };
    const strength = column.largest ? Math.abs(shade) / column.largest : 0;
    return el("span", { ...attributes, style: { "--shade": strength.toFixed(3) } }, text || "▫");
  });
  const isBlank = !part.tokens.join("").trim();
  const label = part.step < 0 ? part.kind : `${part.kind} ${part.step + 1}`;
  const named = isBlank ? null : el("span", { class: "kind" }, part.kind === "text" ? "outside tags" : label);
  return el("div", { class: `part ${part.kind}` }, named, el("span", { class: "tokens", dir: "auto" }, tokens));
}

function injected(part, episode, axis) {
  if (part.kind === "documents" && episode.steps[part.step]) return search(episode, part.step, part.text, axis);
  return el("div", { class: "part environment" }, el("span", { class: "kind" }, "environment"), el("pre", { dir: "auto" }, part.text));
}

function search(episode, place, text, axis) {
  const step = episode.steps[place];
  const raw = el("details", {}, el("summary", {}, "As the policy read it"), el("pre", { dir: "auto" }, text));
  return el(
    "section",
    { class: "environment search", "aria-label": `Search ${place + 1}` },
    el("h4", {}, `Search ${place + 1}: `, said(step.query)),
    gainFigure(step, axis),
    el("p", { class: "note" }, `${count(step.documents.length, "document")}, ${step.new} new to this rollout; scores are the retriever’s (no unit)`),
    el("ol", { class: "documents" }, step.documents.map(documentOf)),
    text ? raw : null,
  );
}

function documentOf([place, score, isNew, isShown]) {
  const [id, title, text] = data.passages[place];
  const badges = [isNew ? tag("new", "new") : tag("seen", "seen before"), isShown ? null : tag("cut", "cut off", "not in the context: the block was full")];
  const isOpen = state.allDocuments || text.length < 300;
  return el("li", {}, el("details", { open: isOpen }, el("summary", {}, said(title, { title: id }), " ", badges, ` score ${number(score)}`), el("p", { dir: "auto" }, text)));
}

// ---- information gain

/** One axis for all searches of a question: from the lowest log-probability to 0 nats, certainty. */
function axisOf(gains) {
  const low = Math.min(-0.5, ...gains.flatMap((gain) => [gain.real, ...gain.random]));
  const step = [0.25, 0.5, 1, 2, 5, 10, 20, 50].find((each) => -low / each <= 6) ?? -low;
  const count = Math.ceil(-low / step - 1e-9);
  const ticks = Array.from({ length: count + 1 }, (_, place) => -step * place);
  return { ticks, at: (value) => `${(100 * (1 + Math.min(0, value) / (step * count))).toFixed(2)}%` };
}

function gainFigure(step, axis) {
  const gain = step.gain ?? step.reference;
  if (!gain) return el("p", { class: "unscored" }, `Information gain not scored: ${step.why}.`);
  const base = gain.real - gain.gain;
  const [low, high] = [Math.min(base, gain.real), Math.max(base, gain.real)];
  const mark = (kind, value, label) => el("i", { class: kind, style: { left: axis.at(value) }, title: `${label} ${number(value)} nats`, "data-value": value });
  const bar = el("i", { class: `bar ${gain.gain < 0 ? "neg" : "pos"}`, style: { left: axis.at(low), width: `calc(${axis.at(high)} - ${axis.at(low)})` } });
  const against = gain.random.length
    ? `mean of ${gain.random.length} counterfactuals ${number(base)} (${gain.random.map((value) => number(value)).join(", ")})`
    : "no counterfactual is subtracted";
  const cut = gain.truncated ? `; ${count(gain.truncated, "context")} lost the beginning` : "";
  const text = `real ${number(gain.real)}, ${against}${cut}`;
  const unearned = step.gain ? "" : ` – measured for reference only, not scored by this method: ${step.why}`;
  return el(
    "figure",
    { class: "gain" },
    el("figcaption", {}, el("b", {}, `IG ${signed(gain.gain)}`), ` ${UNIT}${unearned}`),
    el(
      "div",
      { class: "axis", role: "img", "aria-label": `Log-probability of the gold answer, ${UNIT}: ${text}` },
      axis.ticks.map((tick) => el("span", { class: "tick", style: { left: axis.at(tick) } }, number(tick))),
      bar,
      gain.random.map((value) => mark("random", value, "counterfactual")),
      mark("real", gain.real, "real"),
    ),
    el("p", { class: "note" }, `Log-probability of the gold answer, same unit: ${text}.`),
  );
}
