// Text with stretches marked: the gold answers, and what a person looks for.
import { h } from "./ground.js";

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** A pattern that finds any of the answers: case, punctuation and spaces aside. Null where there is none. */
export function answerPattern(golds) {
  const words = (gold) => gold.normalize("NFC").split(/[^\p{L}\p{N}]+/u).filter(Boolean).map(escaped);
  const forms = golds.map(words).filter((one) => one.length).map((one) => one.join("[^\\p{L}\\p{N}]{1,3}"));
  return forms.length ? new RegExp(`(?<![\\p{L}\\p{N}])(?:${forms.join("|")})(?![\\p{L}\\p{N}])`, "giu") : null;
}

/** A pattern that finds `text` as it is written, in any case; null for an empty one. */
export const findPattern = (text) => (text ? new RegExp(escaped(text), "giu") : null);

/** `text` as nodes in which every match of each [pattern, class] is a <mark>. Earlier patterns win. */
export function marked(text, patterns) {
  let pieces = [text];
  for (const [pattern, kind, title] of patterns) {
    if (!pattern) continue;
    pieces = pieces.flatMap((piece) => (typeof piece === "string" ? split(piece, pattern, kind, title) : [piece]));
  }
  return pieces;
}

function split(text, pattern, kind, title) {
  const out = [];
  let from = 0;
  for (const match of text.matchAll(pattern)) {
    if (!match[0]) continue;
    if (match.index > from) out.push(text.slice(from, match.index));
    out.push(h("mark", { class: kind, title }, match[0]));
    from = match.index + match[0].length;
  }
  if (from < text.length) out.push(text.slice(from));
  return out;
}
