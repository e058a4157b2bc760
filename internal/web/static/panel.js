// The panel beside the drawing: a lookup, a member, or the ring as a whole.
import { duration, el, keyOf, percent, plural, wrongs } from './dom.js';

const WORDS = {
  lookups: 'lookups begun', owned: 'answered by its range', confirmed: 'answered from memory', lookups_failed: 'lookups failed',
  route_requests: 'requests for lookups', ring_requests: 'requests for the ring', served_requests: 'requests served',
  timeouts: 'not answered in time', broken: 'connections broken', join_retries: 'joins tried again',
  finger_lookups: 'lookups of fingers', range_changes: 'changes of range',
};

/**
 * Panel shows details. goto is called with the key of a member that is followed,
 * clear with what is closed, again when there is more to show.
 */
export class Panel {
  #box;
  #goto;
  #clear;
  #again;
  #shown = '';
  #metas = new Map(); // identifier -> what was said, or a promise of it

  constructor(box, { goto, clear, again }) {
    this.#box = box;
    this.#goto = goto;
    this.#clear = clear;
    this.#again = again;
  }

  show(page, selected, lookup) {
    const member = page.ring.members.find((m) => keyOf(m) === selected);
    const parts = [];
    if (lookup) parts.push(this.#lookup(page, lookup));
    if (member) parts.push(this.#member(page, member));
    else if (!lookup) parts.push(this.#ring(page));
    const holder = el('div', {}, ...parts);
    if (holder.innerHTML === this.#shown) return; // read only: what is shown was made of text
    this.#shown = holder.innerHTML;
    const focused = this.#box.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
    const top = this.#box.scrollTop;
    this.#box.replaceChildren(...holder.childNodes);
    this.#box.scrollTop = top;
    if (focused) this.#box.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  #link(server, where) {
    return el('button', { type: 'button', class: 'link', 'data-focus': `${where} ${keyOf(server)}`, on: { click: () => this.#goto(keyOf(server)) } }, server.name);
  }

  #links(servers, where) {
    if (servers.length === 0) return el('span', { class: 'none' }, 'none');
    return el('ol', { class: 'inline' }, ...servers.map((s) => el('li', {}, this.#link(s, where))));
  }

  #facts(...pairs) {
    return el('dl', {}, ...pairs.filter(Boolean).flatMap(([term, what, title]) => [el('dt', { title }, term), el('dd', {}, ...[what].flat())]));
  }

  #title(text, note, what) {
    return el('div', { class: 'title' }, el('h2', {}, text, note && el('small', {}, note)),
      el('button', { type: 'button', class: 'close', 'aria-label': `Close ${what}`, 'data-focus': `close ${what}`, on: { click: () => this.#clear(what) } }, '×'));
  }

  #wrong(list) {
    return list.length > 0 && el('ul', { class: 'wrong', 'aria-label': 'What is wrong' }, ...list.map((w) => el('li', { title: w.name }, w.says)));
  }

  #ring(page) {
    const here = page.ring.members.filter((m) => m.state === 'here');
    const troubled = page.ring.members.filter((m) => m.state !== 'gone' && m.wrong.length > 0);
    const shares = here.map((m) => m.share);
    const largest = here.find((m) => m.share === Math.max(...shares));
    const smallest = here.find((m) => m.share === Math.min(...shares));
    return el('section', { class: 'whole' },
      el('h2', {}, 'The ring'),
      el('p', { class: 'hint' }, 'Choose a member, or look a key up to see its path.'),
      this.#facts(
        ['members', String(here.length)],
        ['fair share', here.length ? percent(1 / here.length) : '–', 'all keys, divided by the number of members'],
        largest && ['largest', [this.#link(largest, 'largest'), ` ${percent(largest.share)}`]],
        smallest && ['smallest', [this.#link(smallest, 'smallest'), ` ${percent(smallest.share)}`]],
        ['identifiers', `${page.hash_bits} bits`],
        ['walked', page.walk.at ? `in ${duration(page.walk.took_ns)}` : 'not yet'],
      ),
      page.walk.error && el('p', { class: 'wrong' }, `The last walk did not come round: ${page.walk.error}`),
      el('h3', {}, 'What is wrong'),
      wrongs(page.ring) === 0 ? el('p', { class: 'right' }, 'Nothing: every pointer of every member is right.') : null,
      this.#wrong(page.ring.wrong),
      troubled.length > 0 && el('ul', { class: 'wrong' }, ...troubled.map((m) => el('li', {}, this.#link(m, 'wrong'), ` ${m.wrong.map((w) => w.says).join('; ')}`))));
  }

  #member(page, m) {
    const self = page.self;
    const own = keyOf(m) === keyOf(self.server);
    const state = m.state === 'here' ? (own ? self.phase : 'in the ring') : m.state;
    const node = el('section', { class: 'one', 'data-state': m.state },
      this.#title(m.name, own ? 'this member' : null, 'the member'),
      this.#wrong(m.wrong),
      this.#facts(
        ['state', state],
        ['address', m.address],
        ['identifier', el('code', {}, m.id)],
        m.range && ['share', `${percent(m.share)} of the keys`],
        m.range && ['range', el('code', {}, `(${m.range.start}, ${m.range.end}]`)],
        m.asked && ['predecessor', m.predecessor ? this.#link(m.predecessor, 'predecessor') : el('span', { class: 'none' }, 'none')],
        m.asked && ['successors', this.#links(m.successors, 'successor')],
      ));
    if (own) {
      node.append(
        this.#facts(
          ['fingers', this.#links(self.fingers.map((f) => f.server), 'finger')],
          ['acquaintances', this.#links(self.acquaintances, 'acquaintance'), 'live members known besides, by which the ring is found again'],
          ['silent', plural(self.silent, 'acquaintance'), 'did not answer last'],
          ['pending', plural(self.pending, 'acquaintance'), 'may be in another ring'],
          ['size', `about ${plural(self.size_estimate, 'member')}, as it reckons`],
          ['connections', String(self.connections)],
        ),
        el('h3', {}, 'Counters since its start'),
        el('dl', { class: 'counters' }, ...Object.entries(WORDS).flatMap(([name, words]) =>
          [el('dt', { title: name }, words), el('dd', {}, self.counters[name].toLocaleString('en'))])));
    } else if (m.state !== 'gone') {
      node.append(el('p', { class: 'hint' }, 'Its fingers and counters are on its own page. ', this.#meta(m)));
    }
    return node;
  }

  /** What the member's application says of it: asked once, shown when it is there. */
  #meta(m) {
    const key = keyOf(m);
    const said = this.#metas.get(key);
    if (said === undefined && m.state === 'here') {
      if (this.#metas.size >= 1000) this.#metas.clear();
      this.#metas.set(key, null);
      fetch(`meta?id=${m.id}`, { headers: { Accept: 'application/json' } })
        .then((r) => (r.ok ? r.json() : {})).catch(() => ({}))
        .then((meta) => {
          this.#metas.set(key, meta);
          this.#again();
        });
    }
    if (said?.url) return el('a', { href: said.url, rel: 'noopener noreferrer', 'data-focus': 'meta' }, said.url);
    return said?.text ? el('span', { class: 'meta' }, `It says of itself: ${said.text}`) : null;
  }

  #lookup(page, l) {
    const longest = Math.max(1, ...l.hops.map((h) => h.took_ns));
    const end = l.owner
      ? el('p', { class: 'answer' }, 'belongs to ', this.#link(l.owner, 'owner'))
      : el('p', { class: 'wrong' }, l.error);
    const node = el('section', { class: 'path' },
      this.#title(l.key, 'key', 'the lookup'),
      end,
      this.#facts(
        ['identifier', el('code', {}, l.id)],
        ['took', `${duration(l.took_ns)}, ${plural(l.hops.length, 'hop')}`],
        l.source && ['known from', l.source === 'asked' ? 'a member asked' : l.source],
        l.range && ['range', el('code', {}, `(${l.range.start}, ${l.range.end}]`)],
      ));
    if (l.hops.length > 0) {
      node.append(el('ol', { class: 'hops' }, ...l.hops.map((h) => {
        const bar = el('i', { class: 'bar' });
        bar.style.setProperty('--part', h.took_ns / longest);
        return el('li', { class: h.error ? 'failed' : null },
          el('div', {}, this.#link(h.server, 'hop'), el('b', {}, duration(h.took_ns))), bar,
          el('small', {}, `${h.why}; ${h.error ?? answer(h)}`));
      })));
    } else if (l.owner) {
      node.append(el('p', { class: 'hint' }, 'Nobody had to be asked.'));
    }
    return node;
  }
}

/** What a member asked has answered. */
function answer(h) {
  const names = h.named.map((s) => s.name).join(', ');
  if (h.said === 'mine') return 'said: mine';
  if (h.said === 'owned') return `said: it is ${names}'s`;
  return names ? `named ${names} as closer` : 'knew nobody closer';
}

/** The rows of the table of all members. */
export function rows(page) {
  return page.ring.members.map((m) => el('tr', { 'data-state': m.state },
    el('th', { scope: 'row' }, m.name), el('td', {}, m.id), el('td', {}, m.address), el('td', {}, percent(m.share)),
    el('td', {}, m.state), el('td', {}, m.wrong.map((w) => w.says).join('. '))));
}
