// The page: its state, the stream of changes, and what people do.
import { duration, keyOf, plain, plural, wrongs } from './dom.js';
import { Panel, rows } from './panel.js';
import { Ring } from './ring.js';
import { Timeline } from './timeline.js';

const AGAIN = 5000; // ms until a stream that was refused is tried again

const $ = (id) => document.getElementById(id);
let page = JSON.parse($('data').textContent);
let selected = null; // the key of a member
let lookup = null; // the answer shown
let asked = 0; // lookups begun; only the last is shown

const ring = new Ring($('drawing'), select);
const panel = new Panel($('panel'), { goto: follow, clear, again: show });
const timeline = new Timeline($('strip'), $('events'), (s) => select(keyOf(s)));

/** Tells those who do not see the drawing. */
function say(words) {
  $('say').textContent = plain(words);
}

/** Shows a member, or with null none. */
function select(key) {
  selected = key;
  show();
  const m = page.ring.members.find((x) => keyOf(x) === key);
  if (m) say(`${m.name} is shown`);
}

/** Shows a member that a link leads to, and goes there. */
function follow(key) {
  if (!page.ring.members.some((m) => keyOf(m) === key)) {
    say('that member is not in the ring any more');
    return;
  }
  select(key);
  ring.focus(key);
}

function clear(what) {
  if (what === 'the lookup') {
    lookup = null;
    asked++;
    history.replaceState(null, '', location.pathname);
    $('key').focus();
  } else {
    ring.focus(selected);
    selected = null;
  }
  show();
}

let drawing = false;
let drawn = false;

/** Draws all anew, once in a frame however much has changed. */
function show() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const n = page.ring.members.filter((m) => m.state === 'here').length;
    const wrong = wrongs(page.ring);
    const state = `${plural(n, 'member')}, ${wrong ? `${plural(wrong, 'thing')} wrong` : 'nothing is wrong'}`;
    if ($('state').textContent !== state) $('state').textContent = state;
    $('state').dataset.tone = wrong ? 'wrong' : 'right';
    ring.show(page, selected, lookup);
    panel.show(page, selected, lookup);
    if ($('list').open) $('rows').replaceChildren(...rows(page));
    if (!drawn) performance.mark('drawn'); // for whoever measures how long that took
    drawn = true;
  });
}

async function find(key, memory) {
  const mine = ++asked;
  const button = $('search').querySelector('button');
  button.setAttribute('aria-busy', 'true');
  let answer;
  try {
    const query = new URLSearchParams({ key, ...(memory && { memory: '1' }) });
    const response = await fetch(`lookup?${query}`, { headers: { Accept: 'application/json' } });
    answer = await response.json();
    if (!answer.hops) throw new Error(answer.error);
  } catch (e) {
    answer = { key, id: '0', hops: [], took_ns: 0, error: `The lookup got no answer: ${e.message}` };
  }
  if (mine !== asked) return;
  button.removeAttribute('aria-busy');
  lookup = answer;
  selected = null;
  const url = new URLSearchParams({ key, ...(memory && { memory: '1' }) });
  history.replaceState(null, '', `?${url}`);
  show();
  say(answer.owner
    ? `${key} belongs to ${answer.owner.name}: ${plural(answer.hops.length, 'hop')}, ${duration(answer.took_ns)}`
    : answer.error);
}

$('search').addEventListener('submit', (e) => {
  e.preventDefault();
  find($('key').value, $('memory').checked);
});
$('list').addEventListener('toggle', show);
document.addEventListener('keydown', (e) => {
  const typing = e.target.matches('input');
  if (e.key === '/' && !typing) {
    e.preventDefault();
    $('key').focus();
  } else if (e.key === 'Escape' && !typing) {
    if (selected) select(null);
    else if (lookup) clear('the lookup');
  }
});
setInterval(() => document.hidden || timeline.draw(), 1000);

/** Follows the changes for as long as the page is open. */
function listen() {
  const stream = new EventSource('events');
  const on = (name, f) => stream.addEventListener(name, (e) => {
    f(JSON.parse(e.data));
    show();
  });
  stream.addEventListener('open', () => document.body.classList.remove('lost'));
  on('page', (now) => {
    page = now;
    timeline.replace(page.events);
  });
  for (const name of ['ring', 'walk', 'self']) on(name, (now) => { page[name] = now; });
  on('event', (e) => {
    timeline.add(e);
    if (e.kind !== 'range') say(e.text);
  });
  stream.addEventListener('error', () => {
    if (!document.body.classList.contains('lost')) say('The connection is lost; what is shown is old.');
    document.body.classList.add('lost');
    // A stream that broke is taken up again by the browser, one that was refused is not.
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN);
  });
}

timeline.replace(page.events);
show();
listen();
const wanted = new URLSearchParams(location.search);
if (wanted.get('key')) {
  $('key').value = wanted.get('key');
  $('memory').checked = wanted.get('memory') === '1';
  find($('key').value, $('memory').checked);
}
