// Regular expressions of filters, as `src/http/filter/pattern.rs` has them: the same syntax, the same bounds, and no more time
// than the text is long. The engine of the browser has neither.

const PATTERN_MOST = 1000;
const PATTERN_DEEPEST = 20;
const PATTERN_LARGE = 'it is too large';
const DIGITS = [[48, 57]];
const WORD = [
  [48, 57],
  [65, 90],
  [95, 95],
  [97, 122],
];
const SPACE = [
  [9, 13],
  [32, 32],
];

/** What is wrong with a pattern. */
class PatternError extends Error {}

/** Reads a pattern into a tree: each node has what it is, and `size`. */
class PatternReader {
  constructor(text) {
    this.signs = [...text];
    this.at = 0;
    this.depth = 0;
  }

  next() {
    this.at += 1;
    return this.signs[this.at - 1];
  }

  /** Takes signs if they are next. */
  take(signs) {
    const is = [...signs].every((sign, place) => this.signs[this.at + place] === sign);
    if (is) this.at += [...signs].length;
    return is;
  }

  alternatives() {
    const alternatives = [[]];
    let size = 1;
    for (;;) {
      while (this.at < this.signs.length && this.signs[this.at] !== '|' && this.signs[this.at] !== ')') {
        const node = this.repeated();
        alternatives.at(-1).push(node);
        size += node.size;
      }
      if (!this.take('|')) return { alternatives, size };
      alternatives.push([]);
      size += 1;
    }
  }

  repeated() {
    const node = this.atom();
    const [least, most, times] = this.times();
    if (least === undefined) return node;
    if (node.border) throw new PatternError('nothing to repeat');
    this.take('?');
    if ('*+?{'.includes(this.signs[this.at] || '!')) {
      throw new PatternError('what is repeated is repeated again: put it in brackets');
    }
    const size = node.size * times + 1;
    if (size > PATTERN_MOST) throw new PatternError(PATTERN_LARGE);
    return { node, least, most, size };
  }

  /** Least, most (may be infinite), and how often for the size; nothing if nothing is repeated here. */
  times() {
    if (this.take('*')) return [0, Infinity, 1];
    if (this.take('+')) return [1, Infinity, 1];
    if (this.take('?')) return [0, 1, 1];
    if (!this.take('{')) return [];
    const end = this.signs.indexOf('}', this.at);
    const inside = end < 0 ? '' : this.signs.slice(this.at, end).join('');
    const found = /^(\d{1,4})(?:(,)(\d{1,4})?)?$/.exec(inside);
    const least = found ? Number(found[1]) : 0;
    const most = !found || !found[2] ? least : found[3] === undefined ? Infinity : Number(found[3]);
    if (!found || most < least) {
      throw new PatternError('a "{" that begins no {2}, {2,} or {2,5}: put a backslash before it');
    }
    this.at = end + 1;
    return [least, most, Math.max(1, most === Infinity ? least : most)];
  }

  atom() {
    const sign = this.next();
    switch (sign) {
      case '(': {
        if (this.signs[this.at] === '?' && !this.take('?:')) {
          throw new PatternError('of what begins with "(?" there is only "(?:", and "(?i)" in front of all');
        }
        this.depth += 1;
        if (this.depth > PATTERN_DEEPEST) throw new PatternError(PATTERN_LARGE);
        const inside = this.alternatives();
        if (!this.take(')')) throw new PatternError('a "(" without its ")"');
        this.depth -= 1;
        return inside;
      }
      case '^':
      case '$':
        return { border: sign, size: 1 };
      case '.':
        return { spans: [[10, 10]], negated: true, size: 1 };
      case '[':
        return this.inBrackets();
      case '*':
      case '+':
      case '?':
      case '{':
        throw new PatternError('nothing to repeat');
      case '\\': {
        const escaped = this.escaped();
        return typeof escaped === 'number' ? { spans: [[escaped, escaped]], size: 1 } : { ...escaped, size: 1 };
      }
      default:
        return { spans: [[sign.codePointAt(0), sign.codePointAt(0)]], size: 1 };
    }
  }

