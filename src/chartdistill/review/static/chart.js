// A chart as text with marked places. Places come in characters (code points), the browser counts in UTF-16 units.
// Nothing is ever read as HTML: text nodes only. Each character keeps its length, so places stay right.

const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f]/g;
const UNSEEN = /[\u0080-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;
const EDGE = /^[\s.,;:!?'"`“”‘’()]+|[\s.,;:!?'"`“”‘’()]+$/gu;

// Characters that cannot be seen, or that turn the reading direction, as signs.
export function visible(text) {
  return text
    .replace(CONTROL, (found) => (found === "\u007f" ? "\u2421" : String.fromCharCode(0x2400 + found.charCodeAt(0))))
    .replace(UNSEEN, "\u2426");
}

export class Offsets {
  constructor(text) {
    this.astral = []; // places, in characters, of those that take two units
    let point = 0;
    for (const character of text) {
      if (character.length === 2) this.astral.push(point);
      point += 1;
    }
  }

  toUnits(point) {
    return point + this.count((place) => place < point);
  }

  toPoints(unit) {
    return unit - this.count((place, number) => place + number < unit);
  }

  // How many of the astral characters, from the first on, hold.
  count(holds) {
    let low = 0;
    let high = this.astral.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (holds(this.astral[middle], middle)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export class Chart {
  constructor(node) {
    this.node = node;
    node.addEventListener("keydown", (event) => this.onKey(event));
    this.show("");
  }

  show(text) {
    this.text = text;
    this.offsets = new Offsets(text);
    this.words = null;
    this.cursor = null;
    this.node.scrollTop = 0;
    this.paint([]);
  }

  // marks: {start, end, name, kind}: places in characters; `name` stands behind the words, `kind` is a class.
  paint(marks) {
    const placed = marks.map((mark) => ({
      ...mark,
      start: this.offsets.toUnits(mark.start),
      end: this.offsets.toUnits(mark.end),
    }));
    const edges = [...new Set([0, this.text.length, ...placed.flatMap((mark) => [mark.start, mark.end])])];
    edges.sort((one, other) => one - other);
    const pieces = [];
    for (let place = 0; place + 1 < edges.length; place += 1) {
      const [start, end] = [edges[place], edges[place + 1]];
      const covering = placed.filter((mark) => mark.start <= start && end <= mark.end);
      const text = document.createTextNode(visible(this.text.slice(start, end)));
      pieces.push(covering.length ? marked(text, covering, end) : text);
    }
    this.node.replaceChildren(...pieces);
  }

  reveal(name) {
    const found = this.node.querySelector(`mark[data-names~="${CSS.escape(name)}"]`);
    if (!found) return;
    found.scrollIntoView({ block: "center" });
    for (const old of this.node.querySelectorAll(".now")) old.classList.remove("now");
    found.classList.add("now");
  }

  // The marked words and their place in characters, without space and punctuation at their ends; null where none are.
  selected() {
    const selection = getSelection();
    if (!selection.rangeCount || selection.isCollapsed) return null;
    const range = selection.getRangeAt(0);
    if (!this.node.contains(range.commonAncestorContainer)) return null;
    const start = this.unitOf(range.startContainer, range.startOffset);
    const end = this.unitOf(range.endContainer, range.endOffset);
    const raw = this.text.slice(start, end);
    const text = raw.replace(EDGE, "");
    if (!text) return null;
    const first = start + raw.indexOf(text);
    const span = [this.offsets.toPoints(first), this.offsets.toPoints(first + text.length)];
    return { text: text.split(/\s+/u).join(" "), span };
  }

  unitOf(node, offset) {
    const before = document.createRange();
    before.setStart(this.node, 0);
    before.setEnd(node, offset);
    return before.toString().length;
  }

  onKey(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10 }[event.key];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.words ??= [...this.text.matchAll(/\S+/gu)].map((found) => [found.index, found.index + found[0].length]);
    if (!this.words.length) return;
    const last = this.words.length - 1;
    const to = this.cursor === null ? 0 : Math.min(last, Math.max(0, this.cursor.to + step));
    this.cursor = { from: event.shiftKey && this.cursor ? this.cursor.from : to, to };
    const [first, final] = [Math.min(this.cursor.from, to), Math.max(this.cursor.from, to)];
    this.select(this.words[first][0], this.words[final][1], this.words[to][0]);
  }

  select(start, end, seen) {
    const range = document.createRange();
    range.setStart(...this.nodeAt(start));
    range.setEnd(...this.nodeAt(end));
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    const word = document.createRange();
    word.setStart(...this.nodeAt(seen));
    const box = this.node.getBoundingClientRect();
    const place = word.getBoundingClientRect();
    if (place.top < box.top || place.bottom > box.bottom) this.node.scrollTop += place.top - box.top - box.height / 2;
  }

  nodeAt(unit) {
    const walker = document.createTreeWalker(this.node, NodeFilter.SHOW_TEXT);
    let left = unit;
    let last = null;
    while (walker.nextNode()) {
      last = walker.currentNode;
      if (left <= last.length) return [last, left];
      left -= last.length;
    }
    return [last ?? this.node, last ? last.length : 0];
  }
}

function marked(text, covering, end) {
  const mark = document.createElement("mark");
  mark.append(text);
  mark.className = covering[0].kind;
  mark.dataset.names = covering.map((one) => one.name).join(" ");
  const ending = covering.filter((one) => one.end === end).map((one) => one.name);
  if (ending.length) mark.dataset.ends = ending.join(" ");
  return mark;
}
