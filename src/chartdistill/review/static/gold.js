// The view Gold: a held-out chart is read blind; where two have read it, what differs is settled.

import { Chart, visible } from "./chart.js";
import { ItemList, make } from "./items.js";
import { get, post } from "./server.js";

const byId = (id) => document.getElementById(id);
const STATES = {
  open: "You have not read it.",
  mine: "You have read it; you can still change your reading until the other reader is done.",
  "not blind": "You have decided about labels of this record, so you cannot read it blind.",
  differs: "Both have read it and differ: settle what holds.",
  gold: "Gold.",
};

export class GoldView {
  constructor(say) {
    this.say = say;
    this.records = [];
    this.place = -1;
    this.shown = null;
    this.lists = [];
    this.active = 0;
    this.chart = new Chart(byId("gold-chart"));
    byId("gold-show").addEventListener("change", () => this.open());
  }

  open() {
    return this.say.trying(() => this.load(), { waits: true });
  }

  async load() {
    this.take(await get("gold"));
    await this.choose(0);
  }

  take(overview) {
    this.overview = overview;
    const show = byId("gold-show").value;
    const of = (state) => overview.records.filter((one) => one.state === state).length;
    this.records = overview.records.filter((one) => one.state === show || (show === "open" && one.state === "not blind"));
    byId("gold-count").textContent = `${overview.num_gold} of ${overview.records.length} held-out records have gold (split ${overview.split})`;
    for (const option of byId("gold-show").options) {
      option.textContent = `${option.textContent.replace(/ \(.*$/, "")} (${of(option.value)})`;
    }
    byId("no-gold").hidden = this.records.length > 0;
    byId("gold-record").hidden = !this.records.length;
    this.drawQueue();
    drawAgreement(overview.agreement);
  }

  drawQueue() {
    byId("gold-queue").replaceChildren(
      ...this.records.map((one, place) => {
        const button = make("button", { type: "button", className: `gold-${one.state.replace(" ", "-")}` }, make("b", { textContent: one.record }), make("span", { textContent: one.state }));
        if (place === this.place) button.setAttribute("aria-current", "true");
        button.addEventListener("click", () => this.say.trying(() => this.choose(place), { waits: true }));
        return make("li", {}, button);
      }),
    );
  }

  async choose(place) {
    if (!this.records.length) {
      this.shown = null;
      return;
    }
    this.place = Math.min(Math.max(place, 0), this.records.length - 1);
    this.drawQueue();
    byId("gold-queue").children[this.place]?.scrollIntoView({ block: "nearest" });
    this.draw(await get("gold/record", { record: this.records[this.place].record }));
    byId("gold-record-title").focus({ preventScroll: true });
  }

  draw(record) {
    this.shown = record;
    byId("gold-record-title").textContent = visible(record.record);
    const who = record.settled_by ? ` ${record.settled_by} settled it.` : "";
    byId("gold-state").textContent = !this.overview.may_read && record.state === "open" ? "Two others read this run; you can settle what differs." : STATES[record.state] + who;
    this.chart.show(record.text);
    this.isSettling = record.state === "differs" || (record.state === "gold" && record.settled_by !== null);
    const tasks = this.isSettling ? record.tasks.filter((task) => !task.agreed) : record.tasks;
    this.lists = [];
    byId("gold-tasks").replaceChildren(...tasks.map((task, number) => this.task(task, number)));
    this.active = 0;
    const save = byId("gold-save");
    save.firstChild.textContent = this.isSettling ? "Settle " : "Save reading ";
    save.disabled = record.state === "not blind" || (record.state === "gold" && !this.isSettling) || (!this.overview.may_read && !this.isSettling);
    this.repaint();
  }

