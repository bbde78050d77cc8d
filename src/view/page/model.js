// The model: the snapshot that the page shows, kept up to date by the server's updates.

/** Rows of the last transactions that are kept: what the filter sees. */
const KEPT = 5000;
const PARTS = 900;

class Model {
  constructor() {
    this.data = null;
    /** Grows with each message, so that a view sees what has changed. */
    this.revision = 0;
  }

  /** Everything anew. */
  whole(snapshot) {
    this.data = { ...snapshot, seconds: snapshot.seconds.slice(-PARTS), recent: snapshot.recent.slice(-KEPT) };
    this.revision += 1;
  }

  /** The parts that have changed. Nothing that was handed out is changed: a view that is paused keeps what it has. */
  update(update) {
    if (!this.data) return this.whole(update);
    const old = this.data;
    let seconds = update.seconds;
    if (old.step === update.step) {
      const parts = new Map(old.seconds.map((part) => [part.time, part]));
      for (const part of update.seconds) parts.set(part.time, part);
      seconds = [...parts.values()].sort((a, b) => a.time - b.time);
    }
    const last = old.recent.length ? old.recent[old.recent.length - 1].id : -1;
    const recent = old.recent.concat(update.recent.filter((row) => row.id > last));
    this.data = { ...update, seconds: seconds.slice(-PARTS), recent: recent.slice(-KEPT) };
    this.revision += 1;
    return undefined;
  }
}

/** Transactions per second over the last ten whole parts, or undefined. The last part may not be over. */
function lately(data) {
  const parts = data.seconds.slice(-11, -1);
  if (!parts.length) return undefined;
  return parts.reduce((sum, part) => sum + part.transactions, 0) / (parts.length * data.step);
}

const LEVELS = ['ok', 'warning', 'error'];

/** How the capture goes, at a glance: the worst level, and how many items have it. */
function healthOf(items) {
  const worst = items.reduce((most, item) => Math.max(most, LEVELS.indexOf(item.level)), 0);
  const number = items.filter((item) => item.level === LEVELS[worst]).length;
  const said = [
    () => 'ok',
    () => `${number} warning${number > 1 ? 's' : ''}`,
    () => `${number} error${number > 1 ? 's' : ''}`,
  ];
  return { level: LEVELS[worst], text: items.length ? `Capture: ${said[worst]()}` : 'Capture: not known' };
}
