// What is shown of a snapshot: the totals, and the columns of each table.

/** Name, value and note. */
const TOTALS = [
  [
    'Transactions',
    (data) => count(data.transactions),
    (data) => `since ${moment(data.began, data.now).replace(/\.\d+$/, '')}`,
  ],
  [
    'Rate',
    (data) =>
      `${rate(data.live ? lately(data) || 0 : data.transactions / Math.max(1, (data.now - data.began) / 1e6))}/s`,
    (data) => (data.live ? 'last 10 s' : 'mean'),
  ],
  ['4xx', ({ total }) => percent(total.client_errors, total.transactions), ({ total }) => count(total.client_errors)],
  [
    'Failed',
    ({ total }) => percent(total.server_errors, total.transactions),
    ({ total }) => count(total.server_errors),
  ],
  [
    'Duration p50',
    ({ total }) => duration(total.times.p50) || '–',
    ({ total }) => (total.times.max === undefined ? '' : `longest ${duration(total.times.max)}`),
  ],
  ['p95', ({ total }) => duration(total.times.p95) || '–', () => ''],
  ['p99', ({ total }) => duration(total.times.p99) || '–', () => ''],
  ['Bodies sent', ({ total }) => bytes(total.request_bytes), () => 'by clients'],
  ['received', ({ total }) => bytes(total.response_bytes), () => 'by clients'],
];

const wire = (name, kind, of, title) => ({
  name,
  kind: `wire ${kind}`,
  title,
  value: of,
  text: (row) => shown(of(row) || ''),
});
const number = (name, kind, of, title, text = count) => ({
  name,
  kind: `number ${kind}`,
  down: true,
  title,
  value: of,
  text: (row) => text(of(row)),
});
const lastTime = (title) => ({
  name: 'Last',
  kind: 'time last',
  down: true,
  title,
  value: (row) => row.last,
  text: (row, data) => moment(row.last, data.now).replace(/\.\d+$/, ''),
});

const TRANSACTION = [
  number('No.', 'no', (row) => row.id, 'Number in this run, in the order of completion', String),
  {
    name: 'Time',
    kind: 'time',
    down: true,
    title: 'Local time of the first byte',
    value: (row) => row.time,
    text: (row, data) => moment(row.time, data.now),
  },
  wire('Method', 'method', (row) => row.method, 'Method, or the operation of another protocol'),
  wire('Host', 'host', (row) => row.host),
  wire('Target', 'target', (row) => row.target),
  {
    ...wire('Status', 'status', (row) => row.status, 'Status of the final response; of a gRPC call also its own'),
    down: true,
    text: (row) =>
      row.status === undefined
        ? shown(row.reason || '') || (row.failed ? 'none' : '')
        : row.grpc_status === undefined
          ? String(row.status)
          : `${row.status}/${row.grpc_status}`,
    level,
  },
  number(
    'Duration ms',
    'duration',
    (row) => row.duration,
    'First byte of the request to last of the response, milliseconds',
    milliseconds,
  ),
  number('Received B', 'size', (row) => row.response_bytes, 'Bytes of the response’s body', size),
  wire('Client', 'address', (row) => row.client),
  wire('Server', 'address', (row) => row.server),
  wire(
    'Flags',
    'flags',
    (row) => (row.flags.length ? row.flags.join(' ') : undefined),
    'What is odd about it, or missing',
  ),
];
const failures = (row) => (row.transactions ? row.server_errors / row.transactions : 0);
const COUNTS = [
  number('Count', 'count', (row) => row.transactions, 'Transactions'),
  number('4xx', 'few', (row) => row.client_errors, 'Transactions with a 4xx status'),
  number('Failed', 'few', (row) => row.server_errors, '5xx, no response, or a failed operation'),
  {
    ...number('Failed %', 'share', failures, 'Share of the transactions; red from 5 %', (share) => percent(share, 1)),
    level: (row) => (failures(row) >= 0.05 ? 'error' : ''),
  },
  number(
    'p50 ms',
    'ms',
    (row) => row.times.p50,
    'Half took no longer, milliseconds; at most 10 % too high',
    milliseconds,
  ),
  number(
    'p95 ms',
    'ms',
    (row) => row.times.p95,
    '95 % took no longer, milliseconds; at most 10 % too high',
    milliseconds,
  ),
  number(
    'p99 ms',
    'ms',
    (row) => row.times.p99,
    '99 % took no longer, milliseconds; at most 10 % too high',
    milliseconds,
  ),
  number('Max ms', 'ms', (row) => row.times.max, 'The longest, milliseconds', milliseconds),
  number(
    'Bodies',
    'size',
    (row) => row.request_bytes + row.response_bytes,
    'Bytes of request and response bodies',
    bytes,
  ),
  lastTime('Local time at which the last was completed'),
];
const TLS = [
  wire('Server name', 'host', (row) => row.host || '(none)', 'The server that the client named (SNI)'),
  {
    ...wire(
      'Result',
      'label',
      (row) => `${row.decrypted ? (row.reason ? 'in part' : 'decrypted') : 'dark'}${row.reason ? `: ${row.reason}` : ''}`,
      'Whether it was decrypted, or why not: deploy/ANALYSTS.md, TLS connections, lists the reasons',
    ),
    level: (row) => (row.decrypted && !row.reason ? '' : 'warning'),
  },
  wire('Version', 'label', (row) => row.version, 'Of the last connection'),
  wire('Process', 'label', (row) => row.process, 'The server’s, if it runs on this host and --processes is on'),
  number('Count', 'count', (row) => row.connections, 'Connections that have ended'),
  number('Bytes', 'size', (row) => row.bytes, 'What both sides sent, encrypted', bytes),
  lastTime('Local time at which the last ended'),
];
/** What became of all TLS connections, in a line. */
function tlsLine({ results, beyond }) {
  if (!results.length) return '';
  const sum = (rows) => rows.reduce((all, row) => all + row.connections, 0);
  const reasons = results.filter((row) => row.reason).map((row) => `${row.reason} ${count(row.connections)}`);
  const decrypted = sum(results.filter((row) => row.decrypted));
  return `${count(sum(results))} TLS connections have ended: ${count(decrypted)} decrypted${
    reasons.length ? `; ${reasons.join(', ')}` : ''
  }${beyond ? `; ${count(beyond)} are in no row, since the table was full` : ''}`;
}
const GROUPS = ['capture', 'lost', 'queues', 'parser', 'ledger'];
const HEALTH = [
  { ...wire('Group', 'group', (row) => row.group), value: (row) => GROUPS.indexOf(row.group) },
  {
    name: 'Level',
    kind: 'level',
    down: true,
    value: (row) => LEVELS.indexOf(row.level),
    text: (row) => row.level,
    level: (row) => row.level,
  },
  wire('What', 'what', (row) => row.name),
  wire('Which', 'label', (row) => row.label, 'Reason, interface or queue'),
  { ...number('Number', 'count', (row) => row.value), level: (row) => (row.value ? '' : 'zero') },
  wire('Unit', 'unit', (row) => row.unit),
  number('At most', 'most', (row) => row.of),
  wire('Metric', 'metric', (row) => row.metric, 'The metric that says the same'),
];
