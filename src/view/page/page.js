// The page: what is where, the stream that feeds it, and one drawing per frame.

const at = (id) => document.getElementById(id);
const theme = document.documentElement.dataset;
const model = new Model();
const embedded = at('data');
const REPORT = embedded !== null;
/** What was shown when the page was paused, while it is. */
let paused = null;
let query = { number: 0, terms: [] };
let active = '';
/** Whether the server is heard: `report`, `connecting`, `live` or `lost`, and since when. */
let link = { state: REPORT ? 'report' : 'connecting', since: 0 };

// ---- one drawing per frame --------------------------------------------------------------------------------------

let pending = 0;
/** Something has changed. However often it is called, the page is drawn once per frame, and not at all while hidden. */
function changed() {
  if (!pending) pending = requestAnimationFrame(draw);
}

function draw() {
  pending = 0;
  const { data, revision } = paused || model;
  drawState(data);
  if (!data) return;
  const stamp = `${paused ? 'paused' : 'live'}${revision}`;
  drawHeader(data);
  drawTotals(data);
  timeline.render(data, stamp);
  tables[active].render(ROWS[active](data), data, query, stamp);
}

/** Sets a text if it is another. */
function put(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

function drawState(data) {
  const parts = [];
  if (link.state === 'connecting') parts.push('Connecting');
  if (link.state === 'lost') parts.push(`Not connected since ${clock(link.since)}; trying again`);
  if (link.state === 'live' && data && !paused) parts.push(data.live ? 'Live' : 'Connected');
  if (paused && data) parts.push(`Paused at ${clock(data.now)}`);
  if (REPORT) parts.push('Report');
  put(at('state'), parts.join(', '));
  at('state').dataset.state = paused && link.state !== 'lost' ? 'paused' : link.state;
  put(
    at('behind'),
    paused ? `${count(Math.max(0, model.data.transactions - paused.data.transactions))} more since` : '',
  );
}

function drawHeader(data) {
  const end = data.now;
  const from = data.began;
  put(at('source'), shown(data.source));
  const last = day(end) === day(from) ? clock(end) : `${day(end)} ${clock(end)}`;
  put(
    at('covered'),
    data.transactions || data.live
      ? `${day(from)} ${clock(from)} – ${last} ${zone(end)} (${span(Math.max(0, end - from))})`
      : '',
  );
  const title = `${shown(data.source)} · picotap${link.state === 'lost' ? ' (not connected)' : ''}`;
  if (document.title !== title) document.title = title;
  const { level, text } = healthOf(data.health);
  at('light').dataset.level = level;
  put(at('light-text'), text);
  at('light').title = `picotap ${data.version}: show how the capture goes`;
}

const totals = TOTALS.map(([name, value, note]) => {
  const box = element('div');
  const made = { value: element('dd'), note: element('dd', 'sub'), of: value, say: note };
  box.append(element('dt', '', name), made.value, made.note);
  at('totals').append(box);
  return made;
});
function drawTotals(data) {
  for (const total of totals) {
    put(total.value, total.of(data));
    put(total.note, total.say(data));
  }
  put(
    at('since'),
    data.tables_since > data.began + 1e6
      ? `Shares, durations, bodies and tables count since ${moment(data.tables_since, data.now).replace(/\.\d+$/, '')}.`
      : '',
  );
}

// ---- tables -----------------------------------------------------------------------------------------------------

const ROWS = {
  recent: (data) => data.recent,
  slowest: (data) => data.slowest,
  hosts: (data) => data.hosts,
  routes: (data) => data.routes,
  pairs: (data) => data.pairs,
  tls: (data) => data.tls.servers,
  health: (data) => data.health,
};

const said = (row) =>
  `${shown([row.method, row.host, row.target].filter((text) => text !== undefined).join(' '))}, ${row.status === undefined ? 'no status' : row.status}${row.failed ? ', failed' : ''}`;
const ofTransactions = (caption, column) => ({
  caption,
  columns: TRANSACTION,
  sort: { column, down: true },
  id: (row) => row.id,
  keys: (name) => !TLS_FIELDS.includes(name),
  label: (row, data) => `${moment(row.time, data.now)} ${said(row)}: open details`,
  open: (row) => open(row),
  empty,
});
const ofCounts = (caption, first, keys, label, show) => ({
  caption,
  columns: [...first, ...COUNTS],
  sort: { column: 'Count', down: true },
  id: (row) => JSON.stringify(keys.map((key) => row[key])),
  keys: (name) => keys.includes(name),
  label: (row) => `${shown(keys.map((key) => row[key]).join(' ')) || 'without a host'}: ${label}`,
  open: show,
  empty,
});
const tables = {
  recent: new Table(at('recent'), ofTransactions('Last transactions', 'No.')),
  slowest: new Table(at('slowest'), ofTransactions('Slowest transactions', 'Duration ms')),
  hosts: new Table(
    at('hosts'),
    ofCounts('Hosts', [wire('Host', 'host', (row) => row.host || '(none)')], ['host'], 'show its routes', (row) => {
      choose('routes');
      setFilter(`host=${quote(row.host)}`);
    }),
  ),
  routes: new Table(
    at('routes'),
    ofCounts(
      'Routes',
      [
        wire('Host', 'host', (row) => row.host || '(none)'),
        wire('Method', 'method', (row) => row.method),
        wire('Route', 'target', (row) => row.route),
      ],
      ['host', 'method', 'route'],
      'show its transactions',
      (row) => {
        choose('recent');
        setFilter(`host=${quote(row.host)} method=${quote(row.method)} route=${quote(row.route)}`);
      },
    ),
  ),
  pairs: new Table(
    at('pairs'),
    ofCounts(
      'Who talks to whom',
      [wire('Client', 'address', (row) => row.client), wire('Server', 'address', (row) => row.server)],
      ['client', 'server'],
      'show their transactions',
      (row) => {
        choose('recent');
        setFilter(`client=${quote(row.client)} server=${quote(row.server)}`);
      },
    ),
  ),
  tls: new Table(at('tls'), {
    caption: 'TLS connections',
    columns: TLS,
    sort: { column: 'Count', down: true },
    id: (row) => `${row.host}\n${row.decrypted}\n${row.reason}`,
    keys: (name) => ['host', 'reason', 'decrypted', 'tls.version'].includes(name),
    empty: () => [element('p', '', 'No TLS connection has ended yet.')],
  }),
  health: new Table(at('health'), {
    caption: 'How the capture goes',
    columns: HEALTH,
    sort: { column: 'Group', down: false },
    id: (row) => `${row.group}\n${row.name}\n${row.label}`,
    keys: () => false,
    empty: () => [element('p', '', 'The server has said nothing about the capture.')],
  }),
};
for (const table of Object.values(tables)) table.changed = changed;
tables.tls.beyond = (data) => tlsLine(data.tls);
tables.recent.beyond = (data) =>
  data.left_out ? `under load not every transaction is kept: ${count(data.left_out)} were counted only` : '';
['hosts', 'routes', 'pairs'].forEach((name, place) => {
  tables[name].beyond = (data) =>
    data.beyond[place] ? `${count(data.beyond[place])} transactions are in no row, since the table was full` : '';
});

/** What to do when nothing has been seen. */
function empty(data) {
  if (data.transactions) return [element('p', '', 'No rows.')];
  const source = shown(data.source);
  const list = element('ul');
  const hints = data.live
    ? [
        'Send a request that passes this interface: curl http://…',
        'Is it the right interface? picotap -D lists them; -i any takes all.',
        'A capture filter may leave the traffic out.',
        'What is encrypted (https://) is read only with --keylog; the tab TLS names it.',
        'The tab Capture says whether frames arrive, and why they are not used.',
      ]
    : [
        'Is there HTTP in it, and not only TLS, which the tab TLS names? --keylog decrypts it.',
        'A capture filter may leave the traffic out.',
        'The tab Capture says what the frames were, and why they are not used.',
      ];
  list.append(...hints.map((hint) => element('li', '', hint)));
  return [
    element('p', 'lead', data.live ? `No transaction seen on ${source} yet.` : `No transaction in ${source}.`),
    list,
  ];
}

// ---- what people do ---------------------------------------------------------------------------------------------

const timeline = new Timeline(document);
timeline.changed = changed;
const details = new Details(at('details'), {
  filter: (text) => {
    choose('recent');
    setFilter(text);
  },
  closed: (row) => {
    const table = tables[active];
    table.select(undefined);
    const entry = table.entries.get(table.id(row));
    if (entry) table.focus(entry.line.sectionRowIndex);
    else at(`tab-${active}`).focus();
  },
});

function open(row) {
  tables.recent.select(row.id);
  tables.slowest.select(row.id);
  details.show(row, (paused || model).data);
}

/** The tab and the filter stand in the address, behind #: they outlive a reload, and can be handed on. */
function remember() {
  const filter = at('filter').value;
  const wanted = `#${active}${filter ? `:${encodeURIComponent(filter)}` : ''}`;
  if (location.hash !== wanted) history.replaceState(null, '', wanted);
}
function recall() {
  const [, name, filter] = /^#([a-z]+):?(.*)$/.exec(location.hash) || [];
  let text = '';
  try {
    text = decodeURIComponent(filter || '');
  } catch {
    // An address that somebody has cut.
  }
  choose(Object.hasOwn(tables, name) ? name : 'recent');
  setFilter(text);
}
addEventListener('hashchange', recall);

const tabs = [...at('tabs').children];
function choose(name) {
  active = name;
  remember();
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute('aria-selected', chosen);
    tab.tabIndex = chosen ? 0 : -1;
    at(tab.getAttribute('aria-controls')).hidden = !chosen;
  }
  changed();
}
at('tabs').addEventListener('click', (event) => {
  const tab = event.target.closest('[role=tab]');
  if (tab) choose(tab.getAttribute('aria-controls'));
});
at('tabs').addEventListener('keydown', (event) => {
  const now = tabs.findIndex((tab) => tab.id === `tab-${active}`);
  const to = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const tab = tabs[(to + tabs.length) % tabs.length];
  choose(tab.getAttribute('aria-controls'));
  tab.focus();
});

