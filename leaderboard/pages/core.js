"use strict";
// Shared by all pages: data, elements, numbers. Texts from results reach the document through textContent alone.
const waiting = new Map();

/** Called by every file of data/. */
function vlbenchData(name, value) {
  waiting.get(name)?.resolve(value);
}

/** Load data/NAME.js once; a promise of its value. */
function load(name) {
  if (!waiting.has(name)) {
    const entry = {};
    entry.promise = new Promise((resolve, reject) => { Object.assign(entry, { resolve, reject }); });
    waiting.set(name, entry);
    const script = document.createElement("script");
    script.src = `data/${name}.js`;
    script.onerror = () => entry.reject(new Error(`there is no ${name} in this site`));
    document.head.append(script);
  }
  return waiting.get(name).promise;
}

/** An id from the address; anything that is no id would name another file. */
function identifier(key) {
  const text = new URLSearchParams(location.search).get(key) ?? "";
  return /^[0-9a-f]{1,20}$/.test(text) ? text : null;
}

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "line", "rect", "circle", "text", "path", "title"]);

/** Make an element: h("a", {href, class, onclick}, "text", child…). */
function h(tag, attributes = {}, ...children) {
  const node = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

const MISSING = "–";
const number = (value, digits) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false });

/** A value as tables have it: factor and decimals of its metric. */
function shown(metric, value) {
  if (value === null || value === undefined) return MISSING;
  const scaled = value * metric.factor;
  if (metric.decimals === null) return Math.abs(scaled) >= 1000 ? scaled.toFixed(0) : String(Number(scaled.toPrecision(4)));
  return number(scaled, metric.decimals);
}

const signed = (metric, value) => (value > 0 ? "+" : value < 0 ? "−" : "±") + shown(metric, Math.abs(value));
const unit = (metric) => (metric.percent ? "%" : "");

function interval(metric, low, high) {
  return low === null || low === undefined ? "" : `[${shown(metric, low)}, ${shown(metric, high)}]`;
}

/** A value with its interval, for a cell. */
function valueCell(metric, [value, low, high], best) {
  const cell = h("span", { class: best ? "value best" : "value" }, h("span", { class: "point" }, shown(metric, value)));
  if (best) cell.append(h("span", { class: "sr" }, " (among the best)"));
  if (low !== null && low !== undefined) cell.append(" ", h("span", { class: "interval" }, interval(metric, low, high)));
  return cell;
}

function p(value) {
  if (value === null || value === undefined) return MISSING;
  return value < 0.001 ? "< 0.001" : value.toFixed(3);
}

function parameters(count) {
  if (!count) return MISSING;
  for (const [size, letter] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (count >= size) return `${Number((count / size).toPrecision(3))} ${letter}`;
  }
  return String(count);
}

const duration = (seconds) => (seconds === null || seconds === undefined ? MISSING : `${Number(seconds.toPrecision(3))} s`);
const taskLink = (group, text) => h("a", { href: `task.html?id=${group}` }, text);
const modelLink = (model, text) => h("a", { href: `model.html?id=${model}` }, text);
const where = (group) => [`${group.dataset} ${group.split}`, group.protocol, group.limit ? `first ${group.limit}` : null, group.exposure ? `trained on its ${group.exposure === "dataset" ? "dataset" : "images"}` : null].filter(Boolean).join(" · ");

/** Definition list of facts, those without a value left out. */
function facts(rows) {
  const there = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, there.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function section(title, ...children) {
  const id = `s-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), ...children);
}

/** A labelled control. */
function field(label, control) {
  return h("label", { class: "field" }, h("span", {}, label), control);
}

function select(options, onchange) {
  const control = h("select", {}, options.map(([value, text]) => h("option", { value }, text)));
  control.addEventListener("change", () => onchange(control.value));
  return control;
}

/** Call after typing has paused. */
function paused(action, wait = 150) {
  let timer = 0;
  return (...values) => { clearTimeout(timer); timer = setTimeout(() => action(...values), wait); };
}

/** The pictures of a sample, side by side; each opens in full size. */
function pictures(truth, alt) {
  const names = truth.pictures ?? [];
  if (!names.length) return h("div", { class: "nopicture" }, "no picture");
  return h("div", { class: "pictures" }, names.map((name, i) => h("a", { href: `pictures/${name}` },
    h("img", { src: `pictures/${name}`, alt: names.length > 1 ? `${alt}, ${i + 1} of ${names.length}` : alt, loading: "lazy", decoding: "async", width: 128, height: 128 }))));
}

/** Question and references of a sample. */
function truthParts(truth) {
  const parts = [];
  if (truth.question) parts.push(h("p", { class: "question" }, truth.question));
  if (truth.references?.length) {
    parts.push(h("p", { class: "references" }, h("span", { class: "tag" }, "reference"), " ", truth.references.join(" · ")));
  }
  return parts;
}

/** Run a page: `make` returns heading and nodes. */
async function page(make) {
  const content = document.getElementById("content");
  try {
    const { heading, nodes } = await make();
    if (heading) {
      document.getElementById("heading").textContent = heading;
      document.title = `${heading} · ${document.body.dataset.title}`;
    }
    content.replaceChildren(...nodes.filter(Boolean));
  } catch (error) {
    content.replaceChildren(h("p", { role: "alert", class: "alert" }, `This page cannot be shown: ${error.message}. `, h("a", { href: "index.html" }, "Back to the overview")));
  }
  content.removeAttribute("aria-busy");
}

function required(key) {
  const id = identifier(key);
  if (id === null) throw new Error("its address names nothing");
  return id;
}
