"use strict";
// Whatever comes from the data is put into the page as text (textContent), never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const UNIT = "nats per weighted answer token";
const MEANS = `mean reward of the group (no unit); lowest to highest information gain of a search (${UNIT})`;
const VIEWS = { whole: "whole advantage", outcome: "outcome part", step: "step part" };
const state = { place: 0, shown: [], view: "whole", chosen: new Set(), allDocuments: false };
const [list, main, filters, readout] = ["list", "question", "filters", "readout"].map((id) => document.getElementById(id));

/** An element. `on` holds listeners, `style` properties, everything else is an attribute; strings become text. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") Object.entries(value).forEach(([event, act]) => node.addEventListener(event, act));
    else if (name === "style") Object.entries(value).forEach(([key, each]) => node.style.setProperty(key, each));
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null));
  return node;
}

/** Text from the data, kept apart from the direction of the text around it. */
const said = (text, attributes = {}) => el("bdi", { dir: "auto", ...attributes }, text);
const tag = (kind, text, title = null) => el("span", { class: `tag ${kind}`, title }, text);

function number(value, digits = 2) {
  if (value === null) return "none";
  return (value < 0 ? "−" : "") + (Number.isInteger(value) ? Math.abs(value) : Math.abs(value).toFixed(digits));
}

const signed = (value, digits) => (value > 0 ? "+" : "") + number(value, digits);
/** With the digits that a small value needs: an advantage can be spread over many tokens. */
const fine = (value) => signed(value, Math.abs(value) < 0.095 ? 4 : 2);
const count = (many, what) => `${many} ${what}${many === 1 ? "" : "s"}`;

const question = () => data.questions[state.place];
const episodes = (asked) =>
  asked.groups.flatMap((group, run) => (group ? group.episodes.map((episode) => ({ run, episode })) : []));
const key = ({ run, episode }) => `${run}:${episode.rollout}`;
const gainsOf = (asked) =>
  episodes(asked).flatMap(({ episode }) => episode.steps.map((step) => step.gain ?? step.reference).filter(Boolean));

// ---- the list

function passes(asked) {
  const wanted = Object.fromEntries(new FormData(filters));
  const group = asked.failed ? "failed" : asked.uniform ? "uniform" : "mixed";
  return (
    (!wanted.benchmark || asked.benchmark === wanted.benchmark) &&
    (!wanted.answer || asked.right === (wanted.answer === "right")) &&
    (!wanted.group || group === wanted.group || (wanted.group === "uniform" && asked.uniform)) &&
    (!wanted.change || asked.change?.kind === wanted.change) &&
    (!wanted.text || searchable(asked).includes(wanted.text.toLowerCase()))
  );
}

function searchable(asked) {
  const said = episodes(asked).flatMap(({ episode }) => [episode.prediction, ...episode.steps.map((step) => step.query)]);
  return [asked.uid, asked.question, ...asked.answers, ...said].join("\n").toLowerCase();
}

const ORDERS = {
  highest: (asked) => (asked.gains ? -asked.gains[0] : Infinity),
  lowest: (asked) => (asked.gains ? asked.gains[1] : Infinity),
  best: (asked) => -(asked.groups[0].reward ?? -Infinity),
  worst: (asked) => asked.groups[0].reward ?? Infinity,
};

function filter() {
  const places = data.questions.map((_, place) => place).filter((place) => passes(data.questions[place]));
  const order = ORDERS[filters.elements.order.value];
  const value = (place) => order(data.questions[place]);
  if (order) places.sort((a, b) => (value(a) === value(b) ? a - b : value(a) - value(b)));
  state.shown = places;
  list.replaceChildren(...places.map(item));
  document.getElementById("count").textContent = places.length
    ? `${places.length} of ${data.questions.length} questions`
    : "No question passes these filters.";
  if (places.length) select(places.includes(state.place) ? state.place : places[0]);
}

function item(place) {
  const asked = data.questions[place];
  const { greedy } = asked.groups[0];
  const gains = asked.gains ? ` · IG ${signed(asked.gains[1])} to ${signed(asked.gains[0])}` : " · no IG";
  const right = greedy ? (greedy.em ? "✓ right" : "✗ wrong") : asked.right ? "✓ mostly right" : "✗ mostly wrong";
  return el(
    "li",
    { role: "option", id: `q${place}`, tabindex: "-1", on: { click: () => select(place, true) } },
    el("span", { class: "tags" }, tag("benchmark", asked.benchmark), tag(asked.right ? "right" : "wrong", right), change(asked)),
    said(asked.question, { class: "asked" }),
    el("span", { class: "note", title: MEANS }, dots(asked.groups[0]), ` mean ${number(asked.groups[0].reward)}${gains}`),
  );
}