let complaint = 0;
/** Takes the filter from its box. What is wrong is said when typing pauses, and until then the last good filter holds. */
function readFilter() {
  const { terms, error } = parse(at('filter').value);
  clearTimeout(complaint);
  at('clear').hidden = at('filter').value === '';
  if (error) {
    complaint = setTimeout(() => {
      put(at('filter-error'), `${shown(error)}. The last good filter holds.`);
      at('filter').setAttribute('aria-invalid', 'true');
    }, 500);
    return;
  }
  put(at('filter-error'), '');
  at('filter').removeAttribute('aria-invalid');
  query = { number: query.number + 1, terms };
  remember();
  changed();
}
function setFilter(text) {
  at('filter').value = text;
  readFilter();
}
at('filter').addEventListener('input', readFilter);
at('filter').addEventListener('keydown', (event) => {
  if (event.key === 'Escape') setFilter('');
});
at('clear').addEventListener('click', () => {
  setFilter('');
  at('filter').focus();
});
at('help-button').addEventListener('click', () => {
  const hidden = !at('help').hidden;
  at('help').hidden = hidden;
  at('help-button').setAttribute('aria-expanded', !hidden);
});

at('light').addEventListener('click', () => {
  choose('health');
  at('tab-health').focus();
});
at('pause').hidden = REPORT;
at('pause').addEventListener('click', () => {
  if (!model.data) return;
  paused = paused ? null : { data: model.data, revision: model.revision };
  at('pause').setAttribute('aria-pressed', paused !== null);
  changed();
});

