// The view Labels: the queue, one label with its chart, and what is decided about it.

import { Chart, visible } from "./chart.js";
import { ItemList, make, objection } from "./items.js";
import { get, post } from "./server.js";

const byId = (id) => document.getElementById(id);
const DONE = { keep: "Kept", reject: "Rejected", undo: "Undone" };

export class LabelsView {
  constructor(say) {
    this.say = say;
    this.entries = [];
    this.total = 0;
    this.place = -1;
    this.shown = null;
    this.mine = []; // what was decided here, for undo
    this.chart = new Chart(byId("chart"));
    this.items = new ItemList(byId("items"), this.chart, { changed: () => this.repaint() });
    for (const id of ["show", "task"]) byId(id).addEventListener("change", () => this.open());
    let waiting;
    byId("find").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.open(), 200);
    });
    byId("more").addEventListener("click", () => this.say.trying(() => this.more()));
  }

  open() {
    return this.say.trying(() => this.load(), { waits: true });
  }

  async load() {
    this.entries = [];
    await this.more();
    await this.choose(0);
  }

  async more() {
    const [show, task, find] = ["show", "task", "find"].map((id) => byId(id).value);
    // From the rank on, not from how many there are: those that were decided meanwhile may be in this list no more.
    const last = this.entries.at(-1);
    const found = await get("labels", { show, task, find, from: last ? last.rank + 1 : 0 });
    this.entries.push(...found.entries);
    this.total = this.entries.length + found.left;
    this.counts = found.counts;
    this.count();
    this.drawQueue();
  }

  count() {
    const counts = this.counts;
    byId("queue-count").textContent = `${this.total.toLocaleString("en")} here; ${counts.open.toLocaleString("en")} of ${counts.all.toLocaleString("en")} not decided`;
    for (const option of byId("show").options) {
      option.textContent = `${option.textContent.replace(/ \(.*$/, "")} (${counts[option.value].toLocaleString("en")})`;
    }
    byId("no-label").hidden = this.total > 0;
    byId("label").hidden = this.total === 0;
  }

  drawQueue() {
    byId("queue").replaceChildren(...this.entries.map((entry, place) => this.queued(entry, place)));
    byId("more").hidden = this.entries.length >= this.total;
  }

  queued(entry, place) {
    const said = entry.decision ? `${entry.decision.action === "keep" ? "kept" : "rejected"} by ${entry.decision.by}` : entry.state;
    const button = make(
      "button",
      { type: "button", className: `state-${entry.decision ? entry.decision.action : entry.state}` },
      make("b", { textContent: entry.record }),
      make("span", { textContent: `${entry.task}, ${said}` }),
      make("small", { textContent: entry.why[0] ?? "nothing speaks against it" }),
    );
    if (place === this.place) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => this.say.trying(() => this.choose(place), { waits: true }));
    return make("li", {}, button);
  }

  async choose(place, quiet = false) {
    if (place >= this.entries.length && this.entries.length < this.total) await this.more();
    if (!this.entries.length) {
      this.shown = null; // nobody decides about a label that is not on the page any more
      return;
    }
    this.place = Math.min(Math.max(place, 0), this.entries.length - 1);
    const { record, task, sample } = this.entries[this.place];
    this.drawQueue();
    byId("queue").children[this.place]?.scrollIntoView({ block: "nearest" });
    this.draw(await get("label", { record, task, sample }));
    if (!quiet) byId("label-title").focus({ preventScroll: true });
  }

  draw(label) {
    this.shown = label;
    const task = label.sample ? `${label.task}, sample ${label.sample}` : label.task;
    byId("label-title").replaceChildren(
      visible(`${label.record}: ${task} `),
      make("small", { className: `state-${label.state}`, textContent: `${label.state}, ${label.split}` }),
    );
    byId("label-question").textContent = label.question;
    byId("label-why").replaceChildren(...label.why.map((why) => make("li", { textContent: why })));
    this.chart.show(label.text);
    const against = label.objections.map(objection);
    if (label.failure) against.push(make("p", { className: "why against", textContent: `The teacher gave no answer: ${label.failure}` }));
    if (label.raw !== null) against.push(make("p", { className: "why", textContent: "Its answer, which follows no format:" }), make("pre", { textContent: visible(label.raw) }));
    byId("label-objections").replaceChildren(...against);
    this.drawDecision(label.decision);
  }

  drawDecision(decision) {
    const label = this.shown;
    label.decision = decision;
    const box = byId("label-decision");
    if (decision) {
      const what = decision.action === "reject" ? "rejected this label" : `kept ${decision.items.length === 1 ? "1 item" : `${decision.items.length} items`}`;
      const stale = decision.stale ? " That was about another answer: it is not applied." : "";
      box.replaceChildren(make("p", { className: `decided state-${decision.action}`, textContent: `${decision.by} ${what} (${decision.at.slice(0, 16).replace("T", " ")} UTC).${stale}` }));
    } else box.replaceChildren();
    this.items.show(startingItems(label, decision), label.statuses);
  }

  repaint() {
    this.chart.paint(this.items.marks());
    const number = this.items.kept().length;
    byId("no-items").textContent = number ? "" : this.items.items.length ? "No item is kept." : "The answer has no items: none found.";
  }

  do(what) {
    const actions = {
      keep: () => this.keep(),
      none: () => this.decide("keep", []),
      reject: () => this.decide("reject"),
      undo: () => this.undo(),
      next: () => this.choose(this.place + 1),
      previous: () => this.choose(this.place - 1),
    };
    const local = { mark: () => this.mark(), chart: () => byId("chart").focus(), items: () => this.items.focus() };
    if (!this.shown) return;
    if (local[what]) this.say.locally(local[what]);
    else if (actions[what]) this.say.trying(actions[what]);
  }

  mark() {
    const found = this.chart.selected();
    if (!found) throw new Error("Mark words of the chart first, with the mouse or with the arrow keys in the chart.");
    const status = this.shown.statuses.length === 1 ? this.shown.statuses[0] : null;
    const isNew = this.items.add({ ...found, status });
    this.say.hear(isNew ? `Added: ${visible(found.text)}. ${this.shown.statuses.length ? "Choose its status." : ""}` : "It is among the items.");
  }

  async keep() {
    const items = this.items.kept();
    const wasNone = this.shown.raw === null && !this.shown.failure && !this.items.items.length;
    if (!items.length && !wasNone) {
      throw new Error("No item is kept. Press n if the chart has none of this kind, x to leave the label out.");
    }
    await this.decide("keep", items);
  }

  async undo() {
    if (!this.shown.decision) {
      const last = this.mine.at(-1);
      if (!last) throw new Error("Nothing to undo: this label has no decision, and you made none before it.");
      const { record, task, sample } = last;
      this.draw(await get("label", { record, task, sample }));
      this.mine.pop();
      this.place = this.entries.findIndex((entry) => samePlace(entry, last));
      if (!this.shown.decision) throw new Error("That decision was undone before.");
      if (this.shown.decision.id !== last.id) throw new Error(`${this.shown.decision.by} decided about this label after you. It is shown as it is now.`);
    }
    await this.decide("undo");
  }

  async decide(action, items) {
    const { record, task, sample, seen, decision } = this.shown;
    let answer;
    try {
      answer = await post("label/decide", { record, task, sample, seen, action, items, after: decision?.id ?? null });
    } catch (failure) {
      if (failure.status === 409) this.draw(await get("label", { record, task, sample }));
      throw failure;
    }
    const entry = this.entries.find((one) => samePlace(one, { record, task, sample }));
    if (entry) entry.decision = answer.decision;
    const more = Number(Boolean(answer.decision)) - Number(Boolean(decision)); // decided labels: the list stays, its counts follow
    this.counts.decided += more;
    this.counts.open -= more;
    this.count();
    if (action === "undo") this.drawDecision(answer.decision);
    else this.mine.push({ record, task, sample, id: answer.decision?.id });
    this.drawQueue();
    this.say.hear(`${DONE[action]}: ${record}, ${task}.`);
    if (action !== "undo" && this.place + 1 < this.total) await this.choose(this.place + 1);
    else if (action !== "undo") this.drawDecision(answer.decision);
  }
}

function samePlace(one, other) {
  return one.record === other.record && one.task === other.task && one.sample === other.sample;
}

// What the list begins with: what was decided; else the answer, without the items that filters spoke against.
function startingItems(label, decision) {
  if (!decision || decision.action === "reject") {
    const rejects = decision?.action === "reject";
    return label.items.map((item) => ({ ...item, kept: rejects || !item.objections.length }));
  }
  const kept = decision.items;
  const has = (item) => kept.some((one) => one.text === item.text && one.status === item.status);
  const objections = (item) => label.items.find((one) => one.text === item.text && one.status === item.status)?.objections ?? [];
  const left = label.items.filter((item) => !has(item) && !kept.some((one) => one.text === item.text));
  return [...kept.map((item) => ({ ...item, objections: objections(item) })), ...left.map((item) => ({ ...item, kept: false }))];
}

