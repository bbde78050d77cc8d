// Filters: the language of `--filter`, as `src/http/filter.rs` describes it, for the rows of the page.

const FIELD_DATA = JSON.parse(document.getElementById('fields').textContent);
const { fields: FIELDS, aliases: ALIASES, tls: TLS_FIELDS, grpc: GRPC } = FIELD_DATA;
const FLAGS = Object.keys(JSON.parse(document.getElementById('flags').textContent));
const QUERY_LONGEST = 4096;
const QUERY_DEEPEST = 32;
const SIGNS = ['!=', '<=', '>=', '!~', '=', '<', '>', ':', '~'];
const NUMERIC = ['Number', 'Status', 'GrpcStatus', 'Size', 'Time', 'Moment'];
const TIMES = { us: 1n, µs: 1n, μs: 1n, ms: 1000n, s: 1000000n, m: 60000000n, min: 60000000n, h: 3600000000n };
const SIZES = { '': 1n, b: 1n, kb: 1000n, mb: 1000000n, gb: 1000000000n, kib: 1024n, mib: 1048576n, gib: 1073741824n };

/** What is wrong with a filter. */
class QueryError extends Error {}
const fail = (said) => {
  throw new QueryError(said);
};

// ---- what fields hold

const isHttp = (row) => /^HTTP/.test(row.protocol || '');
const isGrpc = (row) => row.grpc_status !== undefined && (row.reason || '').startsWith('gRPC ');
const reasonOf = (row) => (isGrpc(row) ? undefined : row.reason || undefined);
const failedOperation = (row) => (row.flags || []).includes('failed');
const operation = (row, value) => (row.protocol === undefined || isHttp(row) ? undefined : value);

/** Address and port of `10.0.0.1:80`, `[::1]:80` or an address alone. */
function endpoint(text) {
  if (text === undefined) return undefined;
  const [, host, , port] = /^(.*?)((?<=^\[.*\]|^[^:]*):(\d+))?$/s.exec(text);
  const address = ip(host.replace(/^\[(.*)\]$/, '$1'));
  return address && { ...address, port: port === undefined ? undefined : Number(port) };
}

