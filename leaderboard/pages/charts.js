"use strict";
// Charts. Those along one axis are elements placed by percent, so that their texts keep their size on a phone.
// Every chart has its numbers in a table beside it or in its own texts.

function extent(values, zero) {
  const there = values.filter((value) => value !== null && value !== undefined);
  let low = zero ? Math.min(0, ...there) : Math.min(...there);
  let high = Math.max(...there);
  if (high === low) { high += 0.5 * Math.abs(high) || 1; if (!zero) low -= 0.5 * Math.abs(low) || 1; }
  const pad = zero ? 0 : 0.04 * (high - low);
  // Shares have ends of their own: an axis to 104 % would look like a mistake.
  const share = there.every((value) => value >= 0 && value <= 1);
  return share ? [Math.max(0, low - pad), Math.min(1, high + pad)] : [low - pad, high + pad];
}

const percentOf = ([low, high], value) => `${Math.max(0, Math.min(100, (100 * (value - low)) / (high - low)))}%`;

function placed(node, styles) {
  Object.assign(node.style, styles);
  return node;
}

/** rows: [{label (node or text), marks: [{value, low, high, series, best}], note}]; bar: whether values start at zero. */
function trackChart({ title, metric, rows, bar = false, domain, zero = bar, line }) {
  const all = rows.flatMap((row) => row.marks.flatMap((mark) => [mark.value, mark.low, mark.high]));
  const span = domain ?? extent(all, zero);
  const body = rows.map((row) => h("div", { class: "track-row" },
    h("div", { class: "track-label" }, row.label),
    h("div", { class: "track", "aria-hidden": "true" },
      line === undefined ? null : placed(h("div", { class: "zero" }), { left: percentOf(span, line) }),
      row.marks.filter((mark) => mark.value !== null).map((mark) => {
        const parts = [];
        if (bar) parts.push(placed(h("div", { class: `bar s${mark.series ?? 0}` }), { width: percentOf(span, mark.value) }));
        if (mark.low !== null && mark.low !== undefined) {
          parts.push(placed(h("div", { class: `range s${mark.series ?? 0}` }), { left: percentOf(span, mark.low), right: `${100 - parseFloat(percentOf(span, mark.high))}%` }));
        }
        if (!bar) parts.push(placed(h("div", { class: `dot s${mark.series ?? 0}${mark.best ? " best" : ""}` }), { left: percentOf(span, mark.value) }));
        return parts;
      })),
    h("div", { class: "track-value" }, row.note)));
  return h("figure", { class: "chart" }, h("figcaption", {}, title),
    h("div", { class: "tracks" }, body,
      h("div", { class: "track-row axis", "aria-hidden": "true" }, h("div", { class: "track-label" }),
        h("div", { class: "ends" }, h("span", {}, shown(metric, span[0]) + unit(metric)), h("span", {}, shown(metric, span[1]) + unit(metric))),
        h("div", { class: "track-value" }))));
}

/** Points that no other point beats in both: cheaper and at least as good. */
function paretoFront(points, higher) {
  const better = (a, b) => (higher ? a > b : a < b);
  let best = null;
  return [...points].sort((a, b) => a.x - b.x || (higher ? b.y - a.y : a.y - b.y))
    .filter((point) => (best === null || better(point.y, best) ? ((best = point.y), true) : false));
}

function ticks(low, high, log) {
  if (log) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
      for (const step of Math.log10(high / low) < 1.5 ? [1, 2, 5] : [1]) {
        const value = step * 10 ** power;
        if (value >= low && value <= high) found.push(value);
      }
    }
    return found;
  }
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= 0.8 * rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
  return found;
}

/** Quality against cost; points: [{x, y, low, high, label}], x on a logarithmic axis. Drawn anew when its width changes. */
function scatterChart({ title, metric, xTitle, xShown, points, higher }) {
  const box = h("div", { class: "scatter" });
  const front = paretoFront(points, higher);
  const names = front.map((point) => point.label).join(", ");
  const draw = (width) => {
    const height = Math.max(260, Math.min(400, 0.5 * width));
    const [left, right, top, bottom] = [52, 16, 14, 46];
    const xs = points.map((point) => point.x);
    const [x0, x1] = [Math.min(...xs) / 1.6, Math.max(...xs) * 1.6];
    const [y0, y1] = extent(points.flatMap((point) => [point.y, point.low, point.high]), false);
    const x = (value) => left + ((width - left - right) * Math.log(value / x0)) / Math.log(x1 / x0);
    const y = (value) => height - bottom - ((height - top - bottom) * (value - y0)) / (y1 - y0);
    const grid = [
      ...ticks(y0 * metric.factor, y1 * metric.factor, false).map((tick) => h("g", {},
        h("line", { class: "grid", x1: left, x2: width - right, y1: y(tick / metric.factor), y2: y(tick / metric.factor) }),
        h("text", { x: left - 8, y: y(tick / metric.factor) + 4, "text-anchor": "end" }, String(Number(tick.toPrecision(4)))))),
      ...ticks(x0, x1, true).map((tick) => h("g", {},
        h("line", { class: "grid", x1: x(tick), x2: x(tick), y1: top, y2: height - bottom }),
        h("text", { x: x(tick), y: height - bottom + 18, "text-anchor": "middle" }, xShown(tick)))),
      h("text", { class: "axis-title", x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, xTitle),
    ];
    const path = front.map((point, i) => (i ? `H${x(point.x)}V${y(point.y)}` : `M${x(point.x)} ${y(point.y)}`)).join("") + `H${width - right}`;
    const marks = points.map((point) => {
      const onFront = front.includes(point);
      const near = x(point.x) > width * 0.7;
      return h("g", { class: onFront ? "on-front" : "" },
        point.low === null ? null : h("line", { class: "whisker", x1: x(point.x), x2: x(point.x), y1: y(point.low), y2: y(point.high) }),
        h("circle", { cx: x(point.x), cy: y(point.y), r: 5 }, h("title", {}, `${point.label}: ${shown(metric, point.y)}${unit(metric)}, ${xShown(point.x)}`)),
        onFront || points.length <= 8 ? h("text", { class: "name", x: x(point.x) + (near ? -9 : 9), y: y(point.y) - 8, "text-anchor": near ? "end" : "start" }, point.label) : null);
    });
    box.replaceChildren(h("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}. On the front: ${names}.` }, grid, h("path", { class: "front", d: path }), marks));
  };
  new ResizeObserver((entries) => { const width = Math.floor(entries[0].contentRect.width); if (width > 0) draw(width); }).observe(box);
  return h("figure", { class: "chart" }, h("figcaption", {}, title), box,
    h("p", { class: "muted" }, `Line: the best that each cost buys (${names}).`));
}