function change(asked) {
  const marks = { improved: "▲ improved", spoiled: "▼ spoiled" };
  if (!marks[asked.change?.kind]) return null;
  const { kind, by, from, to } = asked.change;
  return tag(kind, marks[kind], `${by}: ${number(from)} → ${number(to)}`);
}

/** One dot per rollout, filled as far as its reward, cut to 0..1, goes. */
function dots(group) {
  const level = (episode) => Math.min(1, Math.max(0, episode.reward ?? 0));
  return el(
    "span",
    { class: "dots", role: "img", "aria-label": `rewards ${group.episodes.map((each) => number(each.reward)).join(", ")}` },
    group.episodes.map((each) =>
      el("i", { style: { "--level": level(each) }, title: `rollout ${each.rollout}: reward ${number(each.reward)}` }),
    ),
  );
}

function select(place, focus = false) {
  const isNew = place !== state.place || !main.hasChildNodes();
  state.place = place;
  for (const option of list.children) {
    const isChosen = option.id === `q${place}`;
    option.setAttribute("aria-selected", isChosen);
    option.tabIndex = isChosen ? 0 : -1;
    if (isChosen && focus) option.focus({ preventScroll: true });
    if (isChosen) bringIntoList(option);
  }
  history.replaceState(null, "", `#${encodeURIComponent(question().uid)}`);
  if (!isNew) return;
  state.chosen = preset(data.runs.length > 1 && question().groups[1] ? "runs" : "extremes");
  draw();
}

/** Scrolls the list, and nothing but the list, to show an option above the line at the bottom of the window. */
function bringIntoList(option) {
  const [inner, outer] = [option, list].map((each) => each.getBoundingClientRect());
  const bottom = Math.min(outer.bottom, window.innerHeight - readout.offsetHeight - 8);
  if (inner.top < outer.top) list.scrollTop -= outer.top - inner.top;
  else if (inner.bottom > bottom) list.scrollTop += inner.bottom - bottom;
}

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
    el("td", { class: episode.em ? "right" : "wrong", title: episode.end_sentence }, episode.em ? "✓ " : "✗ ", said(episode.prediction ?? "no answer"), end),
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

// ---- keys and start

const isTyping = (target) => target.matches("input[type=search], select, textarea");

function step(by) {
  const place = state.shown.indexOf(state.place) + by;
  if (place >= 0 && place < state.shown.length) select(state.shown[place], true);
}

function onKey(event) {
  const { key: pressed, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inList = list.contains(target);
  const move = { j: 1, k: -1, ...(inList && { ArrowDown: 1, ArrowUp: -1, End: Infinity, Home: -Infinity }) }[pressed];
  if (target.matches(".token") && ["ArrowLeft", "ArrowRight"].includes(pressed)) moveToken(target, pressed === "ArrowRight" ? 1 : -1);
  else if (pressed === "Escape" || (isTyping(target) && target.type === "search" && ["Enter", "ArrowDown"].includes(pressed))) {
    list.querySelector("[aria-selected=true]")?.focus();
  } else if (isTyping(target)) return;
  else if (pressed === "/") filters.elements.text.focus();
  else if (inList && pressed === "Enter") main.focus();
  else if (Number.isFinite(move)) step(move);
  else if (move) select(state.shown.at(move > 0 ? -1 : 0), true);
  else return;
  event.preventDefault();
}

function moveToken(token, by) {
  const tokens = [...token.closest(".transcript").querySelectorAll(".token")];
  const next = tokens[tokens.indexOf(token) + by];
  if (!next) return;
  token.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function read({ target }) {
  if (target.matches?.(".token")) readout.replaceChildren(said(target.textContent, { class: "read" }), `  ${target.title}`);
}

function onTheme({ target }) {
  const themes = { "": "light", light: "dark", dark: "" };
  const theme = themes[document.documentElement.dataset.theme ?? ""];
  document.documentElement.dataset.theme = theme;
  target.textContent = `Theme: ${theme || "as the system"}`;
}

function basis() {
  const judged = data.questions.filter((asked) => asked.groups[0].greedy).length;
  const count = (by) => data.questions.filter((asked) => asked.change?.by === by).length;
  const right = `Right and wrong: by the greedy answer’s EM for ${judged} questions, by at least half of the group being right for ${data.questions.length - judged}.`;
  const changed = `Improved and spoiled: by greedy EM for ${count("greedy EM")}, by the group’s mean EM for ${count("mean EM of the group")}.`;
  return data.runs.length > 1 ? `${right} ${changed}` : right;
}

document.getElementById("theme").addEventListener("click", onTheme);
document.getElementById("basis").textContent = basis();
document.addEventListener("keydown", onKey);
main.addEventListener("mouseover", read);
main.addEventListener("focusin", read);
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("input", filter);
filters.addEventListener("reset", () => setTimeout(filter));
const asked = decodeURIComponent(location.hash.slice(1));
state.place = Math.max(0, data.questions.findIndex(({ uid }) => uid === asked));
filter();
