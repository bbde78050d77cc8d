// The timeline: transactions per second and percentiles of durations, on two canvases with one cursor.

class Timeline {
  constructor(root) {
    this.cursor = root.querySelector('#cursor');
    this.reading = root.querySelector('#reading');
    this.canvases = [root.querySelector('#rates'), root.querySelector('#durations')];
    this.keys = Object.fromEntries(
      ['rest', 'client', 'failed', 'p50', 'p95', 'p99'].map((name) => [name, root.querySelector(`.key.${name}`)]),
    );
    /** The time under the cursor, or undefined: then the last whole part is read. */
    this.at = undefined;
    this.data = null;
    this.drawn = '';
    this.cursor.addEventListener('pointermove', (event) => this.point(event));
    this.cursor.addEventListener('pointerleave', () => this.to(undefined));
    this.cursor.addEventListener('blur', () => this.to(undefined));
    this.cursor.addEventListener('keydown', (event) => this.key(event));
  }

  /** First and last time of the drawing. */
  range() {
    const { seconds, step, live } = this.data;
    const end = seconds.length ? seconds[seconds.length - 1].time + step * 1e6 : this.data.now;
    const begin = live ? end - PARTS * step * 1e6 : seconds.length ? seconds[0].time : end - 1e6;
    return [begin, Math.max(end, begin + 1e6)];
  }

  point(event) {
    const canvas = this.canvases.find((each) => each.contains(event.target));
    if (!canvas || !this.data) return;
    const box = canvas.getBoundingClientRect();
    const [begin, end] = this.range();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    this.to(share < 0 || share > 1 ? undefined : begin + share * (end - begin));
  }

  key(event) {
    const parts = this.data ? this.data.seconds : [];
    const steps = {
      ArrowRight: 1,
      ArrowUp: 1,
      ArrowLeft: -1,
      ArrowDown: -1,
      PageUp: 60,
      PageDown: -60,
      Home: -PARTS,
      End: PARTS,
    };
    if (event.key === 'Escape') this.to(undefined);
    if (!(event.key in steps) || !parts.length) return;
    event.preventDefault();
    const now = this.at === undefined ? parts.length - 1 : this.index();
    this.to(parts[Math.max(0, Math.min(parts.length - 1, now + steps[event.key]))].time);
  }

  to(time) {
    if (time === this.at) return;
    this.at = time;
    this.changed();
  }

  /** The part under the cursor, or -1. */
  index() {
    const { seconds, step } = this.data;
    const found = seconds.findLastIndex((part) => part.time <= this.at);
    return found >= 0 && this.at < seconds[found].time + step * 1e6 ? found : -1;
  }

  render(data, stamp) {
    const sizes = this.canvases.map((canvas) => [canvas.clientWidth, canvas.clientHeight]);
    const drawn = [stamp, this.at, devicePixelRatio, document.documentElement.dataset.theme, ...sizes].join(' ');
    if (this.drawn === drawn) return;
    this.drawn = drawn;
    this.data = data;
    this.colors = Object.fromEntries(
      Object.entries(this.keys).map(([name, key]) => [name, getComputedStyle(key, '::before').backgroundColor]),
    );
    const style = getComputedStyle(this.reading);
    Object.assign(this.colors, { text: style.color, line: style.outlineColor });
    this.font = `11px ${style.fontFamily}`;
    this.rates(new Plot(this.canvases[0], this.range(), this.colors, this.font));
    this.durations(new Plot(this.canvases[1], this.range(), this.colors, this.font));
    this.read();
  }

  rates(plot) {
    const { seconds, step } = this.data;
    const most = seconds.reduce((max, part) => Math.max(max, part.transactions / step), 0);
    const top = nice(most || 1);
    const y = (n) => plot.bottom - (n / top) * plot.height;
    plot.times();
    for (const share of [0, 0.5, 1]) plot.level(y(top * share), rate(top * share));
    // Each column of pixels has the most of its parts; at least a pixel high, so that a single failure among thousands is seen.
    const columns = new Map();
    for (const part of seconds) {
      const from = Math.floor(plot.x(part.time));
      const to = Math.max(from + 1, Math.floor(plot.x(part.time + step * 1e6)));
      for (let x = from; x < to; x += 1) {
        const column = columns.get(x) || { failed: 0, client: 0, all: 0 };
        column.failed = Math.max(column.failed, part.server_errors);
        column.client = Math.max(column.client, part.client_errors);
        column.all = Math.max(column.all, part.transactions);
        columns.set(x, column);
      }
    }
    const high = (n) => (n > 0 ? Math.max(1, (n / step / top) * plot.height) : 0);
    for (const [x, { failed, client, all }] of columns) {
      plot.bar(x, high(all), this.colors.rest);
      plot.bar(x, high(failed) + high(client), this.colors.client);
      plot.bar(x, high(failed), this.colors.failed);
    }
    this.mark(plot);
  }

  /** On a logarithmic scale: microseconds and seconds are both seen. */
  durations(plot) {
    const known = this.data.seconds.filter((part) => part.times.p50 !== undefined);
    const least = known.reduce((min, part) => Math.min(min, part.times.p50), Infinity);
    const most = known.reduce((max, part) => Math.max(max, part.times.p99), 0);
    const low = known.length ? Math.floor(Math.log10(Math.max(1, least))) : 2;
    const high = known.length ? Math.max(low + 1, Math.ceil(Math.log10(Math.max(1, most)))) : 5;
    const y = (us) => plot.bottom - ((Math.log10(Math.max(1, us)) - low) / (high - low)) * plot.height;
    plot.times();
    const every = Math.ceil((high - low) / 5);
    for (let power = low; power <= high; power += every) plot.level(y(10 ** power), unit(10 ** power));
    for (const name of ['p99', 'p95', 'p50'])
      plot.line(
        this.data.seconds,
        this.data.step,
        (part) => (part.times[name] === undefined ? undefined : y(part.times[name])),
        this.colors[name],
      );
    this.mark(plot);
  }

