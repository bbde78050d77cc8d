// The details: all that is known about one transaction.

const MEANINGS = JSON.parse(document.getElementById('flags').textContent);
const SVG = 'http://www.w3.org/2000/svg';

/** Request, wait and response, to scale. Parts that are not known are not drawn, but named. */
function timing(row) {
  const parts = [
    ['request', row.request_time],
    ['wait', row.wait_time],
    ['response', row.response_time],
  ];
  const known = parts.filter(([, us]) => us !== undefined);
  const whole = known.reduce((sum, [, us]) => sum + us, 0);
  const box = element('div', 'timing');
  const bar = document.createElementNS(SVG, 'svg');
  const said = parts.map(([name, us]) => `${name} ${us === undefined ? 'not known' : duration(us)}`).join(', ');
  bar.setAttribute('viewBox', '0 0 1000 14');
  bar.setAttribute('preserveAspectRatio', 'none');
  bar.setAttribute('role', 'img');
  bar.setAttribute('aria-label', `Timing: ${said}`);
  let x = 0;
  for (const [name, us] of known) {
    const width = whole ? (us / whole) * 1000 : 1000 / known.length;
    const part = document.createElementNS(SVG, 'rect');
    part.setAttribute('class', name);
    part.setAttribute('x', x);
    part.setAttribute('width', Math.max(width, us ? 3 : 0));
    part.setAttribute('height', 14);
    bar.append(part);
    x += width;
  }
  const list = element('dl', 'parts');
  for (const [name, us] of parts) {
    list.append(
      element('dt', `key ${name}`, name),
      element('dd', 'number', us === undefined ? 'not known' : duration(us)),
    );
  }
  list.append(
    element('dt', '', 'whole'),
    element('dd', 'number', row.duration === undefined ? 'not known' : duration(row.duration)),
  );
  box.append(bar, list);
  return box;
}

class Details {
  /** `filter(text)` sets the filter. */
  constructor(root, { filter, closed }) {
    Object.assign(this, { root, filter, closed, row: undefined });
    root.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.close();
    });
  }

  show(row, data) {
    this.row = row;
    const title = element(
      'h2',
      'wire',
      shown([row.method, row.target].filter((text) => text !== undefined).join(' ') || row.protocol, 2000),
    );
    title.id = 'details-title';
    title.tabIndex = -1;
    const close = element('button', 'close', 'Close');
    close.type = 'button';
    close.addEventListener('click', () => this.close());
    const head = element('div', 'head');
    head.append(title, close);
    const status = element('p', 'outcome', this.outcome(row));
    status.dataset.level = level(row) || '';
    this.root.replaceChildren(head, status, timing(row), this.flags(row), this.fields(row, data));
    this.root.hidden = false;
    this.root.scrollTop = 0;
    title.focus();
  }

  outcome(row) {
    const answer =
      row.status === undefined
        ? shown(row.reason || '') || 'no response'
        : `${row.status} ${shown(row.reason || '')}`.trim();
    return row.failed ? `${answer} (failed)` : answer;
  }

  flags(row) {
    const list = element('dl', 'flags');
    for (const flag of row.flags) {
      list.append(
        element('dt', '', shown(flag)),
        element('dd', '', Object.hasOwn(MEANINGS, flag) ? MEANINGS[flag] : ''),
      );
    }
    return list;
  }

  fields(row, data) {
    const list = element('dl', 'fields');
    const add = (name, value, term) => {
      if (value === undefined) return;
      const text = element('dd', 'wire', shown(String(value), 20000));
      if (term) {
        const only = element('button', 'only', 'only these');
        only.type = 'button';
        only.setAttribute('aria-label', `Only transactions with this ${name}`);
        only.addEventListener('click', () => this.filter(term));
        text.append(' ', only);
      }
      list.append(element('dt', '', name), text);
    };
    add('time', `${day(row.time)} ${precise(row.time)} ${zone(row.time)}`);
    add('protocol', row.protocol);
    add('host', row.host, `host=${quote(row.host || '')}`);
    add('route', row.route, `route=${quote(row.route || '')}`);
    add('client', row.client, `client=${quote(row.client)}`);
    add('server', row.server, `server=${quote(row.server)}`);
    add('connection', row.connection, `connection=${row.connection}`);
    add('interface', row.interface);
    add('request body', row.request_bytes === undefined ? undefined : `${count(row.request_bytes)} B`);
    add('response body', row.response_bytes === undefined ? undefined : `${count(row.response_bytes)} B`);
    for (const [name, value] of row.fields) add(shown(name), value);
    add('number', `${row.id} since ${moment(data.began, data.now)}`);
    return list;
  }

  close() {
    if (this.row === undefined) return;
    const row = this.row;
    this.row = undefined;
    this.root.hidden = true;
    this.root.replaceChildren();
    this.closed(row);
  }
}

/** How a transaction went. */
const level = (row) => (row.failed ? 'error' : row.status >= 400 || row.grpc_status > 0 ? 'warning' : undefined);
