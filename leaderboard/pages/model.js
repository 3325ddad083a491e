"use strict";
function bars(model) {
  const rows = model.results.map((result) => {
    const metric = result.metrics.find((one) => one.name === result.group.metric.name);
    return { result, metric, value: metric.value };
  }).filter((row) => row.value[0] !== null);
  if (!rows.length) return null;
  const percent = { factor: 100, decimals: 0, percent: true };
  // Scores of different scales share no axis: what is no share is shown as a share of the best in its table.
  return trackChart({
    title: "Primary metric of each task: shares as they are, other scales as a share of the best result of their table", metric: percent, bar: true, domain: [0, 1],
    rows: rows.map(({ result, metric, value }) => {
      const by = metric.percent ? 1 : result.top || 1;
      const scaled = (end) => (end === null ? null : end / by);
      return { label: taskLink(result.group.id, `${result.group.task} ${metric.short}`), marks: [{ value: scaled(value[0]), low: scaled(value[1]), high: scaled(value[2]) }], note: [shown(metric, value[0]), " ", h("span", { class: "interval" }, interval(metric, value[1], value[2]))] };
    }),
  });
}

function resultSection(result) {
  const columns = [
    { key: "name", title: "Metric", first: true, value: (row) => row.name, cell: (row) => row.name },
    { key: "value", title: "Value", number: true, value: (row) => row.value[0], cell: (row) => (row.value[0] === null ? h("span", {}, `${MISSING} ${row.reason ?? ""}`) : valueCell(row, row.value)) },
  ];
  const command = h("code", {}, result.command);
  const copy = h("button", { type: "button", onclick: () => { navigator.clipboard?.writeText(result.command).then(() => { copy.textContent = "Copied"; }, () => { copy.textContent = "Please copy by hand"; }); } }, "Copy");
  return section(`${result.group.task} · ${where(result.group)}`,
    h("p", {}, `Place ${result.place} of ${result.group.results} in `, taskLink(result.group.id, "its table"), result.best ? ", among the best" : "", ". ", h("a", { href: `samples.html?group=${result.group.id}&result=${result.id}` }, "Browse its samples"), "."),
    Object.keys(result.marks).length ? h("ul", { class: "notes" }, Object.entries(result.marks).map(([mark, text]) => h("li", {}, h("span", { class: "marks" }, mark), " ", text))) : null,
    h("h3", {}, "How to reproduce"), h("pre", { tabindex: "0" }, command), copy,
    h("details", {}, h("summary", {}, `${result.metrics.length} ${result.metrics.length === 1 ? "metric" : "metrics"}`), makeTable({ caption: `Metrics of ${result.group.task}`, columns, rows: result.metrics }).node),
    h("details", {}, h("summary", {}, "Provenance, cost and environment"),
      facts([["Signature", h("code", {}, result.group.signature)], ["Made", result.created], ["Samples", `${result.samples.attempted} attempted, ${result.samples.failed} failed`], ["Prompt", result.prompt],
        ...result.samples.failures.map((line) => ["Failure", line]), ...result.notes.map((line) => ["Note", line]),
        ...[["Cost", result.cost], ["Setting", result.settings], ["Environment", result.environment]].flatMap(([title, values]) => Object.entries(values).map(([key, value]) => [`${title}: ${key}`, String(value)]))])));
}

page(async () => {
  const model = await load(`model-${required("id")}`);
  return {
    heading: model.label,
    nodes: [
      facts([["Adapter", model.adapter], ["Checkpoint", model.checkpoint], ["Fingerprint", h("code", {}, model.fingerprint)], ["Parameters", parameters(model.parameters)], ["Precision", model.dtype], ["Provenance", model.provenance], ["Revision", model.revision], ["Trained on", model.trained_on.join(", ")], ["Weights", model.random_weights ? "random: its scores say nothing about a trained model" : null]]),
      section("Over the tasks", bars(model)),
      ...model.results.map(resultSection),
    ],
  };
});