  mark(plot) {
    const part = this.at === undefined ? undefined : this.data.seconds[this.index()];
    if (part) plot.cursor(part.time + this.data.step * 5e5);
  }

  /** The values in words: what hovering and the arrow keys show. */
  read() {
    const { seconds, step, live, now } = this.data;
    const at = this.at === undefined ? Math.max(0, seconds.length - (live ? 2 : 1)) : this.index();
    const part = seconds[at];
    let said = 'No part of time there.';
    if (!seconds.length) said = 'No transactions yet.';
    if (part) {
      const when = `${day(part.time) === day(now) ? '' : `${day(part.time)} `}${clock(part.time)}${step > 1 ? ` + ${span(step * 1e6)}` : ''}`;
      const times =
        part.times.p50 === undefined
          ? 'no durations'
          : `p50 ${duration(part.times.p50)} · p95 ${duration(part.times.p95)} · p99 ${duration(part.times.p99)} · longest ${duration(part.times.max)}`;
      said = `${when} · ${rate(part.transactions / step)} per second · ${count(part.client_errors)} with 4xx · ${count(part.server_errors)} failed · ${bytes(part.bytes)} of bodies · ${times}`;
    }
    if (this.reading.textContent !== said) this.reading.textContent = said;
    this.cursor.setAttribute('aria-valuemax', Math.max(0, seconds.length - 1));
    this.cursor.setAttribute('aria-valuenow', Math.max(0, Math.min(at, seconds.length - 1)));
    this.cursor.setAttribute('aria-valuetext', said);
  }
}

/** Space for labels, in CSS pixels. */
const LEFT = 52;
const RIGHT = 8;
const TOP = 6;
const BOTTOM = 18;

/** A canvas with a time axis. */
class Plot {
  constructor(canvas, [begin, end], colors, font) {
    const scale = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    Object.assign(this, {
      begin,
      end,
      colors,
      width,
      top: TOP,
      bottom: height - BOTTOM,
      height: height - BOTTOM - TOP,
    });
    this.pen = canvas.getContext('2d');
    this.pen.scale(scale, scale);
    this.pen.font = font;
    this.pen.textBaseline = 'middle';
  }

  x(time) {
    return LEFT + ((time - this.begin) / (this.end - this.begin)) * (this.width - LEFT - RIGHT);
  }

  /** A value's line and label. */
  level(y, text) {
    const at = Math.round(y) + 0.5;
    this.stroke(this.colors.line, [
      [LEFT, at],
      [this.width - RIGHT, at],
    ]);
    this.pen.fillStyle = this.colors.text;
    this.pen.textAlign = 'right';
    this.pen.fillText(text, LEFT - 6, at);
  }

  times() {
    const seconds = (this.end - this.begin) / 1e6;
    const most = Math.max(2, Math.floor((this.width - LEFT) / 90));
    const step =
      [1, 2, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].find(
        (s) => seconds / s <= most,
      ) || Math.ceil(seconds / most / 86400) * 86400;
    const local = date(this.begin).getTimezoneOffset() * -60;
    this.pen.fillStyle = this.colors.text;
    this.pen.textAlign = 'center';
    for (let s = Math.ceil((this.begin / 1e6 + local) / step) * step - local; s <= this.end / 1e6; s += step) {
      const x = this.x(s * 1e6);
      this.stroke(this.colors.line, [
        [Math.round(x) + 0.5, this.bottom],
        [Math.round(x) + 0.5, this.bottom + 3],
      ]);
      const text = step >= 86400 ? day(s * 1e6) : step >= 60 ? clock(s * 1e6).slice(0, 5) : clock(s * 1e6);
      if (x > LEFT + 14 && x < this.width - RIGHT - 20) this.pen.fillText(text, x, this.bottom + 11);
    }
  }

  /** A column of pixels from the bottom. */
  bar(x, height, color) {
    this.pen.fillStyle = color;
    this.pen.fillRect(x, this.bottom - Math.min(height, this.height), 1, Math.min(height, this.height));
  }

  /** A line, broken where a part has no value; a point that stands alone is a dot. */
  line(parts, step, y, color) {
    const half = step * 5e5;
    this.pen.fillStyle = color;
    let piece = [];
    const end = () => {
      if (piece.length === 1) this.pen.fillRect(piece[0][0] - 1, piece[0][1] - 1, 2.5, 2.5);
      if (piece.length > 1) this.stroke(color, piece, 1.25);
      piece = [];
    };
    for (const part of parts) {
      const at = y(part);
      if (at === undefined) end();
      else piece.push([this.x(part.time + half), at]);
    }
    end();
  }

  cursor(time) {
    const x = Math.round(this.x(time)) + 0.5;
    this.stroke(this.colors.text, [
      [x, this.top],
      [x, this.bottom],
    ]);
  }

  stroke(color, points, width = 1) {
    this.pen.strokeStyle = color;
    this.pen.lineWidth = width;
    this.pen.beginPath();
    points.forEach(([x, y], at) => (at ? this.pen.lineTo(x, y) : this.pen.moveTo(x, y)));
    this.pen.stroke();
  }
}

/** The next greater of 1, 2, 4, 5 times a power of ten. */
function nice(n) {
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 4, 5, 10].map((m) => m * power).find((m) => m >= n);
}

/** A power of ten of microseconds. */
const unit = (us) => (us < 1e3 ? `${us} µs` : us < 1e6 ? `${us / 1e3} ms` : `${WHOLE.format(us / 1e6)} s`);