  /** The code of a character, or what the class or the border is. */
  escaped() {
    const sign = this.next();
    const classes = { d: DIGITS, w: WORD, s: SPACE };
    const plain = { n: 10, t: 9, r: 13 };
    if (sign === undefined) throw new PatternError('a backslash at its end');
    if (Object.hasOwn(classes, sign.toLowerCase())) {
      return { spans: classes[sign.toLowerCase()], negated: sign !== sign.toLowerCase() };
    }
    if (sign === 'b' || sign === 'B') return { border: sign };
    if (Object.hasOwn(plain, sign)) return plain[sign];
    if (/^[!-/:-@[-`{-~]$/.test(sign)) return sign.codePointAt(0);
    throw new PatternError('a backslash with a letter or digit that has no meaning here');
  }

  inBrackets() {
    const negated = this.take('^');
    const spans = [];
    for (;;) {
      let first = this.next();
      if (first === undefined) throw new PatternError('a "[" without its "]"');
      if (first === ']') {
        if (spans.length) return { spans, negated, size: 1 };
        throw new PatternError('an empty "[]": put a backslash before a "]" in it');
      }
      if (first === '[') throw new PatternError('a "[" in brackets: put a backslash before it');
      if (first === '\\') {
        first = this.escaped();
        if (first.spans && !first.negated) {
          spans.push(...first.spans);
          continue;
        }
        if (typeof first !== 'number') {
          throw new PatternError('in brackets there are no \\D, \\W, \\S, \\b and \\B');
        }
      } else first = first.codePointAt(0);
      if (this.signs[this.at] !== '-' || this.signs[this.at + 1] === ']') {
        spans.push([first, first]);
        continue;
      }
      this.next();
      let last = this.next();
      if (last === '\\') last = this.escaped();
      else if (last !== undefined && last !== '[') last = last.codePointAt(0);
      if (typeof last !== 'number' || last < first) {
        throw new PatternError('a range in brackets that ends before it begins, or at no character');
      }
      spans.push([first, last]);
    }
  }
}

/** The tree as steps: `{spans, negated}` takes a character, `{border}` is passed where it is one, `{to}` goes on at several. */
function steps(node, out) {
  if (node.alternatives) {
    const ends = [];
    node.alternatives.forEach((all, place) => {
      const fork = { to: [] };
      if (place < node.alternatives.length - 1) out.push(fork);
      fork.to.push(out.length);
      for (const each of all) steps(each, out);
      if (place < node.alternatives.length - 1) {
        const end = { to: [] };
        out.push(end);
        ends.push(end);
      }
      fork.to.push(out.length);
    });
    for (const end of ends) end.to.push(out.length);
  } else if (node.node) {
    for (let time = 0; time < node.least; time += 1) steps(node.node, out);
    if (node.most === Infinity) {
      const fork = { to: [] };
      const start = out.push(fork) - 1;
      fork.to.push(out.length);
      steps(node.node, out);
      out.push({ to: [start] });
      fork.to.push(out.length);
    } else {
      const forks = [];
      for (let time = node.least; time < node.most; time += 1) {
        const fork = { to: [out.length + 1] };
        out.push(fork);
        forks.push(fork);
        steps(node.node, out);
      }
      for (const fork of forks) fork.to.push(out.length);
    }
  } else out.push(node);
}

const isWord = (code) => code !== undefined && WORD.some(([first, last]) => first <= code && code <= last);

/** Whether a character is one of a step. */
function takes(step, code, fold) {
  const has = (one) => step.spans.some(([first, last]) => first <= one && one <= last);
  const isLetter = (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
  return (has(code) || (fold && isLetter && has(code ^ 32))) !== Boolean(step.negated);
}

/** A test for texts. `fold`: the case of ASCII letters does not count. Throws a PatternError. */
function pattern(text, fold) {
  const folds = text.startsWith('(?i)') || fold;
  const reader = new PatternReader(text.startsWith('(?i)') ? text.slice(4) : text);
  const tree = reader.alternatives();
  if (reader.at < reader.signs.length) throw new PatternError('a ")" without its "("');
  if (tree.size > PATTERN_MOST) throw new PatternError(PATTERN_LARGE);
  const program = [];
  steps(tree, program);
  const end = program.length;
  const passes = (border, before, after) => {
    if (border === '^') return before === undefined;
    if (border === '$') return after === undefined;
    return (isWord(before) !== isWord(after)) === (border === 'b');
  };
  return (subject) => {
    const codes = [...subject].map((sign) => sign.codePointAt(0));
    let here = [0];
    for (let at = 0; ; at += 1) {
      // Every step that can be reached here, once.
      const seen = new Set();
      const left = [...here, 0];
      while (left.length) {
        const step = left.pop();
        if (step === end) return true;
        if (seen.has(step)) continue;
        seen.add(step);
        const { to, border } = program[step];
        if (to) left.push(...to);
        else if (border && passes(border, codes[at - 1], codes[at])) left.push(step + 1);
      }
      if (at >= codes.length) return false;
      here = [...seen].filter((step) => program[step].spans && takes(program[step], codes[at], folds)).map((step) => step + 1);
    }
  };
}
