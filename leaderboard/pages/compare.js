"use strict";
function verdict(found, higher) {
  const [a, b] = found.labels;
  const one = found.primary;
  if (!one) return "The samples do not give the primary metric, so nothing can be said about it.";
  const better = higher ? one.difference > 0 : one.difference < 0;
  const size = `${signed(one, one.difference)}${one.percent ? " points" : ""}`;
  if (one.adjusted >= 0.05 || one.difference === 0) return `No difference in ${one.name} is shown between ${a} and ${b}: ${size}, p ${p(one.adjusted)}.`;
  return `${b} is ${better ? "better" : "worse"} than ${a} in ${one.name}: ${size}, p ${p(one.adjusted)}.`;
}

function detectable(one) {
  return one.detectable ? ` On these samples a true difference of ${(one.detectable * one.factor).toPrecision(3)}${one.percent ? " points" : ""} is found four times in five.` : "";
}

function differences(title, found, rows, note) {
  if (!rows.length) return null;
  const columns = [
    { key: "name", title: "Metric", first: true, value: (row) => row.name, cell: (row) => row.name },
    { key: "first", title: "A", number: true, value: (row) => row.first, cell: (row) => shown(row, row.first) },
    { key: "second", title: "B", number: true, value: (row) => row.second, cell: (row) => shown(row, row.second) },
    { key: "difference", title: "B − A", number: true, value: (row) => row.difference, cell: (row) => h("span", { class: row.adjusted < 0.05 ? "point strong" : "point" }, signed(row, row.difference)) },
    { key: "ci", title: "95 % interval", number: true, cell: (row) => (row.ci95 ? h("span", { class: "interval" }, `[${signed(row, row.ci95[0])}, ${signed(row, row.ci95[1])}]`) : MISSING) },
    { key: "p", title: "p", number: true, ascending: true, value: (row) => row.p, cell: (row) => p(row.p) },
    { key: "adjusted", title: "Adjusted p", number: true, ascending: true, value: (row) => row.adjusted, cell: (row) => p(row.adjusted) },
  ];
  return section(title, h("p", { class: "muted" }, note), makeTable({ caption: title, columns, rows }).node);
}

function slicesChart(found) {
  const rows = found.exploratory.filter((row) => row.name.startsWith(`${found.metric.name}/`) && row.ci95).slice(0, 30);
  if (!rows.length) return null;
  return section("Differences by slice", trackChart({
    title: `B − A in ${found.metric.name}, 95 % intervals; the line is no difference`, metric: found.metric, zero: true, line: 0,
    rows: rows.map((row) => ({ label: row.name.slice(found.metric.name.length + 1), marks: [{ value: row.difference, low: row.ci95[0], high: row.ci95[1], best: row.adjusted < 0.05 }], note: signed(row, row.difference) })),
  }));
}

function flipCard(found, flip) {
  const answer = (i) => h("div", { class: "answer" }, h("p", { class: "who" }, h("span", { class: "tag" }, "AB"[i]), " ", found.labels[i], h("span", { class: "score" }, shown(found.metric, flip.scores[i]))), h("p", {}, flip.answers[i] || "(no answer)"));
  const better = flip.scores[1] > flip.scores[0] ? 1 : 0;
  return h("li", { class: "card" }, pictures(flip, flip.question ? `picture of sample ${flip.id}` : `picture ${flip.image}`),
    h("div", { class: "card-body" }, truthParts(flip), h("div", { class: "answers" }, answer(0), answer(1)), h("p", { class: "muted small" }, `sample ${flip.id}, image ${flip.image}; higher: ${"AB"[better]}`)));
}

function flipsSection(found) {
  const list = h("ul", { class: "cards" });
  const status = h("p", { class: "status", role: "status" });
  const more = h("button", { type: "button", class: "more" }, "Show more");
  const state = { text: "", side: "", limit: 12 };
  const texts = found.flips.map((flip) => [flip.id, flip.question, ...(flip.references ?? []), ...flip.answers].join("\n").toLowerCase());
  const draw = () => {
    const kept = found.flips.filter((flip, i) => texts[i].includes(state.text) && (!state.side || (flip.scores[1] > flip.scores[0]) === (state.side === "b")));
    list.replaceChildren(...kept.slice(0, state.limit).map((flip) => flipCard(found, flip)));
    more.hidden = kept.length <= state.limit;
    status.textContent = `${Math.min(kept.length, state.limit)} of ${kept.length} shown` + (found.flipped > found.flips.length ? `; of ${found.flipped} that differ this site has the ${found.flips.length} most changed` : "");
  };
  more.addEventListener("click", () => { state.limit += 24; draw(); });
  const search = h("input", { type: "search", placeholder: "words in question or answers" });
  search.addEventListener("input", paused(() => { state.text = search.value.trim().toLowerCase(); state.limit = 12; draw(); }));
  const sides = select([["", "all"], ["a", `A better (${found.better[0]})`], ["b", `B better (${found.better[1]})`]], (value) => { state.side = value; state.limit = 12; draw(); });
  draw();
  return section("Flipped samples", h("div", { class: "controls" }, field("Search", search), field("Which", sides)), status, list, more);
}

page(async () => {
  const found = await load(`compare-${required("id")}`);
  const group = await load(`group-${found.group}`);
  const options = group.comparisons.map(([a, b, id]) => {
    const name = (result) => group.entries.find((entry) => entry.id === result).label;
    return [id, `${name(a)} → ${name(b)}`];
  });
  const chooser = select(options, (id) => { location.search = `?id=${id}`; });
  chooser.value = found.id;
  return {
    heading: `${found.labels[0]} → ${found.labels[1]}`,
    nodes: [
      h("p", {}, taskLink(group.id, `${group.task} · ${where(group)}`)),
      h("ul", { class: "legend" }, found.labels.map((label, i) => h("li", {}, h("span", { class: "tag" }, "AB"[i]), " ", label))),
      h("p", { class: "verdict" }, verdict(found, group.metric.higher)),
      options.length > 1 ? h("div", { class: "controls" }, field("Comparison", chooser)) : null,
      found.primary ? differences("Primary metric", found, [found.primary], `Paired by sample, clustered by image; p by sign flips, adjusted by Holm over the comparisons of this table.${detectable(found.primary)}`) : null,
      found.flips.length ? flipsSection(found) : section("Flipped samples", h("p", {}, "The two give every sample the same score.")),
      slicesChart(found),
      differences("Exploratory", found, found.exploratory, "Other metrics and slices, adjusted by Benjamini and Hochberg: hints, not findings."),
    ],
  };
});
