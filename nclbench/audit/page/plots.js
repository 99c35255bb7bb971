"use strict";
// Six pictures of one direction: the reference in orange and dashed, the chosen scores in blue and full.
const BEFORE = "#d98200", AFTER = "#0b6bb5", CHANCE = "#7a7a7a";

function ratios(state, fair) { return state.items.p ? state.items.p.map(p => p === null ? null : p / fair) : []; }
function defined(values) { return values.filter(value => value !== null && Number.isFinite(value)); }

function lorenz(counts) {
  const sorted = [...counts].sort((a, b) => a - b), total = sorted.reduce((a, b) => a + b, 0) || 1;
  const x = [0], y = [0];
  let sum = 0;
  sorted.forEach((count, at) => { sum += count; x.push((at + 1) / sorted.length); y.push(sum / total); });
  return { x, y };
}

function histogram(counts) {
  const found = [];
  counts.forEach(count => { found[count] = (found[count] || 0) + 1; });
  return Array.from(found, value => value || 0);
}

function drawPlots(d, reference, current, listItem, listQuery) {
  const style = getComputedStyle(document.documentElement), read = name => style.getPropertyValue(name).trim();
  const same = reference === current;
  const shown = same ? [[reference, BEFORE, "dash"]] : [[reference, BEFORE, "dash"], [current, AFTER, "solid"]];
  const label = text => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const name = at => label(d.items.title[at] ? `${d.items.title[at]} (${d.items.id[at]})` : d.items.id[at]);
  const draw = (id, traces, x, y, extra = {}) => Plotly.react(id, traces, {
    margin: { l: 58, r: 12, t: 8, b: 44 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: read("--text"), size: 12 }, hoverlabel: { align: "left" }, showlegend: true,
    legend: { orientation: "h", x: 1, xanchor: "right", y: 1, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" }, barmode: "overlay",
    xaxis: { gridcolor: read("--line"), zerolinecolor: read("--line"), ...x, title: { text: x.title } },
    yaxis: { gridcolor: read("--line"), zerolinecolor: read("--line"), ...y, title: { text: y.title } }, ...extra,
  }, { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"] });
  const empty = (id, why) => draw(id, [], { visible: false }, { visible: false },
    { annotations: [{ text: why, showarrow: false, x: .5, y: .5, xref: "paper", yref: "paper" }] });
  const powers = { tickmode: "array", tickvals: [-6, -4, -2, -1, 0, 1, 2, 4, 6], ticktext: ["1/64", "1/16", "1/4", "1/2", "1", "2", "4", "16", "64"] };

  draw("plot-representation", shown.map(([state, colour]) => ({
    type: "histogram", name: label(state.label), x: defined(ratios(state, d.fair)).map(r => Math.max(-8, Math.log2(Math.max(r, 1e-12)))),
    marker: { color: colour, line: { color: colour, width: 1 } }, opacity: .6, xbins: { start: -8, end: 8, size: .25 },
  })), { title: "times the fair share", ...powers }, { title: "items" });

  draw("plot-sorted", shown.map(([state, colour, dash]) => {
    const value = ratios(state, d.fair), order = [...value.keys()].filter(at => value[at] !== null).sort((a, b) => value[b] - value[a]);
    return { type: "scatter", mode: "lines", name: label(state.label), line: { color: colour, dash }, x: order.map((_, at) => at + 1),
      y: order.map(at => value[at]), customdata: order, text: order.map(name), hovertemplate: "%{text}<br>%{y:.2f} of its fair share<extra></extra>" };
  }), { title: "items, most represented first" }, { title: "times the fair share", rangemode: "tozero" });

  draw("plot-lorenz", [{ type: "scatter", mode: "lines", name: "even", x: [0, 1], y: [0, 1], line: { color: CHANCE, width: 1 }, hoverinfo: "skip" },
    ...shown.map(([state, colour, dash]) => ({ type: "scatter", mode: "lines", name: label(state.label), ...lorenz(state.items.shown),
      line: { color: colour, dash }, hovertemplate: "the least shown %{x:.0%} of the items hold %{y:.1%}<extra></extra>" }))],
  { title: "share of the items, least shown first", tickformat: ".0%" }, { title: "share of the places", tickformat: ".0%" });

  draw("plot-occurrence", [...shown.map(([state, colour]) => {
    const y = histogram(state.items.shown);
    return { type: "bar", name: label(state.label), x: y.map((_, at) => at), y, marker: { color: colour }, opacity: .6,
      hovertemplate: `%{y} items are in %{x} lists<extra></extra>` };
  }), { type: "scatter", mode: "lines", name: "by chance", x: d.chance.map((_, at) => at), y: d.chance, line: { color: CHANCE, dash: "dot" },
    hovertemplate: "by chance %{y:.1f} items are in %{x} lists<extra></extra>" }],
  { title: `top-${d.k} lists` }, { title: "items" });

  if (!d.labelled) return;
  const raw = ratios(reference, d.fair), edges = [1 / 4, 1 / 2, 1, 2, 4];
  const names = ["< 1/4", "1/4–1/2", "1/2–1", "1–2", "2–4", "> 4"], bins = names.map(() => []);
  raw.forEach((ratio, at) => { if (ratio !== null) bins[edges.filter(edge => ratio >= edge).length].push(at); });
  const mean = (values, places) => places.length ? places.reduce((sum, at) => sum + (values[at] || 0), 0) / places.length : 0;
  if (current.items.fp && defined(current.items.fp).length) {
    draw("plot-errors", shown.flatMap(([state, colour]) => [["fp", "false positive", ""], ["fn", "false negative", "/"]].map(([key, what, shape]) => ({
      type: "bar", name: `${what}, ${label(state.label)}`, x: names.map((text, at) => `${text}<br>${bins[at].length} items`),
      y: bins.map(places => mean(state.items[key], places)), marker: { color: colour, pattern: shape ? { shape, fillmode: "overlay", fgcolor: read("--back"), size: 6 } : {} },
      hovertemplate: `${what} %{y:.2f} an item<extra></extra>` }))),
    { title: "times the fair share, raw" }, { title: "mean per item" }, { barmode: "group" });
  } else empty("plot-errors", "not defined for these scores");

  const before = reference.queries.rank, after = current.queries.rank;
  const places = before.map((_, at) => at).filter(at => before[at] !== null && after[at] !== null);
  const top = Math.max(2, ...places.map(at => Math.max(before[at], after[at])));
  draw("plot-changes", [{ type: "scatter", mode: "lines", x: [1, top], y: [1, top], line: { color: CHANCE, width: 1 }, name: "no change", hoverinfo: "skip" },
    ...[["better", AFTER, "circle", (a, b) => b < a], ["worse", BEFORE, "x", (a, b) => b > a], ["the same", CHANCE, "circle-open", (a, b) => a === b]].map(([text, colour, symbol, is]) => {
      const mine = places.filter(at => is(before[at], after[at]));
      return { type: "scatter", mode: "markers", name: `${text} (${mine.length})`, x: mine.map(at => before[at]), y: mine.map(at => after[at]),
        marker: { color: colour, symbol, size: 6, opacity: .65 }, customdata: mine, text: mine.map(at => label(d.queries.text[at] || d.queries.id[at])),
        hovertemplate: "%{text}<br>rank %{x} raw, %{y} now<extra></extra>" };
    })], { title: "rank raw", type: "log", dtick: 1 }, { title: `rank, ${label(current.label)}`, type: "log", dtick: 1 });
  const pick = (id, list) => {
    const node = document.getElementById(id);
    node.removeAllListeners("plotly_click");
    node.on("plotly_click", event => { const at = event.points[0].customdata; if (at !== undefined) list(at); });
  };
  pick("plot-changes", listQuery);
  pick("plot-sorted", listItem);
}
