// Elements and words. All text goes in as text: names of members are what
// others chose. What does not print as itself is escaped: marks of writing
// direction would show a text in another order than it has.

const HIDDEN = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** A text that others may have chosen, harmless to read. */
export const plain = (text) => text.replace(HIDDEN, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'on') {
      for (const [event, f] of Object.entries(value)) node.addEventListener(event, f);
    } else {
      node.setAttribute(name, value === true ? '' : typeof value === 'string' ? plain(value) : value);
    }
  }
  node.append(...children.filter((c) => c !== null && c !== undefined && c !== false).map((c) => (typeof c === 'string' ? plain(c) : c)));
  return node;
}

/** An HTML element; on holds its listeners. */
export const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);

/** An SVG element. */
export const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

/** What tells members apart: a name that has moved is another. */
export const keyOf = (s) => `${s.id} ${s.name} ${s.address}`;

/** The place of an identifier, 0 … 1 clockwise. */
export const turn = (id, bits) => Number(id) / 2 ** bits;

export function percent(share) {
  const p = 100 * share;
  if (p >= 99.95) return '100 %';
  return p >= 0.1 || p === 0 ? `${p.toFixed(1)} %` : `${p.toPrecision(1)} %`;
}

/** A duration, given in nanoseconds. */
export function duration(ns) {
  if (ns >= 1e9) return `${(ns / 1e9).toFixed(1)} s`;
  if (ns >= 1e7) return `${Math.round(ns / 1e6)} ms`;
  if (ns >= 1e6) return `${(ns / 1e6).toFixed(1)} ms`;
  return `${Math.round(ns / 1e3)} µs`;
}

export const plural = (n, word) => (n === 1 ? `1 ${word}` : `${n} ${word}s`);

export const clock = (when) => new Date(when).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });

/** A text that is at most so long. */
export function cut(text, most) {
  const letters = [...text];
  return letters.length <= most ? text : `${letters.slice(0, Math.max(1, most - 1)).join('')}…`;
}

/** How many things are wrong. */
export const wrongs = (ring) =>
  ring.wrong.length + ring.members.reduce((n, m) => n + (m.state === 'gone' ? 0 : m.wrong.length), 0);
