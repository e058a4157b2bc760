// The drawing: a circle of identifiers, clockwise from the top.
import { cut, duration, keyOf, percent, plain, plural, svg, turn, wrongs } from './dom.js';

const LABEL = 16; // height of a line of text
const MOST_LABELS = 48; // with more members, only some are named

/** A point so far from the middle, at a place 0 … 1. */
const at = (place, radius) => {
  const angle = 2 * Math.PI * place;
  return { x: radius * Math.sin(angle), y: -radius * Math.cos(angle) };
};
const xy = (p) => `${p.x.toFixed(1)} ${p.y.toFixed(1)}`;

/** Ring draws the members into a box and says which was chosen. */
export class Ring {
  #box;
  #choose; // called with a member's key, or null
  #root;
  #layers = {};
  #members = new Map(); // key -> what is drawn of it
  #order = []; // keys, clockwise
  #page = null;
  #selected = null;
  #hovered = null;
  #active = null; // the key that Tab leads to
  #lookup = null;
  #shown = [null, null, null, null]; // what was drawn last
  #path = []; // and of the lookup
  #radius = 100;
  #width = 0;
  #height = 0;

  constructor(box, choose) {
    this.#box = box;
    this.#choose = choose;
    this.#root = svg('svg', { role: 'img', 'aria-label': 'No member yet' });
    for (const name of ['track', 'arcs', 'pointers', 'path', 'leaders', 'dots', 'labels', 'badges']) {
      this.#layers[name] = svg('g', { class: name, 'aria-hidden': name === 'dots' ? undefined : 'true' });
      this.#root.append(this.#layers[name]);
    }
    this.#layers.dots.addEventListener('keydown', (e) => this.#key(e));
    this.#root.addEventListener('click', (e) => this.#choose(this.#nearest(e, 26)));
    this.#root.addEventListener('pointermove', (e) => e.pointerType === 'mouse' && this.#hover(this.#nearest(e, 14)));
    this.#root.addEventListener('pointerleave', () => this.#hover(null));
    box.append(this.#root);
    new ResizeObserver(() => this.draw()).observe(box);
  }

  /** Shows a page; which member is selected, and the lookup, if there is one. */
  show(page, selected, lookup) {
    const own = selected === keyOf(page.self.server) ? page.self : null; // whose fingers are drawn
    const now = [page.ring, selected, lookup, own];
    if (this.#shown.every((x, i) => x === now[i])) return;
    this.#shown = now;
    this.#page = page;
    this.#selected = selected;
    this.#lookup = lookup;
    this.draw();
  }

  /** Puts the focus on a member. */
  focus(key) {
    const m = this.#members.get(key);
    if (!m) return;
    this.#active = key;
    this.#rove();
    m.node.focus();
  }

  draw() {
    const page = this.#page;
    this.#width = this.#box.clientWidth;
    this.#height = this.#box.clientHeight;
    if (!page || this.#width < 40 || this.#height < 40) return;
    const side = this.#narrow ? 64 : 140;
    this.#radius = Math.max(50, Math.min(this.#height / 2 - 26, this.#width / 2 - side));
    this.#root.setAttribute('viewBox', `${-this.#width / 2} ${-this.#height / 2} ${this.#width} ${this.#height}`);
    const all = page.ring.members;
    this.#order = all.map(keyOf);
    this.#root.classList.toggle('busy', this.#lookup !== null);
    this.#drawTrack();
    this.#drawArcs();
    this.#drawDots();
    this.#drawPointers();
    this.#drawPath();
    this.#drawLabels();
  }

  get #thick() {
    const most = this.#page.ring.members.length > 100 ? 10 : 15;
    return Math.max(6, Math.min(most, this.#radius * 0.055));
  }

  get #narrow() {
    return this.#width < 480;
  }

  get #self() {
    return keyOf(this.#page.self.server);
  }

  #place(s) {
    return turn(s.id, this.#page.hash_bits);
  }

  #drawTrack() {
    const { track } = this.#layers;
    const r = this.#radius;
    const here = this.#page.ring.members.filter((m) => m.state === 'here').length;
    const wrong = wrongs(this.#page.ring);
    track.replaceChildren(svg('circle', { class: 'base', r, 'stroke-width': this.#thick }));
    for (let i = 0; i < 32; i++) {
      const outer = r - this.#thick / 2 - 3;
      const from = at(i / 32, outer);
      const to = at(i / 32, outer - (i % 8 === 0 ? 9 : i % 4 === 0 ? 6 : 3));
      track.append(svg('path', { class: 'tick', d: `M${xy(from)}L${xy(to)}` }));
    }
    ['0', '¼', '½', '¾'].forEach((text, i) => {
      const p = at(i / 4, r - this.#thick / 2 - 23);
      track.append(svg('text', { class: 'tick-label', x: p.x, y: p.y + 4 }, text));
    });
    track.append(svg('g', { class: 'middle' },
      svg('text', { class: 'count', y: 2 }, String(here)),
      svg('text', { class: 'unit', y: 22 }, here === 1 ? 'member' : 'members'),
      svg('text', { class: wrong ? 'verdict wrong' : 'verdict', y: 42 },
        wrong ? `${plural(wrong, 'thing')} wrong` : 'nothing is wrong')));
  }

  #drawArcs() {
    const { arcs } = this.#layers;
    const here = this.#page.ring.members.filter((m) => m.range);
    const owner = this.#lookup?.owner ? keyOf(this.#lookup.owner) : null;
    arcs.replaceChildren();
    for (const m of here) {
      const key = keyOf(m);
      // Three times its fair share is the darkest, a sixth of it the lightest.
      const depth = Math.max(0, Math.min(1, Math.log(6 * m.share * here.length) / Math.log(18)));
      const chosen = key === this.#selected || key === owner;
      for (const part of m.ranges ?? [{ start: m.range.start, share: m.share }]) {
        const path = svg('path', { class: chosen ? 'arc chosen' : 'arc', 'stroke-width': this.#thick + (chosen ? 4 : 0), d: this.#arc(this.#place({ id: part.start }), part.share) },
          svg('title', {}, `${m.name}: ${percent(m.share)} of the keys`));
        path.style.stroke = `color-mix(in oklab, var(--share-large) ${Math.round(100 * depth)}%, var(--share-small))`;
        arcs.append(path);
      }
    }
  }

  #arc(from, share) {
    const r = this.#radius;
    if (share >= 1) return `M0 ${-r}A${r} ${r} 0 1 1 0 ${r}A${r} ${r} 0 1 1 0 ${-r}`;
    const gap = Math.min(share / 4, 1.5 / (2 * Math.PI * r));
    const a = at(from + gap, r);
    const b = at(from + share - gap, r);
    return `M${xy(a)}A${r} ${r} 0 ${share - 2 * gap > 0.5 ? 1 : 0} 1 ${xy(b)}`;
  }

  #drawDots() {
    const { dots } = this.#layers;
    const all = this.#page.ring.members;
    const size = Math.max(2.2, Math.min(7.5, this.#radius / 14, this.#radius / Math.max(1, all.length)));
    const fresh = this.#members.size > 0;
    const gone = new Set(this.#members.keys());
    let last = null;
    for (const m of all) {
      const key = keyOf(m);
      gone.delete(key);
      let drawn = this.#members.get(key);
      if (!drawn) {
        const node = svg('g', { class: 'member', role: 'option', tabindex: -1 },
          svg('circle', { class: 'halo' }), svg('circle', { class: 'dot' }), svg('title'));
        if (fresh) node.classList.add('new');
        drawn = { node };
        this.#members.set(key, drawn);
      }
      const { node } = drawn;
      const own = key === this.#self;
      const p = at(this.#place(m), this.#radius);
      drawn.member = m;
      drawn.point = p;
      node.setAttribute('transform', `translate(${xy(p)})`);
      node.dataset.key = key;
      node.dataset.state = m.state;
      node.classList.toggle('own', own);
      node.classList.toggle('troubled', m.wrong.length > 0);
      const words = [m.name, own ? 'this member' : null, { here: null, silent: 'silent', gone: 'gone' }[m.state],
        m.state === 'here' ? `${percent(m.share)} of the keys` : null, ...m.wrong.map((w) => w.says)].filter(Boolean).map(plain).join(', ');
      node.setAttribute('aria-label', words);
      node.setAttribute('aria-selected', String(key === this.#selected));
      node.children[0].setAttribute('r', size + (own ? 5 : 4));
      node.children[1].setAttribute('r', own ? size + 2 : size);
      node.children[1].setAttribute('stroke-width', Math.min(own ? 4 : 2.5, size / (own ? 1 : 2)));
      node.children[2].textContent = words;
      // Keep what is there in its order, and the focus with it.
      const next = last ? last.nextSibling : dots.firstChild;
      if (next !== node) {
        const focused = document.activeElement === node;
        dots.insertBefore(node, next);
        if (focused) node.focus();
      }
      last = node;
    }
    for (const key of gone) {
      this.#members.get(key).node.remove();
      this.#members.delete(key);
    }
    if (!this.#members.has(this.#active)) this.#active = this.#members.has(this.#self) ? this.#self : (this.#order[0] ?? null);
    if (all.length > 0) {
      this.#root.setAttribute('role', 'group');
      this.#root.setAttribute('aria-label', `A ring of ${plural(all.length, 'member')}`);
      dots.setAttribute('role', 'listbox');
      dots.setAttribute('aria-label', 'Members, clockwise. Arrow keys go round, Enter shows one, Escape none.');
    }
    this.#rove();
  }

  #rove() {
    for (const [key, { node }] of this.#members) node.setAttribute('tabindex', key === this.#active ? 0 : -1);
  }

  /** The way inside the circle from one point of it to another. */
  #chord(from, to) {
    const inner = (s) => at(this.#place(s), this.#radius - this.#thick / 2 - 5);
    const a = inner(from);
    const b = inner(to);
    const apart = Math.hypot(a.x - b.x, a.y - b.y) / (2 * this.#radius);
    const pull = 0.78 - 0.5 * apart; // neighbours are joined near the rim, opposites nearly straight
    const c = { x: ((a.x + b.x) / 2) * pull, y: ((a.y + b.y) / 2) * pull };
    const point = (t) => ({
      x: (1 - t) ** 2 * a.x + 2 * t * (1 - t) * c.x + t ** 2 * b.x,
      y: (1 - t) ** 2 * a.y + 2 * t * (1 - t) * c.y + t ** 2 * b.y,
    });
    return { d: `M${xy(a)}Q${xy(c)} ${xy(b)}`, point, end: b, control: c };
  }

  #drawPointers() {
    const { pointers } = this.#layers;
    pointers.replaceChildren();
    const chosen = this.#members.get(this.#selected)?.member;
    if (!chosen || this.#lookup) return;
    const line = (to, kind) => {
      if (to.id !== chosen.id) pointers.append(svg('path', { class: kind, d: this.#chord(chosen, to).d }));
    };
    if (this.#selected === this.#self) this.#page.self.fingers.forEach((f) => line(f.server, 'finger'));
    chosen.successors.forEach((s) => line(s, 'successor'));
    if (chosen.predecessor) line(chosen.predecessor, 'predecessor');
  }

  /** Draws the lookup, unless it is there: it appears once. */
  #drawPath() {
    const { path, badges } = this.#layers;
    const l = this.#lookup;
    const now = [l, this.#width, this.#height];
    if (this.#path.length && this.#path.every((x, i) => x === now[i])) return;
    this.#path = now;
    path.replaceChildren();
    badges.replaceChildren();
    if (!l) return;
    const taken = []; // by words
    const place = turn(l.id, this.#page.hash_bits);
    const spot = at(place, this.#radius);
    const mark = 5.5;
    path.append(svg('path', { class: 'key', d: `M${spot.x} ${spot.y - mark}l${mark} ${mark}l${-mark} ${mark}l${-mark} ${-mark}z` }));
    legs(l, this.#page.self.server).forEach((leg, i) => {
      const chord = this.#chord(leg.from, leg.to);
      const line = svg('path', { class: `leg ${leg.kind}`, d: chord.d, pathLength: 1 });
      line.style.setProperty('--turn', i);
      path.append(line, this.#arrow(chord, leg.kind, i));
      if (!leg.words) return;
      // On the line if there is room, else further inside, with a line to it.
      const middle = chord.point(0.5);
      const far = Math.max(1, Math.hypot(middle.x, middle.y));
      const inside = Array.from({ length: 12 }, (_, k) => 1 - (16 * (k + 1)) / far).filter((f) => f > -0.5);
      const places = [0.5, 0.4, 0.6, 0.3, 0.7].map(chord.point).concat(inside.map((f) => ({ x: middle.x * f, y: middle.y * f })));
      this.#badge(this.#narrow && leg.number ? leg.number : leg.words, leg.kind, i, places, taken);
    });
    const inward = [40, 62, 84, 106, 128].map((d) => at(place, this.#radius - d));
    this.#badge(cut(l.key, 18), 'name', 0, inward, taken);
  }

  #arrow(chord, kind, i) {
    const angle = Math.atan2(chord.end.y - chord.control.y, chord.end.x - chord.control.x);
    const arrow = svg('path', {
      class: `head ${kind}`, d: 'M0 0L-9 4L-9 -4z',
      transform: `translate(${xy(chord.end)}) rotate(${((angle * 180) / Math.PI).toFixed(1)})`,
    });
    arrow.style.setProperty('--turn', i);
    return arrow;
  }

  /** Writes words at the first of the places where they cover no others. */
  #badge(words, kind, i, places, taken) {
    const width = 7 * [...words].length + 14;
    const box = (p) => ({ x: p.x - width / 2, y: p.y - 10, w: width, h: 20 });
    const free = (b) => taken.every((o) => b.x > o.x + o.w || o.x > b.x + b.w || b.y > o.y + o.h || o.y > b.y + b.h);
    const boxes = places.map(box);
    const within = (o) => Math.hypot(Math.abs(o.x + o.w / 2) + o.w / 2, Math.abs(o.y + o.h / 2) + o.h / 2) < this.#radius - this.#thick / 2;
    const b = boxes.find((o) => free(o) && within(o)) ?? boxes.find(free) ?? boxes[0];
    taken.push(b);
    const middle = { x: b.x + b.w / 2, y: b.y + b.h / 2 };
    const apart = Math.hypot(middle.x - places[0].x, middle.y - places[0].y) > 24;
    const badge = svg('g', { class: `badge ${kind}` },
      apart && svg('path', { d: `M${xy(places[0])}L${xy(middle)}` }),
      svg('rect', { x: b.x, y: b.y, width: b.w, height: b.h, rx: 10 }),
      svg('text', { x: b.x + b.w / 2, y: b.y + 14 }, words));
    badge.style.setProperty('--turn', i);
    this.#layers.badges.append(badge);
  }

  /** Names the members: all if there is room, else those that matter now. */
  #drawLabels() {
    const { labels, leaders } = this.#layers;
    labels.replaceChildren();
    leaders.replaceChildren();
    const room = Math.min(MOST_LABELS, 2 * Math.floor((this.#height - 8) / LABEL));
    const matter = new Set([this.#self, this.#selected, this.#hovered]);
    if (this.#lookup) {
      this.#lookup.hops.forEach((h) => matter.add(keyOf(h.server)));
      if (this.#lookup.owner) matter.add(keyOf(this.#lookup.owner));
    }
    let shown = [...this.#members.values()];
    if (shown.length > room) {
      const first = shown.filter(({ node }) => matter.has(node.dataset.key));
      const next = shown.filter(({ node, member }) => !matter.has(node.dataset.key) && (member.state !== 'here' || member.wrong.length > 0));
      shown = [...first, ...next].slice(0, room);
    }
    const sides = [[], []];
    for (const m of shown) sides[m.point.x >= 0 ? 0 : 1].push(m);
    const limit = this.#height / 2 - LABEL / 2 - 1;
    const reach = this.#radius + this.#thick / 2 + 12;
    sides.forEach((side, left) => {
      side.sort((a, b) => a.point.y - b.point.y || a.point.x - b.point.x);
      const ys = side.map((m) => Math.max(-limit, Math.min(limit, m.point.y * (reach / this.#radius))));
      for (let i = 1; i < ys.length; i++) ys[i] = Math.max(ys[i], ys[i - 1] + LABEL);
      for (let i = ys.length - 1, low = limit; i >= 0; i--, low = ys[i + 1] - LABEL) ys[i] = Math.min(ys[i], low);
      side.forEach((m, i) => this.#label(m, ys[i], left === 1, reach, matter));
    });
  }

  #label(m, y, left, reach, matter) {
    const sign = left ? -1 : 1;
    const out = Math.max(6, Math.sqrt(Math.max(0, reach ** 2 - y ** 2)));
    const x = sign * out;
    const letters = Math.floor((this.#width / 2 - out - 8) / 7.1);
    const share = m.member.state === 'here' ? percent(m.member.share) : m.member.state;
    const name = cut(m.member.name, Math.max(3, letters));
    const text = svg('text', { class: 'label', x: x + 4 * sign, y: y + 4.5, 'text-anchor': left ? 'end' : 'start' });
    const parts = [svg('tspan', {}, name)];
    if (letters - [...name].length > share.length + 1) parts.push(svg('tspan', { class: 'share', dx: 6 }, share));
    text.append(...parts);
    const key = m.node.dataset.key;
    text.dataset.state = m.member.state;
    text.classList.toggle('own', key === this.#self);
    text.classList.toggle('chosen', key === this.#selected || (matter.has(key) && key !== this.#self));
    text.classList.toggle('troubled', m.member.wrong.length > 0);
    this.#layers.labels.append(text);
    const rim = at(this.#place(m.member), this.#radius + this.#thick / 2 + 1);
    this.#layers.leaders.append(svg('path', { d: `M${xy(rim)}L${xy({ x, y })}` }));
  }

  /** The member nearest to where the pointer is, if it is near enough. */
  #nearest(e, near) {
    const box = this.#root.getBoundingClientRect();
    const p = { x: e.clientX - box.left - box.width / 2, y: e.clientY - box.top - box.height / 2 };
    let best = null;
    let least = near;
    for (const [key, { point }] of this.#members) {
      const d = Math.hypot(point.x - p.x, point.y - p.y) - (key === this.#self ? 3 : 0); // it is drawn larger
      if (d < least) [best, least] = [key, d];
    }
    return best;
  }

  #hover(key) {
    if (key === this.#hovered) return;
    this.#members.get(this.#hovered)?.node.classList.remove('hovered');
    this.#hovered = key;
    this.#members.get(key)?.node.classList.add('hovered');
    this.#root.classList.toggle('pointing', key !== null);
    if (this.#page) this.#drawLabels();
  }

  #key(e) {
    const i = this.#order.indexOf(this.#active);
    const n = this.#order.length;
    const to = {
      ArrowRight: (i + 1) % n, ArrowDown: (i + 1) % n, ArrowLeft: (i + n - 1) % n, ArrowUp: (i + n - 1) % n,
      Home: this.#order.indexOf(this.#self), End: n - 1,
    }[e.key];
    if (to !== undefined && to >= 0) this.focus(this.#order[to]);
    else if (e.key === 'Enter' || e.key === ' ') this.#choose(this.#active);
    else if (e.key === 'Escape') this.#choose(null);
    else return;
    e.preventDefault();
  }
}

/**
 * The lookup as lines to draw: to each member asked from the one that had named
 * it, numbered and with its time; then to the owner, if it was not asked itself.
 */
export function legs(lookup, self) {
  const out = [];
  lookup.hops.forEach((hop, i) => {
    const by = lookup.hops.slice(0, i).findLast((h) => h.named.some((s) => keyOf(s) === keyOf(hop.server)));
    out.push({ from: by?.server ?? self, to: hop.server, kind: hop.error ? 'failed' : 'asked', number: String(i + 1), words: `${i + 1} · ${duration(hop.took_ns)}` });
  });
  const last = lookup.hops.findLast((h) => !h.error)?.server ?? self;
  if (lookup.owner && keyOf(last) !== keyOf(lookup.owner)) {
    out.push({ from: last, to: lookup.owner, kind: 'named', words: lookup.hops.length ? null : lookup.source });
  }
  return out.filter((leg) => leg.from.id !== leg.to.id);
}
