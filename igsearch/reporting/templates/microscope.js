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

/** A whole number as it is, others rounded; what rounds to 0 has no sign. */
function number(value, digits = 2, plus = "") {
  if (value === null) return "none";
  const text = Number.isInteger(value) ? String(Math.abs(value)) : Math.abs(value).toFixed(digits);
  return (Number(text) === 0 ? "" : value < 0 ? "−" : plus) + text;
}

const signed = (value, digits = 2) => number(value, digits, "+");
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
