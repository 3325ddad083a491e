"use strict";
page(async () => {
  const { groups, models, cells } = await load("index");
  const rows = new Map(models.map((model) => [model.id, { ...model, cells: new Map() }]));
  for (const [group, model, value, low, high, best, marks] of cells) rows.get(model).cells.set(group, { values: [value, low, high], best, marks });
  // Columns that order most of the models come first; `place` is what cells name.
  const order = groups.map((group, place) => [group, place]).sort((a, b) => b[0].results - a[0].results || a[1] - b[1]);
  const columns = [
    { key: "model", title: "Model", first: true, value: (row) => row.label, cell: (row) => modelLink(row.id, row.label) },
    ...order.map(([group, place]) => ({
      key: `g${place}`, title: `${group.task} ${group.metric.short}`, number: true, ascending: !group.metric.higher, group,
      hint: `sort by ${group.metric.name}`,
      extra: () => h("div", { class: "where" }, taskLink(group.id, where(group))),
      value: (row) => row.cells.get(place)?.values[0],
      cell: (row) => {
        const cell = row.cells.get(place);
        return cell ? [valueCell(group.metric, cell.values, cell.best), cell.marks ? h("span", { class: "marks" }, cell.marks) : ""] : h("span", { class: "muted" }, MISSING);
      },
    })),
    { key: "parameters", title: "Parameters", number: true, value: (row) => row.parameters || null, cell: (row) => parameters(row.parameters) },
    { key: "seconds", title: "Time / 1,000 samples", hint: "over all results of the model", number: true, ascending: true, value: (row) => row.seconds, cell: (row) => duration(row.seconds) },
  ];
  const [first, fullest] = order[0];
  const table = makeTable({ caption: "Models by tasks", columns, rows: [...rows.values()], sort: { key: `g${fullest}`, down: first.metric.higher } });
  const state = { text: "", task: "", dataset: "" };
  const apply = () => {
    for (const column of columns) {
      if (column.group) column.hidden = (state.task && column.group.task !== state.task) || (state.dataset && column.group.dataset !== state.dataset);
    }
    const open = columns.filter((column) => column.group && !column.hidden);
    table.filter((row) => row.label.toLowerCase().includes(state.text) && open.some((column) => column.value(row) !== undefined));
    table.refresh();
  };
  const search = h("input", { type: "search", placeholder: "part of a name" });
  search.addEventListener("input", paused(() => { state.text = search.value.trim().toLowerCase(); apply(); }));
  const choices = (key, every) => select([["", every], ...[...new Set(groups.map((group) => group[key]))].sort().map((name) => [name, name])], (value) => { state[key] = value; apply(); });
  return {
    nodes: [
      h("p", { class: "lead" }, `${models.length} models, ${groups.length} tables of one signature each, ${cells.length} results.`),
      h("div", { class: "controls" }, field("Model", search), field("Task", choices("task", "all tasks")), field("Dataset", choices("dataset", "all datasets"))),
      table.node,
      h("p", { class: "muted" }, h("span", { class: "value best" }, h("span", { class: "point" }, "highlighted")), ": the best of its column, and every other that a paired test does not tell from it (Holm, 5 %). Letters after a value (P, L, R, F, T, U) are explained on the page of the model."),
    ],
  };
});