  task(task, number) {
    const start = this.isSettling || task.settled ? task.settled : task.items;
    const node = make("ol", { className: "items", ariaLabel: `Items of ${task.task}` });
    const none = make("input", { type: "checkbox", checked: start !== null && start !== undefined && !start.length });
    const list = new ItemList(node, this.chart, { prefix: `${task.task[0]}${number || ""}`, word: task.task, changed: () => {
      if (list.kept().length) none.checked = false;
      this.repaint();
    } });
    this.lists.push({ task, list, none });
    list.show(start ?? [], task.statuses);
    const box = make(
      "fieldset",
      { className: "task" },
      make("legend", { textContent: task.task }),
      make("p", { className: "hint", textContent: task.question }),
      this.isSettling ? readings(task) : null,
      node,
      make("label", {}, none, " None in this chart"),
    );
    box.addEventListener("focusin", () => this.activate(number));
    box.addEventListener("pointerdown", () => this.activate(number));
    box.tabIndex = 0;
    box.setAttribute("aria-label", `${task.task}: words that you mark are added here while it is chosen`);
    return box;
  }

  activate(number) {
    this.active = number;
    this.showActive();
  }

  showActive() {
    [...byId("gold-tasks").children].forEach((box, number) => box.classList.toggle("active", number === this.active));
  }

  repaint() {
    this.chart.paint(this.lists.flatMap(({ list }) => list.marks()));
    this.showActive();
  }

  do(what) {
    const actions = {
      keep: () => this.save(),
      next: () => this.choose(this.place + 1),
      previous: () => this.choose(this.place - 1),
    };
    const local = {
      mark: () => this.mark(),
      chart: () => byId("gold-chart").focus(),
      items: () => byId("gold-tasks").children[this.active]?.focus(),
      none: () => this.none(),
    };
    if (!this.shown) return;
    if (local[what]) this.say.locally(local[what]);
    else if (actions[what]) this.say.trying(actions[what]);
  }

  none() {
    const { list, none, task } = this.lists[this.active];
    if (list.kept().length) throw new Error(`${task.task} has items. Take them out first.`);
    none.checked = true;
    this.activate(Math.min(this.active + 1, this.lists.length - 1));
    this.say.hear(`${task.task}: none in this chart. Now ${this.lists[this.active].task.task}.`);
  }

  mark() {
    const found = this.chart.selected();
    if (!found) throw new Error("Mark words of the chart first, with the mouse or with the arrow keys in the chart.");
    const { list, task } = this.lists[this.active];
    list.add(found);
    this.say.hear(`Added to ${task.task}: ${visible(found.text)}.`);
  }

  async save() {
    const items = {};
    for (const { task, list, none } of this.lists) {
      const kept = list.kept();
      if (!kept.length && !none.checked) {
        throw new Error(`Not saved: ${task.task} has no answer yet. Mark its items, or tick "None in this chart".`);
      }
      items[task.task] = kept;
    }
    const { record, seen } = this.shown;
    try {
      this.take(await post(this.isSettling ? "gold/settle" : "gold/read", { record, seen, items }));
    } catch (failure) {
      if (failure.status === 409) this.take(await get("gold"));
      throw failure;
    }
    const gone = this.records.findIndex((one) => one.record === record);
    this.say.hear(`Saved: ${record}.`);
    await this.choose(gone < 0 ? this.place : gone + 1);
  }
}

function readings(task) {
  const head = make("tr", {}, ...task.readers.map((name) => make("th", { scope: "col", textContent: name })));
  const rows = task.differences.map((pair) => make("tr", {}, ...pair.map((item) => make("td", { textContent: item ? visible(item.status ? `${item.text} | ${item.status}` : item.text) : "not listed" }))));
  return make("table", { className: "differences" }, make("caption", { textContent: "What differs" }), make("thead", {}, head), make("tbody", {}, ...rows));
}

function drawAgreement(rows) {
  const figure = (value) => (value === null ? "not defined" : value.toFixed(2));
  const columns = ["Task", "Records", "Item F1", "with status", "Kappa of statuses"];
  const head = make("tr", {}, ...columns.map((name) => make("th", { scope: "col", textContent: name })));
  const body = rows.map((row) =>
    make("tr", {}, make("th", { scope: "row", textContent: row.task }), ...[String(row.records), `${figure(row.f1)} (${row.items[0]} and ${row.items[1]} items)`, figure(row.joint_f1), row.statuses ? `${figure(row.kappa)} (${row.statuses} pairs)` : "no pairs"].map((text) => make("td", { textContent: text }))),
  );
  byId("agreement-table").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
}
