'use strict';
// Numbers, times and texts as people read them. Times are microseconds since the Unix epoch, durations microseconds; what is
// not known is undefined, and stays empty.

const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const THREE_DIGITS = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });
const MILLISECONDS = new Intl.NumberFormat('en', { minimumFractionDigits: 3, maximumFractionDigits: 3 });

const count = (n) => (n === undefined ? '' : WHOLE.format(n));

/** A number per second. */
const rate = (n) => (n >= 100 ? WHOLE.format(n) : THREE_DIGITS.format(n));

/** Milliseconds to the microsecond, so that the points of a column are below each other; from 100 s on with the unit. */
const milliseconds = (us) =>
  us === undefined ? '' : us < 1e8 ? MILLISECONDS.format(us / 1000) : `${WHOLE.format(us / 1e6)} s`;

/** A duration with its unit. */
function duration(us) {
  if (us === undefined) return '';
  if (us < 1000) return `${us} µs`;
  if (us < 1e6) return `${MILLISECONDS.format(us / 1000)} ms`;
  if (us < 60e6) return `${MILLISECONDS.format(us / 1e6)} s`;
  return span(us);
}

/** A long duration, to the second. */
function span(us) {
  const s = Math.round(us / 1e6);
  const parts = [
    [Math.floor(s / 86400), 'd'],
    [Math.floor(s / 3600) % 24, 'h'],
    [Math.floor(s / 60) % 60, 'min'],
    [s % 60, 's'],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  return first < 0
    ? '0 s'
    : parts
        .slice(first)
        .map(([n, unit]) => `${n} ${unit}`)
        .join(' ');
}

/** Bytes with a decimal unit, three digits. */
function bytes(n) {
  if (n === undefined) return '';
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? WHOLE.format(n) : THREE_DIGITS.format(n)} ${units[unit]}`;
}

/** Exactly, as far as a column is wide; then with the unit. */
const size = (n) => (n < 1e9 || n === undefined ? count(n) : bytes(n));

/** A share of a whole; a share that is not zero does not read as zero. */
function percent(part, whole) {
  if (part === 0 || whole === 0) return '0 %';
  const share = (part / whole) * 100;
  return share < 0.01 ? '< 0.01 %' : `${new Intl.NumberFormat('en', { maximumSignificantDigits: 2 }).format(share)} %`;
}

const two = (n) => String(n).padStart(2, '0');
const date = (us) => new Date(Math.floor(us / 1000));

/** The local day. */
function day(us) {
  const at = date(us);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** Local time to the second. */
function clock(us) {
  const at = date(us);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** Local time to the microsecond. */
const precise = (us) => `${clock(us)}.${String(((us % 1e6) + 1e6) % 1e6).padStart(6, '0')}`;

/** The offset of local time at that time: `UTC+02:00`. */
function zone(us) {
  const minutes = -date(us).getTimezoneOffset();
  const size = Math.abs(minutes);
  return minutes === 0 ? 'UTC' : `UTC${minutes < 0 ? '−' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

/** Local time, with the day where that is not `now`'s. */
const moment = (us, now) => (day(us) === day(now) ? precise(us) : `${day(us)} ${precise(us)}`);

/** Controls and characters that turn the direction of text. The server has escaped them; whatever it sends, none is shown. */
const MISLEADING = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** Text from the traffic, as it is shown; of a very long one the beginning. */
function shown(text, most = 300) {
  const cut = text.length > most ? `${text.slice(0, most)}…` : text;
  return cut.replace(MISLEADING, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** An element with a class and a text. */
function element(name, kind = '', text = '') {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}
