"use strict";
const SHOWN = 24;

page(async () => {
  const group = await load(`group-${required("group")}`);
  const entry = group.entries.find((one) => one.id === identifier("result")) ?? group.entries.find((one) => one.parts);
  if (!entry?.parts) throw new Error("the result has no samples here");
  const list = h("ul", { class: "cards" });
  const status = h("p", { class: "status", role: "status" });
  const more = h("button", { type: "button", class: "more" }, "Show more");
  const state = { text: "", score: "", slice: "", part: 0, row: 0, turn: 0 };

  const right = (score) => score !== null && (group.metric.percent ? score >= 1 : false);
  const tests = {
    "": () => true,
    right: (sample) => right(sample.score),
    partly: (sample) => sample.score > 0 && !right(sample.score),
    wrong: (sample) => sample.score === 0,
    failed: (sample) => sample.failed !== "",
  };

  const sampleAt = (part, truths, i) => ({
    id: part.ids[i], image: part.images[i], failed: part.failed[i], score: part.scores[i], answer: part.answers[i],
    slices: Object.entries(part.slices).map(([kind, values]) => [kind, values[i]]).filter(([, value]) => value !== null && value !== ""),
    ...(truths?.[i] ?? {}),
  });

  const matches = (sample) => tests[state.score](sample)
    && (!state.slice || sample.slices.some(([kind, value]) => `${kind}: ${value}` === state.slice))
    && (!state.text || [sample.id, sample.image, sample.question, ...(sample.references ?? []), sample.answer].join("\n").toLowerCase().includes(state.text));

  const card = (sample) => h("li", { class: "card" }, pictures(sample, `picture ${sample.image}`),
    h("div", { class: "card-body" }, truthParts(sample),
      h("div", { class: "answer" }, h("p", { class: "who" }, h("span", { class: "tag" }, "answer"), " ", entry.label, h("span", { class: "score" }, shown(group.metric, sample.score))), h("p", {}, sample.answer || "(no answer)")),
      sample.failed ? h("p", { class: "alert" }, `failed: ${sample.failed}`) : null,
      h("p", { class: "muted small" }, `sample ${sample.id}, image ${sample.image}`, sample.slices.map(([kind, value]) => ` · ${kind}: ${value}`).join(""))));

  /** Show the next matching samples, loading parts until there are enough of them. */
  async function next() {
    const turn = state.turn;
    let found = 0;
    while (state.part < entry.parts && found < SHOWN) {
      const [part, truths] = await Promise.all([load(`samples-${entry.id}-${state.part}`), group.shown ? load(`truth-${group.id}-${state.part}`) : null]);
      if (turn !== state.turn) return;
      for (; state.row < part.ids.length && found < SHOWN; state.row += 1) {
        const sample = sampleAt(part, truths, state.row);
        if (matches(sample)) { list.append(card(sample)); found += 1; }
      }
      if (state.row >= part.ids.length) { state.part += 1; state.row = 0; }
      status.textContent = `${list.children.length} samples shown, of the first ${Math.round((100 * (state.part + state.row / part.ids.length)) / entry.parts)} %`;
    }
    more.hidden = state.part >= entry.parts;
    if (more.hidden) status.textContent = list.children.length ? `${list.children.length} samples, all that match` : "No sample matches.";
  }

  function restart() {
    Object.assign(state, { part: 0, row: 0, turn: state.turn + 1 });
    list.replaceChildren();
    return next();
  }

  more.addEventListener("click", next);
  const search = h("input", { type: "search", placeholder: "words, or an id" });
  search.addEventListener("input", paused(() => { state.text = search.value.trim().toLowerCase(); restart(); }));
  const model = select(group.entries.filter((one) => one.parts).map((one) => [one.id, one.label]), (id) => { location.search = `?group=${group.id}&result=${id}`; });
  model.value = entry.id;
  const first = await load(`samples-${entry.id}-0`);
  const slices = Object.entries(first.slices).flatMap(([kind, values]) => [...new Set(values)].filter((value) => value !== null).map((value) => `${kind}: ${value}`)).sort();
  const scores = [["", "all"], ...(group.metric.percent ? [["right", "right"]] : []), ["partly", group.metric.percent ? "partly right" : "above 0"], ["wrong", group.metric.percent ? "wrong" : "0"], ["failed", "failed"]];
  await restart();
  return {
    heading: `Samples of ${entry.label}`,
    nodes: [
      h("p", {}, taskLink(group.id, `${group.task} · ${where(group)}`), "; scores are ", group.metric.name, group.metric.percent ? ", in percent" : ""),
      group.shown ? null : h("p", { class: "muted" }, "Questions, references and pictures of this dataset are not in this site: its terms do not allow it, or it was not at hand. `vlbench leaderboard serve --data ROOT` shows them on your own machine."),
      h("div", { class: "controls" }, field("Search", search), field("Model", model), field("Score", select(scores, (value) => { state.score = value; restart(); })),
        slices.length ? field("Slice", select([["", "all"], ...slices.map((text) => [text, text])], (value) => { state.slice = value; restart(); })) : null),
      status, list, more,
    ],
  };
});
