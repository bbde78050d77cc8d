// A table: rows of one kind, sortable by each column, of which a bounded number is in the document. What has not changed is
// not touched.

/** Rows of a table that are in the document. */
const VISIBLE = 200;
const COLLATOR = new Intl.Collator('en', { numeric: true });

/** Order of two values; what is not known comes last whichever way. */
function order(a, b, sign) {
  if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
  if (typeof a === 'number' && typeof b === 'number') return sign * (a - b);
  return sign * COLLATOR.compare(String(a), String(b));
}

class Table {
  /**
   * `columns`: `{name, title, kind, down, value(row), text(row, data), level(row)}`; the first has each row's button, and `down` are
   * those that are first sorted with the greatest on top.
   * `id(row)` tells rows apart, `keys(name)` says whether these rows have a field of a filter, `label(row)` is for screen readers.
   */
  constructor(panel, { caption, columns, sort, id, keys, label, open, empty }) {
    Object.assign(this, { panel, columns, sort, id, keys, label, open, empty });
    this.entries = new Map();
    this.rows = new WeakMap();
    this.drawn = '';
    this.selected = undefined;
    const scroll = element('div', 'scroll');
    const table = element('table');
    table.append(element('caption', 'unseen', caption));
    const head = table.createTHead().insertRow();
    this.heads = columns.map((column) => {
      const cell = element('th', column.kind);
      cell.scope = 'col';
      const button = element('button', '', column.name);
      button.type = 'button';
      button.title = column.title || '';
      button.append(element('span', 'arrow'));
      button.addEventListener('click', () => this.sortBy(column));
      cell.append(button);
      head.append(cell);
      return cell;
    });
    this.body = table.createTBody();
    this.body.addEventListener('click', (event) => this.clicked(event));
    this.body.addEventListener('keydown', (event) => this.move(event));
    this.message = element('div', 'empty');
    this.note = element('p', 'note');
    this.scroll = scroll;
    scroll.append(table, this.message);
    panel.append(scroll, this.note);
  }

  /** By a column; again the other way. */
  sortBy(column) {
    const same = this.sort.column === column.name;
    this.sort = { column: column.name, down: same ? !this.sort.down : column.down === true };
    this.changed();
  }

  /** Shows `rows`, those for which the filter holds. `stamp` is another whenever the rows are. */
  render(rows, data, query, stamp) {
    const drawn = `${stamp} ${query.number} ${this.sort.column} ${this.sort.down}`;
    if (this.drawn === drawn) return;
    this.drawn = drawn;
    const terms = query.terms.filter(({ needs }) => needs.every((name) => this.keys(name)));
    const column = this.columns.find((each) => each.name === this.sort.column);
    const sign = this.sort.down ? -1 : 1;
    const found = terms.length ? rows.filter((row) => terms.every((term) => term.holds(row))) : rows.slice();
    found.sort((a, b) => order(column.value(a), column.value(b), sign));
    this.heads.forEach((cell, at) => {
      const sorted = this.columns[at] === column ? (this.sort.down ? 'descending' : 'ascending') : 'none';
      if (cell.getAttribute('aria-sort') !== sorted) {
        cell.setAttribute('aria-sort', sorted);
        cell.querySelector('.arrow').textContent = { descending: '▼', ascending: '▲', none: '' }[sorted];
      }
    });
    this.place(found.slice(0, VISIBLE), data);
    this.say(
      rows,
      found,
      data,
      query.terms.filter((term) => !terms.includes(term)),
    );
  }

