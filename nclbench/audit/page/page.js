"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const view = { direction: 0, state: null };
const byId = id => document.getElementById(id);
const fixed = (value, digits = 2) => value === null || value === undefined ? "–" : value.toFixed(digits);
const percent = value => `${(100 * value).toFixed(1)} %`;
const here = () => data.directions[view.direction];
const reference = () => here().states[current().before];
const current = () => here().states[view.state ?? here().states.length - 1];
const named = at => at < 0 ? "an item that is not listed" : here().items.title[at] ? `${here().items.title[at]} (${here().items.id[at]})` : here().items.id[at];
const asked = at => here().queries.text[at] || here().queries.id[at];
const itemListing = new Listing("item", showItem), queryListing = new Listing("query", showQuery);

function label(at) {
  const d = here(), parts = [];
  if (d.items.thumb[at]) parts.push(make("img", undefined, { class: "thumb", src: d.items.thumb[at], alt: "", loading: "lazy" }));
  if (d.items.title[at]) parts.push(make("span", d.items.title[at], { class: "title" }), document.createTextNode(" "));
  parts.push(make("span", d.items.id[at], { class: "id" }));
  return parts;
}

function buttons(id, labels, chosen, choose) {
  const box = byId(id);
  box.replaceChildren(box.querySelector("legend"), ...labels.map((text, at) => {
    const button = make("button", text, { type: "button", "aria-pressed": String(at === chosen) });
    button.addEventListener("click", () => { choose(at); draw(); byId(id).querySelectorAll("button")[at].focus(); });
    return button;
  }));
}

function short(d, before, now) {
  const lines = [], [one, several, , many] = d.words;
  lines.push(`Shown most often: ${named(now.whole.hub)}, in ${now.whole.hubCount} of ${d.queryCount} top-${d.k} lists, where a fair share is ${fixed(d.share, 1)}` +
    ` and chance would hardly make more than ${Math.round(d.most)}.`);
  lines.push(`Never shown: ${now.whole.unseen} of ${d.itemCount} ${many}; by chance ${fixed(d.chance[0] || 0, 1)}.`);
  if (before !== now) {
    lines.push(`Before, with ${before.label}: the most shown was ${named(before.whole.hub)}, in ${before.whole.hubCount} lists; never shown were ${before.whole.unseen}.`);
  }
  const metrics = Object.keys(now.metrics);
  if (metrics.length) lines.push(metrics.map(name => `${name} ${before === now ? "" : `${fixed(before.metrics[name], 1)} → `}${fixed(now.metrics[name], 1)}`).join(", ") + ".");
  if (d.labelled && before !== now) {
    lines.push(`${now.whole.won} of ${d.queryCount} ${several} find the right one earlier than with ${before.label}, ${now.whole.lost} later.`);
  }
  if (now.transductive) lines.push(`† ${now.label} was fitted on these very ${several}: what it gains here it may not gain on others.`);
  if (d.sample) lines.push(`Tables and lists are of a part: ${d.sample}. All figures and pictures but the last are of all.`);
  byId("short").replaceChildren(...lines.map(text => make("li", text)));
}

function findings(d) {
  const table = byId("findings"), head = make("tr"), body = make("tbody");
  for (const text of ["", "finding", ...d.states.map(state => state.label + (state.transductive ? " †" : "")), "by chance", "thresholds"]) {
    head.append(make("th", text, { scope: "col", class: head.cells.length > 1 && head.cells.length < 2 + d.states.length ? "number" : "" }));
  }
  for (const each of d.findings) {
    const row = make("tr");
    row.append(make("td", each.verdict, { class: `verdict ${each.verdict}` }), make("td", each.says));
    for (const value of each.values) {
      const cell = make("td", value ? value.text : "–", { class: "number" });
      if (value && value.verdict !== "info") cell.append(" ", make("span", value.verdict, { class: `verdict ${value.verdict}` }));
      row.append(cell);
    }
    row.append(make("td", each.chance ? `${each.chance} (${each.range})` : ""), make("td", each.thresholds, { class: "soft" }));
    body.append(row);
  }
  const top = make("thead");
  top.append(head);
  table.replaceChildren(top, body);
  byId("advice").textContent = d.advice.length ? `Try: ${d.advice.join("; ")}` : "";
  byId("advice").hidden = !d.advice.length;
}

