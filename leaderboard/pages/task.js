"use strict";
function ranking(group) {
  const compared = new Map(group.comparisons.flatMap(([a, b, id]) => [[`${a} ${b}`, id], [`${b} ${a}`, id]]));
  const leader = group.entries[0];
  const columns = [
    { key: "rank", title: "#", number: true, ascending: true, value: (row) => row.rank, cell: (row) => String(row.rank) },
    { key: "model", title: "Model", first: true, value: (row) => row.label, cell: (row) => [modelLink(row.model, row.label), row.marks ? h("span", { class: "marks" }, row.marks) : ""] },
    ...group.metrics.map((metric, place) => ({
      key: metric.name, title: metric.short, hint: `sort by ${metric.name}`, number: true,
      value: (row) => row.values[place][0],
      cell: (row) => valueCell(metric, row.values[place], metric.name === group.metric.name && row.best),
    })),
    { key: "p", title: "p (leader)", hint: "paired test against the first, adjusted by Holm", number: true, ascending: true, value: (row) => row.p, cell: (row) => {
      const id = compared.get(`${row.id} ${leader.id}`);
      return id ? h("a", { href: `compare.html?id=${id}`, "aria-label": `p ${p(row.p)}, compare ${row.label} with ${leader.label}` }, p(row.p)) : p(row.p);
    } },
    { key: "parameters", title: "Parameters", number: true, value: (row) => row.parameters || null, cell: (row) => parameters(row.parameters) },
    { key: "seconds", title: "Time / 1,000", number: true, ascending: true, value: (row) => row.seconds, cell: (row) => duration(row.seconds) },
    { key: "memory", title: "Memory", number: true, ascending: true, value: (row) => row.memory, cell: (row) => (row.memory ? `${row.memory} MiB` : MISSING) },
    { key: "samples", title: "Samples", cell: (row) => (row.parts ? h("a", { href: `samples.html?group=${group.id}&result=${row.id}`, "aria-label": `samples of ${row.label}` }, "browse") : MISSING) },
  ];
  return makeTable({ caption: "Ranking", columns, rows: group.entries });
}

function rankingChart(group, place) {
  const rows = group.entries.filter((row) => row.values[place][0] !== null).slice(0, 20);
  if (!rows.length) return null;
  return trackChart({
    title: `${group.metric.name}${group.metric.percent ? ", percent" : ""}, with 95 % intervals${group.entries.length > 20 ? "; the first 20" : ""}`,
    metric: group.metric,
    rows: rows.map((row) => {
      const [value, low, high] = row.values[place];
      return { label: row.label, marks: [{ value, low, high, best: row.best }], note: [shown(group.metric, value), " ", h("span", { class: "interval" }, interval(group.metric, low, high))] };
    }),
  });
}

function costSection(group, place) {
  const costs = [["seconds", "seconds for 1,000 samples", duration], ["parameters", "parameters", parameters], ["memory", "peak memory, MiB", (value) => String(Number(value.toPrecision(3)))]];
  const holder = h("div");
  const there = (key) => group.entries.filter((row) => row[key] > 0 && row.values[place][0] !== null);
  const usable = costs.filter(([key]) => there(key).length > 1);
  if (!usable.length) return null;
  const draw = (key) => {
    const [, title, text] = costs.find((cost) => cost[0] === key);
    holder.replaceChildren(scatterChart({
      title: `${group.metric.name} against ${title}`, metric: group.metric, xTitle: title, xShown: text, higher: group.metric.higher,
      points: there(key).map((row) => ({ x: row[key], y: row.values[place][0], low: row.values[place][1], high: row.values[place][2], label: row.label })),
    }));
  };
  draw(usable[0][0]);
  return section("Quality against cost", h("div", { class: "controls" }, field("Cost", select(usable, draw))), holder);
}

const SERIES = 5;

function slicesSection(group, slices) {
  if (!slices.kinds.length) return null;
  const holder = h("div");
  const draw = (kind) => {
    const found = slices.kinds.find((one) => one.kind === kind);
    const rows = found.rows.slice(0, SERIES);
    const marks = (i) => rows.map((row, series) => ({ value: row.values[i][0], low: row.values[i][1], high: row.values[i][2], series }));
    const parts = found.parts.map((part, i) => ({ part, count: found.counts[i], marks: marks(i) })).sort((a, b) => b.count - a.count);
    const columns = [
      { key: "part", title: kind, first: true, value: (row) => row.part, cell: (row) => row.part },
      { key: "count", title: "Samples", number: true, value: (row) => row.count, cell: (row) => String(row.count) },
      ...rows.map((row, series) => ({ key: `r${series}`, title: group.entries[row.entry].label, number: true, value: (one) => one.marks[series].value, cell: (one) => valueCell(group.metric, [one.marks[series].value, one.marks[series].low, one.marks[series].high]) })),
    ];
    holder.replaceChildren(
      h("ul", { class: "legend" }, rows.map((row, series) => h("li", {}, h("span", { class: `dot s${series}`, "aria-hidden": "true" }), group.entries[row.entry].label))),
      trackChart({ title: `${group.metric.name} by ${kind}`, metric: group.metric, zero: true, rows: parts.map((one) => ({ label: `${one.part} (${one.count})`, marks: one.marks, note: "" })) }),
      h("details", {}, h("summary", {}, "The same as a table"), makeTable({ caption: `${group.metric.name} by ${kind}`, columns, rows: parts }).node));
  };
  draw(slices.kinds[0].kind);
  const control = slices.kinds.length > 1 ? h("div", { class: "controls" }, field("Slice", select(slices.kinds.map((one) => [one.kind, one.kind]), draw))) : null;
  return section("By slice", control, holder);
}

function comparisonsSection(group) {
  if (!group.comparisons.length) return null;
  const labels = new Map(group.entries.map((row) => [row.id, row.label]));
  return section("Comparisons", h("ul", { class: "links" }, group.comparisons.map(([a, b, id]) => h("li", {}, h("a", { href: `compare.html?id=${id}` }, `${labels.get(a)} → ${labels.get(b)}`)))));
}

page(async () => {
  const id = required("id");
  const [group, slices] = await Promise.all([load(`group-${id}`), load(`slices-${id}`)]);
  group.entries.forEach((entry, place) => { entry.rank = place + 1; });
  const place = group.metrics.findIndex((metric) => metric.name === group.metric.name);
  const table = ranking(group);
  const search = h("input", { type: "search", placeholder: "part of a name" });
  search.addEventListener("input", paused(() => table.filter((row) => row.label.toLowerCase().includes(search.value.trim().toLowerCase()))));
  return {
    heading: `${group.task} · ${where(group)}`,
    nodes: [
      h("p", { class: "lead" }, group.title),
      h("p", {}, h("code", { class: "signature" }, group.signature)),
      section("Ranking", rankingChart(group, place), group.entries.length > 10 ? h("div", { class: "controls" }, field("Model", search)) : null, table.node,
        group.legend.length ? h("ul", { class: "notes" }, group.legend.map((line) => h("li", {}, line))) : null),
      costSection(group, place),
      slicesSection(group, slices),
      comparisonsSection(group),
      group.others.length ? section("Other tables of this task", h("p", { class: "muted" }, "Their signature differs, so their numbers do not belong beside these."), h("ul", { class: "links" }, group.others.map((other) => h("li", {}, taskLink(other.id, other.title))))) : null,
    ],
  };
});
