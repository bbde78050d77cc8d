// A filter: what the box holds, as terms that must all hold. The help in the page says what there is.

/** Texts by their key, of every kind of row. */
const TEXTS = {
  host: (row) => row.host,
  method: (row) => row.method,
  target: (row) => row.target,
  route: (row) => row.route,
  client: (row) => row.client,
  server: (row) => row.server,
  protocol: (row) => row.protocol,
  interface: (row) => row.interface,
  reason: (row) => row.reason,
  connection: (row) => row.connection,
  flag: (row) => row.flags && row.flags.join('\n'),
};
/** What words are looked for in, beside. */
const OTHERS = ['status', 'group', 'name', 'label', 'level', 'metric'];
/** Numbers by their key, and what they may be written as. */
const NUMBERS = {
  status: [(row) => row.status, { '': 1 }],
  duration: [(row) => row.duration, { us: 1, µs: 1, ms: 1e3, s: 1e6 }],
  wait: [(row) => row.wait_time, { us: 1, µs: 1, ms: 1e3, s: 1e6 }],
  sent: [(row) => row.request_bytes, { '': 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9 }],
  received: [(row) => row.response_bytes, { '': 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9 }],
};
const COMPARE = {
  '=': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
};
const TERM = /(-?)(?:([a-z_][a-z0-9_-]*)(>=|<=|!=|=|<|>|:))?(?:"((?:[^"\\]|\\.)*)("?)|(\S*))/iy;

/** All texts of a row in one, in lower case. */
const words = new WeakMap();
function text(row) {
  let all = words.get(row);
  if (all === undefined) {
    const fields = (row.fields || []).map(([, value]) => value);
    all = [...Object.values(TEXTS).map((of) => of(row)), ...OTHERS.map((name) => row[name]), ...fields]
      .filter((t) => t !== undefined)
      .join('\n')
      .toLowerCase();
    words.set(row, all);
  }
  return all;
}

/** A term: its text as written, the key that it needs if any, and whether it holds for a row. A string says what is wrong. */
function term(written, negated, key, sign, value) {
  const wanted = value.toLowerCase();
  const made = (needs, test) => ({ written, needs, holds: negated ? (row) => !test(row) : test });
  if (key === undefined) return made(undefined, (row) => text(row).includes(wanted));
  const name = key.toLowerCase();
  const number = NUMBERS[name];
  if (name === 'status' && sign === ':' && /^[1-5]xx$/.test(wanted)) {
    return made(name, (row) => row.status !== undefined && Math.floor(row.status / 100) === Number(wanted[0]));
  }
  if (name === 'is' && sign === ':') {
    return wanted === 'failed' ? made(name, (row) => row.failed === true) : `“${written}”: only is:failed is known`;
  }
  if (number) {
    const [of, units] = number;
    const parts = /^(\d+(?:\.\d+)?)([a-zµ]*)$/.exec(wanted);
    if (!parts || units[parts[2]] === undefined) {
      const names = Object.keys(units)
        .filter((unit) => unit)
        .join(', ');
      return `“${written}”: ${name} needs a number${units[''] ? '' : ' with a unit'}${names ? ` (${names})` : ''}`;
    }
    const size = Number(parts[1]) * units[parts[2]];
    const compare = COMPARE[sign === ':' ? '=' : sign];
    return made(name, (row) => of(row) !== undefined && compare(of(row), size));
  }
  const of = TEXTS[name];
  if (of && sign === ':') return made(name, (row) => (of(row) || '').toLowerCase().includes(wanted));
  if (of && (sign === '=' || sign === '!=')) {
    const port = name === 'client' || name === 'server';
    const same = (row) => {
      const has = (of(row) || '').toLowerCase();
      return (
        has === wanted ||
        (port && has.replace(/:\d+$/, '').replace(/[[\]]/g, '') === wanted) ||
        (name === 'flag' && has.split('\n').includes(wanted))
      );
    };
    return made(name, sign === '=' ? same : (row) => !same(row));
  }
  if (of) return `“${written}”: ${name} is a text, and has no order`;
  const field = (row) =>
    (row.fields || []).filter(([key]) => key.toLowerCase() === name).map(([, value]) => value.toLowerCase());
  // `localhost:8080` is a word, too.
  if (sign === ':')
    return made(
      undefined,
      (row) => text(row).includes(`${name}:${wanted}`) || field(row).some((t) => t.includes(wanted)),
    );
  if (sign === '=')
    return made(undefined, (row) => text(row).includes(`${name}=${wanted}`) || field(row).some((t) => t === wanted));
  return `“${written}”: ${name} is not a number that is known`;
}

/** `{terms}`, or `{error}`. */
function parse(input) {
  const terms = [];
  TERM.lastIndex = 0;
  for (;;) {
    while (/\s/.test(input[TERM.lastIndex] || '')) TERM.lastIndex += 1;
    const at = TERM.lastIndex;
    if (at >= input.length) return { terms };
    const [written, minus, key, sign, quoted, end, plain] = TERM.exec(input);
    if (quoted !== undefined && !end) return { error: `“${written}”: the closing quote is missing` };
    const made = term(written, minus === '-', key, sign, quoted === undefined ? plain : quoted.replace(/\\(.)/g, '$1'));
    if (typeof made === 'string') return { error: made };
    if (quoted !== undefined || plain || key) terms.push(made);
    if (TERM.lastIndex === at) TERM.lastIndex += 1;
  }
}

/** A text as a term's value. */
const quote = (value) => `"${value.replace(/[\\"]/g, '\\$&')}"`;