function items(d, before, now) {
  const two = before !== now, columns = [
    { head: d.words[2], value: at => d.items.title[at] || d.items.id[at], cell: label },
    { head: `top-${d.k} lists`, number: true, value: at => now.items.shown[at], text: at => now.items.shown[at] },
  ];
  if (two) columns.push({ head: "lists before", number: true, value: at => before.items.shown[at], text: at => before.items.shown[at] });
  columns.push({ head: "times its share", number: true, value: at => now.items.shown[at], text: at => fixed(now.items.shown[at] / d.share, 1) });
  if (d.labelled) columns.push({ head: "wrongly first", number: true, value: at => now.items.stolen[at], text: at => now.items.stolen[at] });
  if (d.labelled && now.items.over) columns.push({ head: "above the right one", number: true, value: at => now.items.over[at], text: at => now.items.over[at] });
  columns.push({ head: "p", number: true, value: at => now.items.p[at], text: at => fixed(now.items.p[at], 3) });
  if (two) columns.push({ head: "p before", number: true, value: at => before.items.p[at], text: at => fixed(before.items.p[at], 3) });
  if (d.labelled) for (const [head, key] of [["false positive", "fp"], ["false negative", "fn"]]) {
    columns.push({ head, number: true, value: at => now.items[key][at], text: at => fixed(now.items[key][at]) });
  }
  const p = at => now.items.p[at] === null ? NaN : now.items.p[at] / d.fair;
  itemListing.fill(columns, d.items.id.map((_, at) => at), d.items.id.map((id, at) => `${d.items.title[at]} ${id}`), {
    hubs: at => now.items.shown[at] >= 2 * d.share, never: at => !now.items.shown[at], under: at => p(at) < .5, over: at => p(at) > 2,
    thieves: at => d.labelled && now.items.stolen[at] > 0,
  }, { head: `top-${d.k} lists`, down: true });
}

function queries(d, before, now) {
  const two = before !== now, columns = [{ head: d.words[0], value: asked, cell: at => [make("span", asked(at), { class: "title" }), " ", make("span", d.queries.text[at] ? d.queries.id[at] : "", { class: "id" })] }];
  if (d.labelled) {
    columns.push({ head: "rank", number: true, value: at => now.queries.rank[at], text: at => now.queries.rank[at] ?? "–" });
    if (two) {
      const won = at => now.queries.rank[at] === null ? null : before.queries.rank[at] - now.queries.rank[at];
      columns.push({ head: "rank before", number: true, value: at => before.queries.rank[at], text: at => before.queries.rank[at] ?? "–" },
        { head: "places won", number: true, value: won, text: at => won(at) === null ? "–" : `${won(at) > 0 ? "+" : ""}${won(at)}` });
    }
    columns.push({ head: "the right one", value: at => now.queries.right[at] < 0 ? "" : named(now.queries.right[at]), text: at => now.queries.right[at] < 0 ? "–" : named(now.queries.right[at]) });
  }
  columns.push({ head: "first", value: at => named(now.queries.top[at][0]), text: at => named(now.queries.top[at][0]) });
  queryListing.fill(columns, d.queries.id.map((_, at) => at), d.queries.id.map((id, at) => `${d.queries.text[at]} ${id}`), !d.labelled ? {} : {
    won: at => now.queries.rank[at] < before.queries.rank[at], lost: at => now.queries.rank[at] > before.queries.rank[at], wrong: at => now.queries.rank[at] > 1,
  }, d.labelled && two ? { head: "places won", down: true } : { head: d.words[0], down: false });
}

function list(title, lines, none, folded = false) {
  const box = make(folded ? "details" : "div"), head = make("h3", `${title} (${lines.length})`);
  if (folded) { const summary = make("summary"); summary.append(head); box.append(summary); } else box.append(head);
  if (!lines.length) box.append(make("p", none, { class: "note" }));
  else {
    const all = make("ol");
    all.append(...lines.slice(0, 100).map(parts => { const line = make("li"); line.append(...[parts].flat()); return line; }));
    box.append(all);
    if (lines.length > 100) box.append(make("p", `and ${lines.length - 100} more`, { class: "note" }));
  }
  return box;
}

function open(section, title, parts) {
  byId(`${section}-title`).replaceChildren(...title);
  byId(`${section}-body`).replaceChildren(...parts);
  byId(section).hidden = false;
  if (view.still) return;
  byId(`${section}-title`).focus({ preventScroll: true });
  byId(section).scrollIntoView({ behavior: "auto", block: "nearest" });
}

function showItem(at) {
  const d = here(), before = reference(), now = current(), q = now.queries, all = d.queries.id.map((_, i) => i);
  const figures = state => `${state.label}: in ${state.items.shown[at]} top-${d.k} lists (fair share ${fixed(d.share, 1)}), p ${fixed(state.items.p[at], 3)} (fair share ${fixed(d.fair, 3)})`;
  const parts = [make("p", figures(now))];
  if (before !== now) parts.push(make("p", figures(before), { class: "soft" }));
  const columns = make("div", undefined, { class: "columns" });
  if (d.labelled) {
    const wants = i => d.queries.wants[i].includes(at);
    const rightly = all.filter(i => q.top[i][0] === at && wants(i)), stolen = all.filter(i => q.beaten[i] === at);
    const wanting = all.filter(i => wants(i) && q.top[i][0] !== at);
    const where = i => q.right[i] === at ? `rank ${q.rank[i]}${before === now || before.queries.right[i] !== at ? "" : `, before ${before.queries.rank[i]}`}`
      : q.top[i].includes(at) ? `place ${q.top[i].indexOf(at) + 1}` : `not among the first ${d.k}`;
    const above = i => q.right[i] === at ? q.top[i].slice(0, q.above[i]) : q.top[i].includes(at) ? q.top[i].slice(0, q.top[i].indexOf(at)) : q.top[i];
    const marked = i => item => named(item) + (d.queries.wants[i].includes(item) ? " (right too)" : "");
    columns.append(
      list("Answers, first and right", rightly.map(asked), "no query"),
      list("Stolen: first, but another is right", stolen.map(i => [asked(i), make("div", `right: ${named(q.right[i])}, at rank ${q.rank[i] ?? "?"}`, { class: "soft" })]), "no query"),
      list("Wanted by, but outranked", wanting.map(i => [asked(i), make("div",
        `${where(i)}; above it: ${above(i).map(marked(i)).join("; ") || "others with the same score"}`, { class: "soft" })]), "none"));
  }
  const listed = all.filter(i => q.top[i].includes(at));
  columns.append(list(`In the top-${d.k} lists of`, listed.map(asked), "no query", true));
  view.item = at;
  open("detail", label(at), [...parts, columns]);
}