  place(rows, data) {
    const wanted = new Set(rows.map(this.id));
    const focused = this.body.contains(document.activeElement) ? document.activeElement.closest('tr') : null;
    const position = focused ? focused.sectionRowIndex : 0;
    for (const [id, entry] of this.entries) {
      if (!wanted.has(id)) {
        entry.line.remove();
        this.entries.delete(id);
      }
    }
    let next = this.body.firstChild;
    for (const row of rows) {
      const id = this.id(row);
      let entry = this.entries.get(id);
      if (!entry) {
        entry = this.make(row);
        this.entries.set(id, entry);
      }
      if (entry.row !== row || entry.day !== day(data.now)) this.fill(entry, row, data);
      if (entry.line === next) next = next.nextSibling;
      else this.body.insertBefore(entry.line, next);
    }
    // The row that had the focus is gone: the one in its place takes it.
    if (focused && !focused.isConnected && this.body.rows.length) {
      this.focus(Math.min(position, this.body.rows.length - 1));
    }
    if (this.open && this.body.rows.length && !this.body.querySelector('[tabindex="0"]')) {
      this.body.rows[0].querySelector('button').tabIndex = 0;
    }
  }

  make(row) {
    const line = element('tr');
    const texts = this.columns.map((column, at) => {
      const cell = element('td', column.kind);
      line.append(cell);
      if (at > 0 || !this.open) return cell;
      const button = element('button', 'open');
      button.type = 'button';
      button.tabIndex = -1;
      cell.append(button);
      return button;
    });
    const entry = { line, texts, row: undefined };
    line.classList.toggle('selected', this.selected !== undefined && this.id(row) === this.selected);
    return entry;
  }

  fill(entry, row, data) {
    entry.row = row;
    entry.day = day(data.now);
    this.rows.set(entry.line, row);
    this.columns.forEach((column, at) => {
      const place = entry.texts[at];
      const text = column.text(row, data);
      if (place.textContent !== text) place.textContent = text;
      if (column.level) {
        const level = column.level(row) || '';
        if ((place.dataset.level || '') !== level) place.dataset.level = level;
      }
    });
    if (this.open) entry.texts[0].setAttribute('aria-label', this.label(row, data));
  }

  /** What is shown of what there is, and which terms do not apply. */
  say(rows, found, data, left) {
    const said = [];
    if (rows.length) {
      const visible = Math.min(found.length, VISIBLE);
      said.push(
        found.length === rows.length
          ? `${count(visible)} of ${count(rows.length)} rows`
          : `${count(visible)} of ${count(found.length)} rows that match, of ${count(rows.length)}`,
      );
    }
    if (left.length) said.push(`does not apply here: ${left.map((term) => shown(term.written)).join(' ')}`);
    const beyond = this.beyond ? this.beyond(data) : '';
    if (beyond) said.push(beyond);
    this.note.textContent = said.join(' · ');
    this.note.classList.toggle('odd', left.length > 0);
    this.message.hidden = found.length > 0;
    if (!found.length)
      this.message.replaceChildren(
        ...(rows.length ? [element('p', '', 'No row matches the filter.')] : this.empty(data)),
      );
  }

  clicked(event) {
    const line = event.target.closest('tr');
    // Who selects text with the mouse wants to copy it.
    if (!line || !this.open || (event.detail > 0 && String(getSelection()))) return;
    this.focus(line.sectionRowIndex);
    this.open(this.rows.get(line));
  }

  /** Arrows, Home and End go from row to row. */
  move(event) {
    const line = event.target.closest('tr');
    const last = this.body.rows.length - 1;
    const to = {
      ArrowDown: line.sectionRowIndex + 1,
      ArrowUp: line.sectionRowIndex - 1,
      Home: 0,
      End: last,
      PageDown: line.sectionRowIndex + 20,
      PageUp: line.sectionRowIndex - 20,
    }[event.key];
    if (to === undefined || !this.open) return;
    event.preventDefault();
    this.focus(Math.max(0, Math.min(to, last)));
  }

  focus(at) {
    for (const other of this.body.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    const button = this.body.rows[at].querySelector('button');
    button.tabIndex = 0;
    button.focus({ preventScroll: false });
  }

  /** Marks the row whose details are open. */
  select(id) {
    this.selected = id;
    for (const [other, entry] of this.entries) entry.line.classList.toggle('selected', other === id);
  }
}
