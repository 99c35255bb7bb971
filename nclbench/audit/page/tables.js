"use strict";
// Tables that sort, filter, search and page; names are only ever set as text.
const PAGE = 20;

function make(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

class Listing {
  // columns: {head, value(at), text(at), number, cell(at)}; rows are positions.
  constructor(kind, pick) {
    this.table = document.getElementById(kind === "item" ? "items" : "queries");
    this.search = document.getElementById(`${kind}-search`);
    this.filter = document.getElementById(`${kind}-filter`);
    this.count = document.getElementById(`${kind}-count`);
    this.pages = document.getElementById(`${kind}-pages`);
    this.kind = kind;
    this.pick = pick;
    this.page = 0;
    this.sort = null;
    const again = () => { this.page = 0; this.draw(); };
    this.search.addEventListener("input", again);
    this.filter.addEventListener("change", again);
  }

  fill(columns, rows, texts, filters, sort) {
    Object.assign(this, { columns, rows, filters, texts: texts.map(text => text.toLowerCase()), page: 0 });
    if (!this.sort || !columns.some(column => column.head === this.sort.head)) this.sort = sort;
    this.draw();
  }

  chosen() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const keep = this.filters[this.filter.value] || (() => true);
    const found = this.rows.filter(at => keep(at) && words.every(word => this.texts[at].includes(word)));
    const column = this.columns.find(each => each.head === this.sort.head), sign = this.sort.down ? -1 : 1;
    const value = at => column.value(at);
    return found.sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === y) return a - b;
      if (x === null || x === undefined) return 1;
      if (y === null || y === undefined) return -1;
      return sign * (column.number ? x - y : String(x).localeCompare(String(y)));
    });
  }

  draw() {
    const found = this.chosen(), last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
    this.page = Math.min(this.page, last);
    const head = make("tr");
    for (const column of this.columns) {
      const cell = make("th", undefined, { scope: "col", class: column.number ? "number" : "" });
      const mine = this.sort.head === column.head;
      cell.setAttribute("aria-sort", mine ? (this.sort.down ? "descending" : "ascending") : "none");
      const button = make("button", column.head + (mine ? (this.sort.down ? " ▼" : " ▲") : ""), { type: "button" });
      button.addEventListener("click", () => {
        this.sort = { head: column.head, down: mine ? !this.sort.down : Boolean(column.number) };
        this.draw();
        [...this.table.tHead.querySelectorAll("button")].find(each => each.textContent.startsWith(column.head))?.focus();
      });
      cell.append(button);
      head.append(cell);
    }
    this.table.tHead.replaceChildren(head);
    this.table.tBodies[0].replaceChildren(...found.slice(this.page * PAGE, (this.page + 1) * PAGE).map(at => this.row(at)));
    this.count.textContent = `${found.length} of ${this.rows.length}`;
    const step = (text, to, off) => {
      const button = make("button", text, { type: "button" });
      button.disabled = off;
      button.addEventListener("click", () => { this.page = to; this.draw(); });
      return button;
    };
    this.pages.replaceChildren(...(last ? [step("Earlier", this.page - 1, !this.page), make("span", `page ${this.page + 1} of ${last + 1}`),
      step("Later", this.page + 1, this.page === last)] : []));
  }

  row(at) {
    const row = make("tr", undefined, { class: "pick", tabindex: "0", "data-at": at });
    for (const column of this.columns) {
      const cell = make("td", undefined, { class: column.number ? "number" : "" });
      if (column.cell) cell.append(...column.cell(at)); else cell.textContent = column.text(at);
      row.append(cell);
    }
    row.addEventListener("click", () => this.pick(at));
    row.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); this.pick(at); }
      const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
      if (next) { event.preventDefault(); next.focus(); }
    });
    return row;
  }
}
