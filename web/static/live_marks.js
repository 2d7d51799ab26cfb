// Marks the sentence that is being spoken in an answer's text, without touching the text.

const NAME = "lec-spoken";

// The stretch of `body` that reads `sentence`; blanks do not count, and a source's button reads "[n]". null: not there.
export function rangeOf(body, sentence) {
  const wanted = sentence.replace(/\s+/g, "");
  if (!wanted) return null;
  const places = []; // of every character: its node and offset
  let flat = "";
  const walker = document.createTreeWalker(body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.parentElement.closest(".lec-answer-text, .lec-refused-title")) continue;
    const source = node.parentElement.closest(".lec-cite");
    const text = source ? `[${node.data}]` : node.data;
    for (let i = 0; i < text.length; i += 1) {
      if (/\s/.test(text[i])) continue;
      flat += text[i];
      places.push({ node, offset: source ? Math.min(i, node.data.length) : i });
    }
  }
  const start = flat.indexOf(wanted);
  if (start < 0) return null;
  const range = document.createRange();
  const [first, last] = [places[start], places[start + wanted.length - 1]];
  range.setStart(first.node, first.offset);
  range.setEnd(last.node, Math.min(last.offset + 1, last.node.data.length));
  return range;
}

export function mark(range) {
  if (window.CSS?.highlights) CSS.highlights.set(NAME, new Highlight(range));
  else { // older browsers: the paragraph
    unmark();
    range.startContainer.parentElement?.closest(".lec-answer-text")?.classList.add(NAME);
  }
}

export function unmark() {
  window.CSS?.highlights?.delete(NAME);
  for (const marked of document.querySelectorAll(`.${NAME}`)) marked.classList.remove(NAME);
}

// What is marked now: for the curious and for tests.
export const marked = () => [...(window.CSS?.highlights?.get(NAME) ?? [])].map(String).join("");
