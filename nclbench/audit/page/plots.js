"use strict";
// Six pictures of one direction: the reference in orange and dashed, the chosen scores in blue and full.
const BEFORE = "#d98200", AFTER = "#0b6bb5", CHANCE = "#7a7a7a";

function drawPlots(d, reference, current, listItem, listQuery) {
  const style = getComputedStyle(document.documentElement), read = name => style.getPropertyValue(name).trim();
  const same = reference === current;
  const shown = same ? [[reference, BEFORE, "dash"]] : [[reference, BEFORE, "dash"], [current, AFTER, "solid"]];
  const label = text => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const brief = text => label(text.length > 26 ? `${text.slice(0, 25)}…` : text);  // an axis has room for no more
  const name = at => label(d.items.title[at] ? `${d.items.title[at]} (${d.items.id[at]})` : d.items.id[at]);
  const draw = (id, traces, x, y, extra = {}) => Plotly.react(id, traces, {
    margin: { l: 58, r: 12, t: 8, b: 44 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: read("--text"), size: 12 }, hoverlabel: { align: "left" }, showlegend: true,
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" }, barmode: "overlay",
    modebar: { orientation: "v", bgcolor: "rgba(0,0,0,0)", color: "rgba(127,127,127,.5)", activecolor: CHANCE },
    xaxis: { gridcolor: read("--line"), zerolinecolor: read("--line"), ...x, title: { text: x.title, standoff: 12 }, automargin: true },
    yaxis: { gridcolor: read("--line"), zerolinecolor: read("--line"), ...y, title: { text: y.title } }, ...extra,
  }, { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"] });
  const empty = (id, why) => draw(id, [], { visible: false }, { visible: false },
    { annotations: [{ text: why, showarrow: false, x: .5, y: .5, xref: "paper", yref: "paper" }] });
  const powers = { tickmode: "array", tickvals: [-6, -4, -2, -1, 0, 1, 2, 4, 6], ticktext: ["1/64", "1/16", "1/4", "1/2", "1", "2", "4", "16", "64"] };

  const many = d.words[3], known = shown.filter(([state]) => state.whole.representation);
  draw("plot-representation", known.map(([state, colour]) => {
    const y = state.whole.representation, used = y.map((count, at) => at).filter(at => y[at]);
    const from = Math.max(0, Math.min(...used) - 2), to = Math.max(...used) + 3;
    return { type: "bar", name: label(state.label), width: d.bins.step, x: y.map((_, at) => d.bins.first + (at + .5) * d.bins.step).slice(from, to),
      y: y.slice(from, to), marker: { color: colour }, opacity: .6, hovertemplate: `%{y} ${many}<extra></extra>` };
  }), { title: "times the fair share", ...powers }, { title: many });

  draw("plot-sorted", known.map(([state, colour, dash]) => ({
    type: "scatter", mode: "lines", name: label(state.label), line: { color: colour, dash }, ...state.whole.sorted,
    customdata: state.whole.sorted.item, text: state.whole.sorted.item.map(at => at < 0 ? "not listed" : name(at)),
    hovertemplate: "%{text}<br>%{y:.2f} of its fair share<extra></extra>",
  })), { title: `${many}, most represented first` }, { title: "times the fair share", rangemode: "tozero" });

  draw("plot-lorenz", [{ type: "scatter", mode: "lines", name: "even", x: [0, 1], y: [0, 1], line: { color: CHANCE, width: 1 }, hoverinfo: "skip" },
    ...shown.map(([state, colour, dash]) => ({ type: "scatter", mode: "lines", name: label(state.label), x: state.whole.lorenz[0], y: state.whole.lorenz[1],
      line: { color: colour, dash }, hovertemplate: "the least shown %{x:.0%} hold %{y:.1%}<extra></extra>" }))],
  { title: `share of the ${many}, least shown first`, tickformat: ".0%" }, { title: "share of the places", tickformat: ".0%" });

  draw("plot-occurrence", [...shown.map(([state, colour]) => {
    const y = state.whole.occurrence;
    return { type: "bar", name: label(state.label), x: y.map((_, at) => at), y, marker: { color: colour }, opacity: .6,
      hovertemplate: `%{y} ${many} are in %{x} lists<extra></extra>` };
  }), { type: "scatter", mode: "lines", name: "by chance", x: d.chance.map((_, at) => at), y: d.chance, line: { color: CHANCE, dash: "dot" },
    hovertemplate: `by chance %{y:.1f} ${many} are in %{x} lists<extra></extra>` }],
  { title: `top-${d.k} lists` }, { title: many });

  if (!d.labelled) return;
  const names = ["< 1/4", "1/4–1/2", "1/2–1", "1–2", "2–4", "> 4"];
  if (current.whole.errors && reference.whole.errors) {
    draw("plot-errors", shown.flatMap(([state, colour]) => [["fp", "false positive", ""], ["fn", "false negative", "/"]].map(([key, what, shape]) => ({
      type: "bar", name: `${what}, ${label(state.label)}`, x: names.map((text, at) => `${text}<br>(${current.whole.errors.items[at]})`),
      y: (state === current ? current : reference).whole.errors[key], marker: { color: colour, pattern: shape ? { shape, fillmode: "overlay", fgcolor: read("--back"), size: 6 } : {} },
      hovertemplate: `${what} %{y:.2f} each<extra></extra>` }))),
    { title: "times the fair share before (how many)" }, { title: "mean of each" }, { barmode: "group" });
  } else empty("plot-errors", "not defined for these scores");

  const before = reference.queries.rank, after = current.queries.rank;
  const places = before.map((_, at) => at).filter(at => before[at] !== null && after[at] !== null);
  const top = Math.max(2, ...places.map(at => Math.max(before[at], after[at])));
  draw("plot-changes", [{ type: "scatter", mode: "lines", x: [1, top], y: [1, top], line: { color: CHANCE, width: 1 }, name: "no change", hoverinfo: "skip" },
    ...[["better", AFTER, "circle", (a, b) => b < a], ["worse", BEFORE, "x", (a, b) => b > a], ["the same", CHANCE, "circle-open", (a, b) => a === b]].map(([text, colour, symbol, is]) => {
      const mine = places.filter(at => is(before[at], after[at]));
      return { type: "scatter", mode: "markers", name: `${text} (${mine.length})`, x: mine.map(at => before[at]), y: mine.map(at => after[at]),
        marker: { color: colour, symbol, size: 6, opacity: .65 }, customdata: mine, text: mine.map(at => label(d.queries.text[at] || d.queries.id[at])),
        hovertemplate: "%{text}<br>rank %{x} before, %{y} now<extra></extra>" };
    })], { title: `rank, ${brief(reference.label)}`, type: "log", dtick: 1 }, { title: `rank, ${brief(current.label)}`, type: "log", dtick: 1 });
  const pick = (id, list) => {
    const node = document.getElementById(id);
    node.removeAllListeners("plotly_click");
    node.on("plotly_click", event => { const at = event.points[0].customdata; if (at !== undefined && at >= 0) list(at); });
  };
  pick("plot-changes", listQuery);
  pick("plot-sorted", listItem);
}
