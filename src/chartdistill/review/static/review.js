// The page: which view is shown, what the keys do, and what is said to the reader.

import { GoldView } from "./gold.js";
import { LabelsView } from "./labels.js";
import { TrialView } from "./trial.js";

const NAMES = ["labels", "gold", "try"];
const KEYS = { j: "next", k: "previous", a: "keep", x: "reject", u: "undo", n: "none", m: "mark", c: "chart", i: "items" };

const LOADING = "Loading.";
const SLOW_MS = 500;

const said = document.getElementById("said");
const main = document.getElementById("main");
const say = {
  hear(sentence) {
    said.className = "";
    said.textContent = sentence;
  },
  // What talks to the server is done one at a time. A second decision meanwhile is not taken, so that none is made about
  // a label that is not seen yet; another choice of what to show waits, and only the last one is kept.
  busy: false,
  waiting: null,
  async trying(work, { waits = false } = {}) {
    if (say.busy) {
      if (waits) say.waiting = work;
      else say.hear("One moment: the last thing is still being done.");
      return;
    }
    say.busy = true;
    main.setAttribute("aria-busy", "true");
    const slow = setTimeout(() => said.textContent || say.hear(LOADING), SLOW_MS);
    await say.locally(work);
    clearTimeout(slow);
    if (said.textContent === LOADING) said.textContent = "";
    say.busy = false;
    main.setAttribute("aria-busy", "false");
    if (say.waiting) {
      const next = say.waiting;
      say.waiting = null;
      await say.trying(next);
    }
  },
  // What goes wrong is said, and nothing else happens.
  async locally(work) {
    try {
      await work();
    } catch (failure) {
      said.className = "failed";
      said.textContent = failure.message;
    }
  },
};

const views = { labels: new LabelsView(say), gold: new GoldView(say), try: new TrialView(say) };
const help = document.getElementById("help");
let current = null;

function show() {
  const wanted = NAMES.includes(location.hash.slice(1)) ? location.hash.slice(1) : "labels";
  if (wanted === current) return;
  current = wanted;
  for (const name of NAMES) {
    document.getElementById(name).hidden = name !== wanted;
    const link = document.querySelector(`nav [data-view="${name}"]`);
    if (name === wanted) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  said.textContent = "";
  views[wanted].open();
}

function isTyping(node) {
  return node.matches("textarea, select, input:not([type=checkbox]):not([type=radio])");
}

document.addEventListener("keydown", (event) => {
  if (help.open) return;
  const typing = isTyping(event.target);
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    event.target.blur();
    views[current].do("keep");
  } else if (event.key === "Escape" && typing) {
    document.querySelector(`#${current} h3[tabindex], #main`).focus();
  } else if (!typing && !event.ctrlKey && !event.altKey && !event.metaKey) {
    const view = NAMES[Number(event.key) - 1];
    if (view) location.hash = view;
    else if (event.key === "?") help.showModal();
    else if (KEYS[event.key]) {
      event.preventDefault();
      views[current].do(KEYS[event.key]);
    }
  }
});

for (const button of document.querySelectorAll("[data-do]")) {
  // The words that are marked stay marked when the button is pressed.
  button.addEventListener("pointerdown", (event) => event.preventDefault());
  button.addEventListener("click", () => views[button.closest("section").id].do(button.dataset.do));
}
document.getElementById("keys").addEventListener("click", () => help.showModal());
window.addEventListener("hashchange", show);
show();
