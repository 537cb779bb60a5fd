// A list of items that a person corrects: each kept or not, with its words, its status and where it stands.

import { visible } from "./chart.js";

// An element with properties and children; text is only ever text.
export function make(tag, properties = {}, ...children) {
  const { dataset = {}, ...own } = properties;
  const node = Object.assign(document.createElement(tag), own);
  Object.assign(node.dataset, dataset);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function statusClass(status) {
  return status ? `status status-${status.replace(/[^a-z-]/gi, "")}` : "status";
}

// A confidence in whole percent, never 0 or 100: no calibration shows either. `one_chart.py` says it in these words.
export function sureness(confidence) {
  const whole = Math.round(100 * confidence);
  if (whole > 99) return "over 99% sure";
  return whole < 1 ? "under 1% sure" : `${whole}% sure`;
}

export class ItemList {
  // prefix: of the names of marks, so that several lists share a chart.
  constructor(node, chart, { prefix = "", changed = () => {}, word = "Item" } = {}) {
    Object.assign(this, { node, chart, prefix, changed, word, statuses: [], items: [] });
  }

  show(items, statuses) {
    this.statuses = statuses;
    this.items = items.map((item) => ({ kept: true, objections: [], ...item }));
    this.draw();
  }

  add(item) {
    const twin = this.items.find((one) => one.text === item.text);
    if (twin) {
      twin.kept = true;
      this.draw();
      return false;
    }
    this.items.push({ kept: true, objections: [], status: null, ...item });
    this.draw();
    const row = this.node.lastElementChild;
    (row.querySelector("select") ?? row.querySelector("input[type=text]")).focus();
    return true;
  }

  kept() {
    return this.items.filter((item) => item.kept).map(({ text, status }) => ({ text, status }));
  }

  marks() {
    return this.items.flatMap((item, number) => {
      const own = item.span && { start: item.span[0], end: item.span[1], name: `${this.prefix}${number + 1}` };
      const kind = item.kept ? statusClass(item.status) : "off";
      return own ? [{ ...own, kind }] : [];
    });
  }

  focus() {
    this.node.querySelector("input")?.focus();
  }

  draw() {
    this.node.replaceChildren(...this.items.map((item, number) => this.row(item, number)));
    this.changed();
  }

  row(item, number) {
    const name = `${this.prefix}${number + 1}`;
    const called = `${this.word} ${name}`;
    const kept = make("input", { type: "checkbox", checked: item.kept, ariaLabel: `${called}: keep` });
    const text = make("input", { type: "text", value: item.text, ariaLabel: `${called}: text`, spellcheck: false });
    text.setAttribute("dir", "auto");
    const row = make("li", { className: `item ${item.kept ? statusClass(item.status) : "off"}` });
    const again = () => {
      row.className = `item ${item.kept ? statusClass(item.status) : "off"}`;
      this.changed();
    };
    kept.addEventListener("change", () => {
      item.kept = kept.checked;
      again();
    });
    text.addEventListener("change", () => {
      item.text = text.value.trim();
      item.edited = true;
      again();
    });
    const status = this.statuses.length ? this.statusField(item, called, again) : null;
    const show = make("button", { type: "button", className: "where", textContent: name });
    show.setAttribute("aria-label", item.span ? `${called}: show it in the chart` : `${called}: not in the chart`);
    show.disabled = !item.span;
    show.addEventListener("click", () => this.chart.reveal(name));
    row.append(show, kept, text, ...(status ? [status] : []));
    if (!item.span) row.append(make("p", { className: "why", textContent: "Nothing in the chart bears it out." }));
    for (const said of item.objections) row.append(objection(said));
    return row;
  }

  statusField(item, called, again) {
    const field = make("select", { ariaLabel: `${called}: status` });
    if (!item.status) field.append(make("option", { value: "", textContent: "status?" }));
    field.append(...this.statuses.map((status) => make("option", { value: status, textContent: status })));
    field.value = item.status ?? "";
    field.addEventListener("change", () => {
      item.status = field.value || null;
      again();
    });
    return field;
  }
}

export function objection(said) {
  const why = `${said.reason.replaceAll("_", " ")} (${said.filter}): ${said.evidence}`;
  return make("p", { className: "why against", textContent: visible(why) });
}
