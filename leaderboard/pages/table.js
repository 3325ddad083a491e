"use strict";
// A native table that sorts by its headings and shows its rows in steps.
const STEP = 50;

/**
 * columns: [{key, title, hint, value(row), cell(row), number, first, ascending, hidden}]; `first` makes a row heading.
 * Missing values come last in either direction.
 */
function makeTable({ caption, columns, rows, sort, step = STEP }) {
  let order = sort ?? null;
  let kept = rows;
  let limit = step;
  const status = h("p", { class: "status", role: "status" });
  const head = h("tr");
  const body = h("tbody");
  const more = h("button", { type: "button", class: "more", onclick: () => { limit += 4 * step; fill(); } }, "Show more");
  const table = h("table", {}, h("caption", { class: "sr" }, caption), h("thead", {}, head), body);
  const frame = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);

  function headings() {
    head.replaceChildren(...columns.filter((c) => !c.hidden).map((column) => {
      const active = order?.key === column.key;
      const direction = active ? (order.down ? "descending" : "ascending") : "none";
      const button = h("button", { type: "button", class: "sort", title: column.hint, onclick: () => sortBy(column) },
        column.title, h("span", { class: "arrow", "aria-hidden": "true" }, active ? (order.down ? "▼" : "▲") : "↕"));
      const parts = column.value ? [button] : [column.title];
      return h("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": column.value ? direction : null }, parts, column.extra?.());
    }));
  }

  function sortBy(column) {
    const same = order?.key === column.key;
    order = { key: column.key, down: same ? !order.down : column.number && !column.ascending };
    headings();
    fill();
    head.querySelectorAll("button.sort")[columns.filter((c) => !c.hidden && c.value).indexOf(column)]?.focus();
  }

  function sorted() {
    const column = columns.find((one) => one.key === order?.key);
    if (!column) return kept;
    const sign = order.down ? -1 : 1;
    const missing = (value) => value === null || value === undefined;
    return kept.map((row, place) => [column.value(row), place, row]).sort((a, b) => {
      if (missing(a[0]) || missing(b[0])) return missing(a[0]) - missing(b[0]) || a[1] - b[1];
      return sign * (typeof a[0] === "string" ? a[0].localeCompare(b[0]) : a[0] - b[0]) || a[1] - b[1];
    }).map((item) => item[2]);
  }

  function fill() {
    const shownRows = sorted().slice(0, limit);
    const visible = columns.filter((c) => !c.hidden);
    body.replaceChildren(...shownRows.map((row) => h("tr", {}, visible.map((column) => {
      const kind = column.number ? "number" : null;
      return column.first ? h("th", { scope: "row" }, column.cell(row)) : h("td", { class: kind }, column.cell(row));
    }))));
    more.hidden = kept.length <= limit;
    status.textContent = kept.length === rows.length && kept.length <= limit ? rows.length === 1 ? "1 row" : `${rows.length} rows`
      : `${Math.min(limit, kept.length)} of ${kept.length} rows shown` + (kept.length < rows.length ? `, ${rows.length} in all` : "");
  }

  function filter(test) { kept = rows.filter(test); limit = step; fill(); }
  function refresh() { headings(); fill(); }

  refresh();
  return { node: h("div", { class: "table" }, status, frame, more), filter, refresh };
}
