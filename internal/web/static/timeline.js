// What has happened: a list, the newest first, and a strip of the last minutes.
import { clock, el, svg } from './dom.js';

const MOST = 250; // events kept
const SPAN = 5 * 60 * 1000; // ms that the strip shows

export class Timeline {
  #strip;
  #list;
  #choose;
  #events = [];

  /** choose is called with the member of an event that is followed. */
  constructor(strip, list, choose) {
    this.#strip = strip;
    this.#list = list;
    this.#choose = choose;
    new ResizeObserver(() => this.draw()).observe(strip);
  }

  replace(events) {
    this.#events = events.slice(-MOST);
    this.#list.replaceChildren(...this.#events.map((e) => this.#item(e)).reverse());
    this.draw();
  }

  add(event) {
    this.#events.push(event);
    const item = this.#item(event);
    item.classList.add('new');
    this.#list.prepend(item);
    if (this.#events.length > MOST) {
      this.#events.shift();
      this.#list.lastElementChild.remove();
    }
    this.draw();
  }

  #item(e) {
    // A walk sees only that something has happened since the last one. That is
    // worth saying when it is long.
    const since = e.after && new Date(e.at) - new Date(e.after) > 10000 ? `${clock(e.after)} – ` : '';
    const text = e.member
      ? el('button', { type: 'button', class: 'plain', on: { click: () => this.#choose(e.member) } }, e.text)
      : e.text;
    return el('li', { 'data-kind': e.kind }, el('time', { datetime: e.at }, `${since}${clock(e.at)}`), ' ', text);
  }

  /** Draws the strip as of now. */
  draw(now = Date.now()) {
    const width = this.#strip.clientWidth;
    if (width < 40) return;
    const x = (when) => width - 8 - ((now - new Date(when)) / SPAN) * (width - 16);
    const root = svg('svg', { viewBox: `0 0 ${width} 34`, height: 34 }, svg('path', { class: 'axis', d: `M0 12H${width}` }));
    for (let minute = 0; minute <= 5; minute++) {
      const at = x(now - minute * 60000);
      root.append(svg('path', { class: 'axis', d: `M${at} 8v8` }));
      if (width < 500 && minute % 2 === 1) continue;
      const anchor = { 0: 'end', 5: 'start' }[minute] ?? 'middle';
      root.append(svg('text', { x: at, y: 30, 'text-anchor': anchor }, minute === 0 ? 'now' : `−${minute} min`));
    }
    for (const e of this.#events) {
      if (now - new Date(e.at) <= SPAN) {
        root.append(svg('circle', { class: 'mark', 'data-kind': e.kind, cx: x(e.at).toFixed(1), cy: 12, r: 5 }, svg('title', {}, e.text)));
      }
    }
    this.#strip.replaceChildren(root);
  }
}