function showQuery(at) {
  const d = here(), before = reference(), now = current(), columns = make("div", undefined, { class: "columns" });
  for (const state of before === now ? [now] : [before, now]) {
    const right = item => d.labelled && d.queries.wants[at].includes(item);
    columns.append(list(`${state.label}: its list`, state.queries.top[at].map(item =>
      [make("span", named(item), { class: right(item) ? "right" : "" }), right(item) ? " ✓ right" : ""]), "nothing"));
  }
  const parts = [];
  if (d.labelled && now.queries.rank[at] !== null) {
    const was = before.queries.rank[at], is = now.queries.rank[at], gave = now.queries.gave ? now.queries.gave[at] : -1;
    parts.push(make("p", `Right: ${named(now.queries.right[at])}, at rank ${is}` + (before === now ? "." : is < was ? `; helped, it was at ${was}.` : is > was ? `; hurt, it was at ${was}.` : `, as before.`) +
      (before !== now && before.spec === "none" && now.spec !== "none" && gave >= 0 ? ` ${named(gave)} moved out of the way.` : "")));
  }
  view.query = at;
  open("query-detail", [document.createTextNode(asked(at))], [...parts, columns]);
}

function draw() {
  const d = here(), before = reference(), now = current();
  byId("detail").hidden = byId("query-detail").hidden = true;
  buttons("directions", data.directions.map(each => each.name), view.direction, at => {
    if (at !== view.direction) view.item = view.query = undefined;
    view.direction = at;
  });
  buttons("states", d.states.map(state => state.label + (state.transductive ? " †" : "")), d.states.indexOf(now), at => { view.state = at; });
  document.querySelectorAll(".labelled").forEach(node => { node.hidden = !d.labelled; });
  document.querySelectorAll(".k").forEach(node => { node.textContent = d.k; });
  byId("tau").textContent = now.tau ?? "–";
  document.querySelectorAll(".asked, .asking").forEach(node => {
    const word = d.words[node.classList.contains("asked") ? 3 : 1];
    node.textContent = word[0].toUpperCase() + word.slice(1);
  });
  byId("fair").textContent = `${fixed(d.fair, 3)} here (queries divided by items)`;
  byId("sample").textContent = d.sample;
  short(d, before, now);
  findings(d);
  items(d, before, now);
  queries(d, before, now);
  if (window.Plotly) drawPlots(d, before, now, showItem, showQuery);
  view.still = true;  // what was open stays open under other scores
  if (view.item !== undefined) showItem(view.item);
  if (view.query !== undefined) showQuery(view.query);
  view.still = false;
}

async function unpack() {
  const packed = Uint8Array.from(atob(byId("bundle").textContent), letter => letter.charCodeAt(0));
  const code = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(make("script", code));
}

byId("command").textContent = data.command;
byId("signatures").textContent = data.signatures.join("\n");
byId("warnings").replaceChildren(...data.warnings.map(text => make("li", text, { class: "note" })));
const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = theme => { document.documentElement.dataset.theme = theme; };
paint(dark.matches ? "dark" : "light");
byId("theme").addEventListener("click", () => { paint(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); if (window.Plotly) drawPlots(here(), reference(), current(), showItem, showQuery); });
const plots = () => window.Plotly ? document.querySelectorAll(".js-plotly-plot") : [];
let theme = "light";
addEventListener("beforeprint", () => {
  theme = document.documentElement.dataset.theme;
  paint("light");
  plots().forEach(plot => Plotly.relayout(plot, { width: 320, height: 230, "font.color": "#1b1f24" }));
});
addEventListener("afterprint", () => {
  paint(theme);
  plots().forEach(plot => Plotly.relayout(plot, { width: null, height: null, autosize: true }));
  if (window.Plotly) drawPlots(here(), reference(), current(), showItem, showQuery);
});
draw();
unpack().then(draw).catch(() => { byId("no-plots").hidden = false; });
