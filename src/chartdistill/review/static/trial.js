// The view Try it: a pasted chart, and what each arm finds in it.

import { Chart, visible } from "./chart.js";
import { make, statusClass, sureness } from "./items.js";
import { get, post } from "./server.js";

const byId = (id) => document.getElementById(id);
const PAUSE_MS = 400;

/** The first answer of an engine also compiles, which can take minutes. */
function took(milliseconds) {
  if (milliseconds < 10000) return `${milliseconds.toLocaleString("en")} ms`;
  const seconds = Math.round(milliseconds / 1000);
  return seconds < 120 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

export class TrialView {
  constructor(say) {
    this.say = say;
    this.text = "";
    this.whose = "student";
    this.chart = new Chart(byId("try-chart"));
    this.state = null;
  }

  open() {
    return this.say.trying(async () => {
      this.state = await get("try");
      byId("try-unavailable").hidden = !this.state.unavailable;
      byId("try-unavailable").textContent = this.state.unavailable ? `There is no student to try. ${this.state.unavailable}` : "";
      byId("try-warnings").hidden = !this.state.warnings.length;
      byId("try-warnings").replaceChildren(...this.state.warnings.map((said) => make("li", { textContent: said })));
      byId("try").querySelector('[data-do="ask"]').disabled = Boolean(this.state.unavailable);
      byId("try-text").focus();
    });
  }

  do(what) {
    if (what === "ask" || what === "keep") this.say.trying(() => this.ask(), { waits: true });
  }

  async ask() {
    this.text = byId("try-text").value.toWellFormed();
    const begun = await post("try/ask", { text: this.text });
    this.say.hear("Reading.");
    byId("try-places").hidden = false;
    this.chart.show(this.text);
    let state = begun;
    while (state.job?.doing) {
      this.draw(state);
      await new Promise((done) => setTimeout(done, PAUSE_MS));
      state = await get("try", { job: begun.job.id });
    }
    this.draw(state);
    if (state.job.error) throw new Error(state.job.error);
    this.say.hear("All have read it.");
  }

  draw(state) {
    this.state = state;
    const { doing, seconds, answers } = state.job;
    byId("try-state").textContent = doing ? `${doing}: ${Math.round(seconds)} s` : "";
    byId("try-arms").replaceChildren(...state.arms.map((arm) => this.arm(arm)));
    const radios = state.arms.filter((arm) => answers[arm]).map((arm) => {
      const radio = make("input", { type: "radio", name: "whose", value: arm, checked: arm === this.whose });
      radio.addEventListener("change", () => {
        this.whose = arm;
        this.paint();
      });
      return make("label", {}, radio, ` ${arm}`);
    });
    const [legend] = byId("try-whose").children;
    byId("try-whose").replaceChildren(legend, ...radios);
    this.paint();
  }

  arm(arm) {
    const { answers, milliseconds, error } = this.state.job;
    const found = answers[arm];
    const spent = found ? took(milliseconds[arm]) : error ? "no answer" : "waiting";
    const tasks = this.state.tasks.flatMap(({ task }) => (found ? [make("h4", { textContent: task }), this.answer(found[task], task, arm)] : []));
    const box = make("section", { className: "arm" }, make("h3", { textContent: `${arm} ` }, ), ...tasks);
    box.firstChild.append(make("small", { textContent: spent }));
    box.setAttribute("aria-label", `Answers of ${arm}`);
    return box;
  }

  answer(said, task, arm) {
    if (said.items === null) return make("p", { className: "why against", textContent: said.failure });
    if (!said.items.length) return make("p", { className: "hint", textContent: "None found" });
    return make("ul", { className: "answers" }, ...said.items.map((item, number) => {
      const name = `${task[0]}${number + 1}`;
      const sure = typeof item.confidence === "number" ? ` ${sureness(item.confidence)}` : "";
      const wrong = item.not_in_chart?.length ? `not in the chart: ${item.not_in_chart.join(", ")}` : item.span ? "" : "not in the chart";
      return make("li", { className: statusClass(item.status), dataset: { arm } },
        make("b", { textContent: name }), " ", make("bdi", { textContent: visible(item.text) }), " ",
        item.status ? make("i", { textContent: item.status }) : null,
        sure ? make("small", { textContent: sure }) : null,
        wrong ? make("small", { className: "against", textContent: ` ${wrong}` }) : null);
    }));
  }

  paint() {
    const found = this.state.job?.answers[this.whose] ?? {};
    this.chart.paint(Object.entries(found).flatMap(([task, said]) => (said.items ?? []).flatMap((item, number) =>
      item.span ? [{ start: item.span[0], end: item.span[1], name: `${task[0]}${number + 1}`, kind: statusClass(item.status) }] : [])));
  }
}