const dark = matchMedia('(prefers-color-scheme: dark)');
/** Of a report from disk, nothing may be kept: then the choice lasts as long as the page. */
function kept(value) {
  try {
    if (value) localStorage.setItem('picotap-theme', value);
    return localStorage.getItem('picotap-theme');
  } catch {
    return null;
  }
}
function setTheme(value) {
  if (value === 'dark' || value === 'light') theme.theme = value;
  const is = theme.theme || (dark.matches ? 'dark' : 'light');
  put(at('theme'), is === 'dark' ? 'Light' : 'Dark');
  at('theme').setAttribute('aria-label', `Change to ${is === 'dark' ? 'light' : 'dark'} colours`);
  timeline.drawn = '';
  changed();
}
at('theme').addEventListener('click', () => {
  const value = (theme.theme || (dark.matches ? 'dark' : 'light')) === 'dark' ? 'light' : 'dark';
  kept(value);
  setTheme(value);
});
dark.addEventListener('change', () => setTheme());
new ResizeObserver(changed).observe(at('timeline'));

// ---- where the data comes from ----------------------------------------------------------------------------------

/** Milliseconds without a word from the server, which speaks each second, after which the connection counts as lost. */
const SILENCE = 10000;
/** Waits before the next attempts, milliseconds. */
const WAITS = [1000, 2000, 4000, 8000, 15000];

/** Follows `events`, for ever. Attempts are ours and not the browser's, which gives up after some answers. */
function follow() {
  let source = null;
  let heard = 0;
  let attempts = 0;
  const set = (state) => {
    if (link.state !== state) link = { state, since: Date.now() * 1000 };
    changed();
  };
  const take = (event, whole) => {
    heard = Date.now();
    attempts = 0;
    const data = JSON.parse(event.data);
    // Another picotap: its page may be another, too.
    if (model.data && model.data.version !== data.version) location.reload();
    if (whole) model.whole(data);
    else model.update(data);
    set('live');
  };
  const again = () => {
    source.close();
    source = null;
    set('lost');
    setTimeout(connect, WAITS[Math.min(attempts, WAITS.length - 1)]);
    attempts += 1;
  };
  const connect = () => {
    heard = Date.now();
    source = new EventSource('events');
    source.addEventListener('snapshot', (event) => take(event, true));
    source.addEventListener('update', (event) => take(event, false));
    source.addEventListener('error', again);
  };
  setInterval(() => {
    if (source && Date.now() - heard > SILENCE) again();
  }, 1000);
  connect();
}

recall();
setTheme(kept());
if (REPORT) {
  model.whole(JSON.parse(embedded.textContent));
  changed();
} else {
  follow();
}
