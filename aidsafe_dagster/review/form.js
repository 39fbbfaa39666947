"use strict";
// Texts of users and models reach the page through textContent alone, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const storageKey = `aidsafe ${data.review_id}`;
const byId = (id) => document.getElementById(id);
const SIDES = ["left", "right"];
const scoreQuestions = SIDES.flatMap((side) => data.metrics.map((metric) => `${side}.${metric.name}`));
const questions = [...scoreQuestions, "preferred"];
const state = loadState();
let place = 0; // index of the item on the page
let marked = 0; // index of the question that the next key answers

function loadState() {
  const empty = { rater: "", answers: {} };
  try {
    return { ...empty, ...JSON.parse(localStorage.getItem(storageKey) || "{}") };
  } catch {
    return empty;
  }
}

function saveState() {
  try {
    localStorage.setItem(storageKey, JSON.stringify(state));
    byId("saved").textContent = "saved in this browser";
  } catch {
    byId("saved").textContent = "this browser stores nothing: download before you close the page";
  }
}

const answersOf = (item) => (state.answers[item.item_id] ||= {});
const isDone = (item) => questions.every((question) => state.answers[item.item_id]?.[question]);
const isTouched = (item) => Object.values(state.answers[item.item_id] ?? {}).some(Boolean);

function createElement(tag, className = "", text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function drawSide(box, side) {
  const thoughts = createElement("ol");
  thoughts.append(...side.thoughts.map((thought) => createElement("li", "text", thought)));
  const response = createElement("div", "response");
  response.append(createElement("h3", "", "Response"), createElement("div", "text", side.response));
  box.replaceChildren(createElement("h3", "", "Thoughts"), thoughts, response);
}

function drawChoice(question, value, label, title) {
  const box = createElement("label");
  const input = createElement("input");
  const checked = answersOf(data.items[place])[question] === value;
  Object.assign(input, { type: "radio", name: question, value, checked });
  input.addEventListener("change", () => answer(question, value));
  input.addEventListener("focus", () => mark(questions.indexOf(question)));
  box.title = title;
  box.append(input, createElement("span", "", label));
  return box;
}

function drawQuestion(question, label, choices) {
  const field = createElement("fieldset");
  field.dataset.question = question;
  field.setAttribute("aria-label", label);
  field.append(...choices.map(([value, text, title]) => drawChoice(question, value, text, title)));
  return field;
}

const scores = [["1", "1", "worst"], ["2", "2", ""], ["3", "3", ""], ["4", "4", ""], ["5", "5", "best"]];
const preferences = [["left", "Left", ""], ["tie", "Tie", ""], ["right", "Right", ""]];

function drawMetric(metric) {
  const name = createElement("strong", "", metric.name.replaceAll("_", " "));
  const heading = createElement("div", "metric");
  heading.append(name, createElement("small", "", metric.definition));
  const fields = SIDES.map((side) =>
    drawQuestion(`${side}.${metric.name}`, `${metric.name}, ${side}`, scores),
  );
  return [heading, ...fields];
}

function drawQuestions() {
  const headings = [
    createElement("div", "metric heading"),
    createElement("div", "heading", "Left"),
    createElement("div", "heading", "Right"),
  ];
  const rows = data.metrics.flatMap(drawMetric);
  byId("questions").replaceChildren(...headings, ...rows, drawPreference(), drawComment());
}

function drawPreference() {
  const box = createElement("div", "whole");
  const field = drawQuestion("preferred", "which is better", preferences);
  box.append(createElement("strong", "", "Which is better?"), field);
  return box;
}

function drawComment() {
  const box = createElement("div", "whole");
  const comment = createElement("textarea");
  const value = answersOf(data.items[place]).comment ?? "";
  Object.assign(comment, { id: "comment", placeholder: "Comment (optional)", value, rows: 1 });
  comment.addEventListener("input", () => answer("comment", comment.value));
  box.append(comment);
  return box;
}

function showItem(index) {
  place = Math.max(0, Math.min(data.items.length - 1, index));
  const item = data.items[place];
  byId("prompt").textContent = item.prompt;
  drawSide(byId("left"), item.left);
  drawSide(byId("right"), item.right);
  drawQuestions();
  const open = questions.findIndex((question) => !answersOf(item)[question]);
  mark(open < 0 ? 0 : open);
  showProgress();
  window.scrollTo(0, 0);
}

function showProgress() {
  const done = data.items.filter(isDone).length;
  const item = data.items[place];
  byId("progress").value = done;
  byId("done").textContent = `${done} of ${data.items.length} done`;
  byId("place").textContent = `Item ${place + 1} of ${data.items.length}${isDone(item) ? " ✓" : ""}`;
  byId("place").className = isDone(item) ? "complete" : "";
}

function mark(index) {
  marked = Math.max(0, Math.min(questions.length - 1, index));
  for (const field of document.querySelectorAll("fieldset")) {
    field.classList.toggle("marked", field.dataset.question === questions[marked]);
  }
  byId("asked").textContent = describeQuestion(questions[marked]);
}

function describeQuestion(question) {
  const [side, name] = question.split(".");
  const metric = data.metrics.find((metric) => metric.name === name);
  if (!metric) return "Which is better? Press l, r or t";
  return `${side} · ${name.replaceAll("_", " ")}: ${metric.definition}`;
}

function answer(question, value) {
  answersOf(data.items[place])[question] = value;
  saveState();
  showProgress();
}

function press(question, value) {
  const field = document.querySelector(`fieldset[data-question="${question}"]`);
  field.querySelector(`input[value="${value}"]`).checked = true;
  answer(question, value);
  mark(questions.indexOf(question) + 1);
}

function pressScore(digit) {
  if (questions[marked] !== "preferred") press(questions[marked], digit);
}

function showFirstOpen() {
  const open = data.items.findIndex((item) => !isDone(item));
  showItem(open < 0 ? place : open);
}

function togglePolicies() {
  byId("policies").hidden = !byId("policies").hidden;
  byId("toggle-policies").setAttribute("aria-expanded", String(!byId("policies").hidden));
}

function showPage(page) {
  document.activeElement.blur(); // a hidden element must not take the next key
  byId("start").hidden = page !== "start";
  byId("work").hidden = page !== "work";
}

function ratingRow(item, side) {
  const answers = answersOf(item);
  const row = { review_id: data.review_id, item_id: item.item_id, side, rater: state.rater };
  for (const metric of data.metrics) row[metric.name] = answers[`${side}.${metric.name}`] ?? "";
  row.preferred = answers.preferred ?? "";
  row.comment = side === "left" ? (answers.comment ?? "") : ""; // once per item
  return row;
}

function ratingRows() {
  const items = data.items.filter(isTouched);
  return items.flatMap((item) => SIDES.map((side) => ratingRow(item, side)));
}

function toCsv(rows) {
  const quote = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const lines = rows.map((row) => data.columns.map((column) => row[column]));
  return [data.columns, ...lines].map((cells) => cells.map(quote).join(",")).join("\r\n");
}

function download(extension, text, type) {
  const link = createElement("a");
  const rater = state.rater ? `-${state.rater.replace(/[^A-Za-z0-9]+/g, "_")}` : "";
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = `${data.review_id}${rater}.${extension}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

const keys = {
  1: () => pressScore("1"),
  2: () => pressScore("2"),
  3: () => pressScore("3"),
  4: () => pressScore("4"),
  5: () => pressScore("5"),
  l: () => press("preferred", "left"),
  r: () => press("preferred", "right"),
  t: () => press("preferred", "tie"),
  j: () => mark(marked + 1),
  k: () => mark(marked - 1),
  n: () => showItem(place + 1),
  p: () => showItem(place - 1),
  u: showFirstOpen,
  c: () => byId("comment").focus(),
  o: togglePolicies,
  h: () => showPage("start"),
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.activeElement.blur();
  const isWriting = event.target.matches("textarea, input:not([type=radio])");
  const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
  if (byId("work").hidden || isWriting || hasModifier || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});

byId("rater").value = state.rater;
byId("rater").addEventListener("input", () => {
  state.rater = byId("rater").value.trim();
  saveState();
});
byId("rater").addEventListener("keydown", (event) => {
  if (event.key === "Enter") byId("begin").click();
});
byId("begin").addEventListener("click", () => {
  showPage("work");
  showFirstOpen();
});
byId("next").addEventListener("click", () => showItem(place + 1));
byId("previous").addEventListener("click", () => showItem(place - 1));
byId("toggle-policies").addEventListener("click", togglePolicies);
byId("help").addEventListener("click", () => showPage("start"));
byId("csv").addEventListener("click", () => download("csv", toCsv(ratingRows()), "text/csv"));
byId("json").addEventListener("click", () => {
  download("json", JSON.stringify(ratingRows(), null, 1), "application/json");
});
byId("questions").addEventListener("submit", (event) => event.preventDefault());