/** Number of bits and value of an address; undefined: it is none. */
function ip(text) {
  const four = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
  const value = (octets) => octets.split('.').reduce((sum, octet) => sum * 256n + BigInt(octet), 0n);
  if (four.test(text)) return { bits: 32n, value: value(text), text };
  let rest = text;
  let tail = [];
  const last = rest.lastIndexOf(':') + 1;
  if (rest.includes('.')) {
    if (!last || !four.test(rest.slice(last))) return undefined;
    const low = value(rest.slice(last));
    tail = [low >> 16n, low & 65535n];
    rest = rest.slice(0, last);
    if (!rest.endsWith('::')) rest = rest.slice(0, -1);
  }
  const halves = rest.split('::');
  const groups = (half) => (half === '' ? [] : half.split(':'));
  if (halves.length > 2 || !rest.includes(':')) return undefined;
  const all = halves.map(groups);
  if (all.flat().some((group) => !/^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  const numbers = all.map((half) => half.map((group) => BigInt(`0x${group}`)));
  const there = numbers.flat().length + tail.length;
  if (halves.length === 2 ? there > 7 : there !== 8) return undefined;
  const zeros = Array(8 - there).fill(0n);
  const full = halves.length === 2 ? [...numbers[0], ...zeros, ...numbers[1], ...tail] : [...numbers[0], ...tail];
  return { bits: 128n, value: full.reduce((sum, group) => sum * 65536n + group, 0n), text };
}

/** Path of a target: without query, and without scheme and authority. */
function pathOf(row) {
  if (row.target === undefined || row.method === 'CONNECT') return undefined;
  const url = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*(\/.*)?/is.exec(row.target);
  return (url ? url[1] || '/' : row.target).split(/[?#]/)[0] || undefined;
}

/** Fields that have a place of their own. */
const PLACES = {
  method: (row) => row.method,
  status: (row) => row.status,
  grpc_status: (row) => row.grpc_status,
  host: (row) => row.host,
  target: (row) => row.target,
  path: pathOf,
  route: (row) => row.route,
  client: (row) => endpoint(row.client),
  server: (row) => endpoint(row.server),
  client_port: (row) => (endpoint(row.client) || {}).port,
  server_port: (row) => (endpoint(row.server) || {}).port,
  duration_us: (row) => row.duration,
  ttfb_us: (row) => row.wait_time,
  request_body_bytes: (row) => row.request_bytes,
  response_body_bytes: (row) => row.response_bytes,
  flags: (row) => row.flags,
  is: (row) => (row.failed ? 'failed' : undefined),
  version: (row) => (/^HTTP\//.test(row.protocol || '') ? row.protocol.slice(5) : undefined),
  protocol: (row) => operation(row, row.protocol),
  operation: (row) => operation(row, row.method),
  reason: reasonOf,
  outcome: (row) => (failedOperation(row) ? undefined : operation(row, reasonOf(row))),
  error: (row) => (failedOperation(row) ? operation(row, reasonOf(row)) : undefined),
  ts: (row) => row.time,
  interface: (row) => row.interface,
  conn: (row) => row.connection,
  decrypted: (row) => (row.decrypted === undefined ? undefined : String(row.decrypted)),
  'tls.version': (row) => row.version || extra(row, 'tls.version', 'Text'),
};

/** A field that has none. */
function extra(row, name, kind) {
  const values = (row.fields || []).filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
  if (/^(request|response)_headers\./.test(name)) return values;
  if (values[0] === undefined) return undefined;
  if (NUMERIC.includes(kind)) return /^\d+$/.test(values[0]) ? Number(values[0]) : undefined;
  return kind === 'Address' ? endpoint(values[0]) : values[0];
}

/** A field by its name, in whatever case: `{name, kind, of(row)}`. */
function field(text) {
  const lower = text.toLowerCase();
  const name = Object.hasOwn(ALIASES, lower) ? ALIASES[lower] : lower;
  const kind = Object.hasOwn(FIELDS, name) ? FIELDS[name] : /^(request|response)_headers\../.test(name) && 'Text';
  if (!kind) return undefined;
  const of = Object.hasOwn(PLACES, name) ? PLACES[name] : (row) => extra(row, name, kind);
  return { name, kind, of, micros: kind === 'Time' && lower.endsWith('_us') };
}

const words = new WeakMap();
/** All texts of a row in lower case. */
function texts(row) {
  let all = words.get(row);
  if (all === undefined) {
    const names = ['host', 'method', 'target', 'route', 'client', 'server', 'protocol', 'interface', 'reason'];
    const more = ['connection', 'status', 'group', 'name', 'label', 'level', 'metric', 'unit'];
    const values = [...names, ...more].map((name) => row[name]);
    if (row.decrypted !== undefined) values.push(row.decrypted ? 'decrypted' : 'dark', row.version);
    values.push(...(row.flags || []), ...(row.fields || []).map(([, value]) => value));
    all = values.filter((value) => value !== undefined).map((value) => String(value).toLowerCase());
    words.set(row, all);
  }
  return all;
}

// ---- values

const utf8 = (text) => (/^[\0-\x7f]*$/.test(text) ? text : String.fromCharCode(...new TextEncoder().encode(text)));
/** Whether a text is the pattern, in which `*` stands for any bytes and `?` for any one. */
function glob(pattern, subject) {
  const [wanted, text] = [utf8(pattern), utf8(subject)];
  let [at, taken, star, end] = [0, 0, -1, 0];
  while (taken < text.length) {
    if (wanted[at] === '*') {
      star = at;
      end = taken;
      at += 1;
    } else if (at < wanted.length && (wanted[at] === '?' || wanted[at] === text[taken])) {
      at += 1;
      taken += 1;
    } else if (star >= 0) {
      end += 1;
      at = star + 1;
      taken = end;
    } else return false;
  }
  while (wanted[at] === '*') at += 1;
  return at >= wanted.length;
}

const MOST = BigInt(Number.MAX_SAFE_INTEGER);
/** A decimal number with a unit, which must be a whole number of the smallest. */
function scaled(text, units, lower) {
  const parts = /^(\d{1,16})(?:\.(\d{1,16}))?([^\d.].*)?$/s.exec(text);
  if (!parts) return undefined;
  const [, whole, decimals = '0', unit = ''] = parts;
  const name = lower ? unit.toLowerCase() : unit;
  if (!Object.hasOwn(units, name)) return undefined;
  const divisor = 10n ** BigInt(decimals.length);
  const total = BigInt(whole + decimals) * units[name];
  return total % divisor === 0n && total / divisor <= MOST ? Number(total / divisor) : undefined;
}

function single(kind, text) {
  const digits = /^\d+$/.test(text);
  switch (kind) {
    case 'Status':
      return /^[1-9]\d\d$/.test(text) ? Number(text) : undefined;
    case 'GrpcStatus': {
      const named = GRPC.indexOf(text.toUpperCase());
      if (named >= 0) return named;
      return digits && BigInt(text) <= 65535n ? Number(text) : undefined;
    }
    case 'Time':
      return scaled(text, TIMES, false);
    case 'Size':
      return scaled(text, SIZES, true);
    default:
      return digits && BigInt(text) <= MOST ? Number(text) : undefined;
  }
}

/** First and last microsecond of a time as in the log, or of its beginning. */
function instant(text) {
  const found = /^(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?[Zz]?)?$/.exec(text);
  if (!found) return undefined;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map((part) => Number(part || 0));
  const date = new Date(Date.UTC(year, month - 1, day));
  if (year < 1970 || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  const fraction = found[7] || '';
  const length = found[4] === undefined ? 86400e6 : found[6] === undefined ? 60e6 : 10 ** (6 - fraction.length);
  const start = (date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000) * 1000 + Number(fraction.padEnd(6, '0'));
  return [start, start + length - 1];
}

const NEEDED = {
  Status: 'a code (404), a class (4xx), a range (500-599) or none',
  GrpcStatus: 'a code (5), a name (NOT_FOUND), a range (1-16) or none',
  Time: 'a time with its unit (250us, 10ms, 1.5s, 2m, 1h)',
  Size: 'a size (4096, 4kB, 1.5MB, 4KiB)',
  Moment: 'a time as in the log or its beginning (2026-01-02, 2026-01-02T03:04:05.5Z)',
};

/** First and last of the numbers that a value stands for; null: that there is none. */
function range({ kind, micros }, { text }, several) {
  if (several && text === 'none') return null;
  let found;
  if (kind === 'Moment') found = instant(text);
  else if (several && kind === 'Status' && /^[1-9](xx|XX)$/.test(text)) {
    found = [Number(text[0]) * 100, Number(text[0]) * 100 + 99];
  } else {
    const at = several ? text.indexOf('-') : -1;
    // The full name of a time has its unit.
    const read = (part) => single(micros && /^\d+$/.test(part) ? 'Number' : kind, part);
    const first = read(at < 0 ? text : text.slice(0, at));
    const last = at < 0 ? first : read(text.slice(at + 1));
    if (first !== undefined && last !== undefined && first <= last) found = [first, last];
  }
  return found || fail(`“${text}”: needed ${NEEDED[kind] || 'a number'}`);
}

/** A network: its bits that count, and a port. */
function network(text) {
  const slash = text.indexOf('/');
  if (slash >= 0) {
    const address = ip(text.slice(0, slash));
    const prefix = /^\d{1,3}$/.test(text.slice(slash + 1)) ? BigInt(text.slice(slash + 1)) : -1n;
    if (!address || prefix < 0n || prefix > address.bits) return undefined;
    return { ...address, prefix };
  }
  const [, six, port] = /^\[(.*)\](?::(\d+))?$/s.exec(text) || /^([^:]*):(\d+)$/s.exec(text) || [];
  const address = ip(six === undefined ? text : six);
  const bare = text.startsWith('[') ? address && address.bits === 128n : true;
  if (!address || !bare || (port !== undefined && Number(port) > 65535)) return undefined;
  if (port !== undefined && !text.startsWith('[') && address.bits !== 32n) return undefined;
  return { ...address, prefix: address.bits, port: port === undefined ? undefined : Number(port) };
}
const inNetwork = (network, address) =>
  network.bits === address.bits &&
  (network.value ^ address.value) >> (network.bits - network.prefix) === 0n &&
  (network.port === undefined || network.port === address.port);

/** Refuses a text that a field never has. */
function known(kind, { text, quoted }) {
  const lower = text.toLowerCase();
  if (!quoted && /[*?]/.test(text) && kind !== 'Truth' && kind !== 'Is') return;
  if (kind === 'Version' && !/^(2|1\.\d)$/.test(text)) fail(`“${text}”: this is no version: needed 1.0 to 1.9, or 2`);
  if (kind === 'Truth' && lower !== 'true' && lower !== 'false') fail(`“${text}”: needed true or false`);
  if (kind === 'Is' && lower !== 'failed') fail(`“${text}”: only is:failed is known`);
  if (kind === 'Flags' && !FLAGS.includes(lower)) fail(`“${text}”: there is no such flag`);
}

const withoutPort = (host) => {
  const [, name, port] = /^(.*):(.*)$/s.exec(host) || [];
  return port !== undefined && /^\d*$/.test(port) && (!name.includes(':') || name.endsWith(']')) ? name : host;
};
const asciiLower = (text) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

/** The test of one value of a field. */
function test(wanted, sign, values) {
  const { name, kind } = wanted;
  const numeric = NUMERIC.includes(kind);
  const written = (value) => String(value.text === undefined ? value : value.text);
  if (sign === '~' || sign === '!~') {
    if (kind === 'Moment') fail('ts is a time and no text: needed =, <, <=, > or >=');
    const patterns = values.map(({ text }) => {
      try {
        return pattern(text, kind === 'Host');
      } catch (error) {
        if (!(error instanceof PatternError)) throw error;
        return fail(`“${text}”: this is no regular expression: ${error.message}`);
      }
    });
    return (value) => patterns.some((fits) => fits(written(value)));
  }
  if (['<', '<=', '>', '>='].includes(sign)) {
    if (!numeric) fail(`${name} is a text and has no order: needed =, !=, :, ~ or !~`);
    if (values.length > 1) fail(`${name} is compared with one value by <, <=, > and >=`);
    const [first, last] = range(wanted, values[0], false);
    const tests = {
      '<': (value) => value < first,
      '<=': (value) => value <= last,
      '>': (value) => value > last,
      '>=': (value) => value >= first,
    };
    return tests[sign];
  }
  if (numeric) {
    const ranges = values.map((value) => range(wanted, value, true));
    return (value) =>
      ranges.some((range) => (range === null ? value === undefined : range[0] <= value && value <= range[1]));
  }
  if (sign === ':' && kind !== 'Is') {
    const lower = values.map(({ text }) => text.toLowerCase());
    const shows = (value) =>
      value.bits && value.port !== undefined
        ? `${value.bits === 128n ? `[${value.text}]` : value.text}:${value.port}`
        : written(value);
    return (value) => value !== undefined && lower.some((text) => shows(value).toLowerCase().includes(text));
  }
  if (kind === 'Address') {
    const networks = values.map(
      ({ text }) =>
        network(text) ||
        fail(`“${text}”: this is no address: needed one, one with a port, or a network (10.0.0.0/8)`),
    );
    return (value) => value !== undefined && networks.some((network) => inNetwork(network, value));
  }
  for (const value of values) known(kind, value);
  const lower = ['Host', 'Flags', 'Truth', 'Is'].includes(kind);
  const wants = values.map(({ text, quoted }) => {
    const one = lower ? asciiLower(text) : text;
    return { one, fits: quoted ? (value) => value === one : (value) => glob(one, value) };
  });
  return (value) =>
    wants.some(({ one, fits }) => {
      if (value === undefined) return one === '';
      if (kind !== 'Host') return fits(value);
      const host = asciiLower(one.includes('@') ? value : value.slice(value.lastIndexOf('@') + 1));
      return fits(one.includes(':') ? host : withoutPort(host));
    });
}

function comparison(wanted, sign, values) {
  const holds = test(wanted, sign, values);
  const absent = sign === '=' || sign === '!=' || sign === ':';
  const one = (row) => {
    const value = wanted.of(row);
    if (Array.isArray(value) && value.length) return value.some(holds);
    return value === undefined || Array.isArray(value) ? absent && holds(undefined) : holds(value);
  };
  return sign.startsWith('!') ? (row) => !one(row) : one;
}

// ---- the language

/** Takes a filter apart, as `src/http/filter/language.rs` does. An expression is `{needs, holds(row)}`. */
class QueryReader {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.depth = 0;
  }

  /** The next sign behind blanks. */
  peek() {
    while (/\s/.test(this.text[this.at] || '')) this.at += 1;
    return this.text[this.at];
  }

  take(sign) {
    const is = this.text.startsWith(sign, this.at);
    if (is) this.at += sign.length;
    return is;
  }

  keyword(word) {
    this.peek();
    const [next] = /^[^\s()"']*/.exec(this.text.slice(this.at));
    const is = next.toLowerCase() === word;
    if (is) this.at += word.length;
    return is;
  }

  /** Alternatives; `terms` takes what must hold together, with how it is written. */
  any(terms) {
    const start = this.at;
    const any = [this.all(terms)];
    while (this.keyword('or')) {
      any.push(this.all());
      if (any.at(-1).empty) fail('nothing stands behind “or”');
    }
    if (any.length === 1) return any[0];
    if (any[0].empty) fail('nothing stands before “or”');
    const expression = {
      needs: any.flatMap(({ needs }) => needs),
      holds: (row) => any.some(({ holds }) => holds(row)),
    };
    if (terms) terms.splice(0, terms.length, { ...expression, written: this.text.slice(start, this.at).trim() });
    return expression;
  }

  all(terms) {
    const all = [];
    let and = false;
    for (;;) {
      const next = this.peek();
      const here = this.at;
      if (next === undefined || next === ')' || this.keyword('or')) {
        this.at = here;
        if (and) fail('nothing stands behind “and”');
        return {
          empty: all.length === 0,
          needs: all.flatMap(({ needs }) => needs),
          holds: (row) => all.every(({ holds }) => holds(row)),
        };
      }
      if (this.keyword('and')) {
        if (and || !all.length) fail('nothing stands before “and”');
        and = true;
        continue;
      }
      const one = this.one();
      and = false;
      all.push(one);
      if (terms) terms.push({ ...one, written: this.text.slice(here, this.at).trimEnd() });
    }
  }

  one() {
    this.peek();
    this.depth += 1;
    if (this.depth > QUERY_DEEPEST) fail(`more than ${QUERY_DEEPEST} brackets or negations in each other`);
    let expression;
    if (this.keyword('not') || this.take('!') || this.take('-')) {
      const next = this.peek();
      if (next === undefined || next === ')') fail('nothing stands behind “not”');
      const { needs, holds } = this.one();
      expression = { needs, holds: (row) => !holds(row) };
    } else if (this.take('(')) {
      expression = this.any();
      if (expression.empty) fail('nothing stands in the brackets');
      this.peek();
      if (!this.take(')')) fail('a “(” without its “)”');
    } else expression = this.term();
    this.depth -= 1;
    return expression;
  }

  term() {
    const start = this.at;
    const [name] = /^[\p{Alphabetic}\p{N}_.-]*/u.exec(this.text.slice(start));
    this.at += name.length;
    const end = this.at;
    this.peek();
    const sign = SIGNS.find((sign) => this.text.startsWith(sign, this.at));
    const wanted = field(name);
    const isWord = sign === undefined || (sign === ':' && (this.at !== end || (!wanted && name !== '')));
    if (isWord) {
      this.at = start;
      const word = this.value(false).text.toLowerCase();
      return { needs: [], holds: (row) => texts(row).some((text) => text.includes(word)) };
    }
    if (!wanted) fail(`“${name}” is no field: the help has them`);
    this.at += sign.length;
    return { needs: [wanted.name], holds: comparison(wanted, sign, this.values(sign)) };
  }

  values(sign) {
    const values = [];
    for (;;) {
      if (sign !== ':' || values.length) this.peek();
      const value = this.value(true);
      if (value.text === '' && !value.quoted) fail('a value is missing');
      values.push(value);
      const end = this.at;
      this.peek();
      if (!this.take(',')) {
        this.at = end;
        return values;
      }
    }
  }

  /** A value in quotes, or up to a blank, a bracket that was not opened in it, or a comma of a list. */
  value(list) {
    const quote = this.text[this.at];
    if (quote === '"' || quote === "'") {
      let text = '';
      for (let at = this.at + 1; at < this.text.length; at += 1) {
        if (quote === '"' && this.text[at] === '\\' && /["\\]/.test(this.text[at + 1] || '')) {
          at += 1;
          text += this.text[at];
        } else if (this.text[at] === quote) {
          this.at = at + 1;
          return { text, quoted: true };
        } else text += this.text[at];
      }
      fail('the closing quote is missing');
    }
    let open = 0;
    let end = this.at;
    for (; end < this.text.length; end += 1) {
      const sign = this.text[end];
      if (sign === ')' && open === 0) break;
      open += sign === '(' ? 1 : sign === ')' ? -1 : 0;
      if ((list && sign === ',') || /\s/.test(sign)) break;
    }
    const text = this.text.slice(this.at, end);
    this.at = end;
    return { text, quoted: false };
  }
}

/** `{terms}`, which must all hold, or `{error}`. */
function parse(input) {
  const terms = [];
  try {
    if (new TextEncoder().encode(input).length > QUERY_LONGEST) fail(`it is longer than ${QUERY_LONGEST} bytes`);
    const reader = new QueryReader(input);
    reader.any(terms);
    if (reader.peek() !== undefined) fail('a “)” without its “(”');
    return { terms };
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    return { error: error.message };
  }
}

/** A text as a term's value. */
const quote = (value) => `"${value.replace(/[\\"]/g, '\\$&')}"`;
