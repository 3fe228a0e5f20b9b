// Which messages of a room were there already: the server may replay what it has sent before, and proxies may bring a
// message twice.
//
// A message has a *key* when nobody says the same twice: it has a time, a nonce or an id in it. Those with a key are
// told apart by it, for ever. Plain texts of simple clients have none, and two alike are two messages. They are known
// by their place: all members receive one order, so what a replay has before a message that is known is known as well.
//
// `row` holds the digests of what was received here, in order: without own messages and join frames, just as the server
// compares them. After a break it is asked for what came since a place in the row.

const MAX_KEYS = 40_000; // as many as mles-client has
const MAX_ROW = 2000;
const DIGESTS = 8; // that `since` may have

const OWN = 0;

export class Memory {
  #digest;
  #keys = new Map(); // key → OWN, or on which link it was received
  #link = 1; // the number of the link
  #row = [];
  #dropped = 0; // how many were at the beginning of the row once
  #next = null; // in a replay: index in the row of what is known to come next; null: unknown
  #before = 0; // the row's length when the replay began

  /** @param {?function((string|Uint8Array)): string} digest null: frames stand for themselves, and `since` is not used */
  constructor(digest) {
    this.#digest = digest;
  }

  /** Whether it can say what came last, and tell what of a replay is new. */
  get canResume() {
    return this.#digest !== null;
  }

  /** How many were received so far: a place in the row. */
  get place() {
    return this.#dropped + this.#row.length;
  }

  clear() {
    this.#keys.clear();
    this.#dropped += this.#row.length;
    this.#row = [];
    this.#next = null;
  }

  /** The digests to ask for what came after a place; null: everything has to be asked for. */
  since(place) {
    const end = place - this.#dropped;
    return this.#digest && end > 0 ? this.#row.slice(Math.max(0, end - DIGESTS), end) : null;
  }

  /** A replay begins, behind a place in the row as far as the server knows it. */
  replayBegins(place) {
    this.#link += 1;
    this.#next = Math.max(0, place - this.#dropped);
    this.#before = this.#row.length;
  }

  replayIsOver() {
    this.#next = null;
  }

  /**
   * What a message is known by.
   *
   * @returns {{digest: ?string, key: ?string}} digest: of the frame, null where there is none to be had; key: null when
   *   the message has none
   */
  identify(frame, message) {
    const digest = this.#digest?.(frame) ?? null;
    if (message.opened) return { digest, key: `sealed ${this.#digest?.(message.opened) ?? beginningOf(message.opened)}` };
    const hasKey = message.kind === 'file' || message.kind === 'locked' || (message.kind === 'line' && message.time !== null);
    return { digest, key: hasKey ? digest ?? beginningOf(frame) : null };
  }

  /** Whether a message with that key was there. */
  has(key) {
    return this.#keys.has(key);
  }

  /** Note a message of one's own; false: it was there already. */
  noteOwn(key) {
    const isNew = !this.#keys.has(key);
    if (isNew) this.#noteKey(key, OWN);
    return isNew;
  }

  /**
   * Note what has come.
   *
   * @returns {{isNew: boolean, wasKnown: boolean}} wasKnown: all that this replay has brought so far was there before,
   *   also what had no key and seemed to be new
   */
  note({ digest, key }, message, isOwn, isReplay) {
    const before = key === null ? undefined : this.#keys.get(key);
    if (isOwn || message.kind === 'join') {
      if (key !== null && before === undefined) this.#noteKey(key, OWN);
      return { isNew: before === undefined, wasKnown: false };
    }
    if (isReplay && this.#isNext(digest)) {
      this.#next += 1;
      return { isNew: false, wasKnown: false };
    }
    if (before !== undefined) {
      if (!isReplay || before === OWN || before === this.#link) return { isNew: false, wasKnown: false };
      this.#row.length = Math.min(this.#row.length, this.#before);
      const index = this.#row.lastIndexOf(digest);
      this.#next = index < 0 ? null : index + 1;
      return { isNew: false, wasKnown: true };
    }
    this.#next = null;
    if (key !== null) this.#noteKey(key, this.#link);
    if (digest !== null) this.#row.push(digest);
    if (this.#row.length > MAX_ROW) this.#forget(MAX_ROW / 2);
    return { isNew: true, wasKnown: false };
  }

  #isNext(digest) {
    return digest !== null && this.#next !== null && this.#next < this.#before && this.#row[this.#next] === digest;
  }

  #forget(number) {
    this.#row.splice(0, number);
    this.#dropped += number;
    this.#before = Math.max(0, this.#before - number);
  }

  #noteKey(key, link) {
    this.#keys.set(key, link);
    if (this.#keys.size > MAX_KEYS) this.#keys.delete(this.#keys.keys().next().value);
  }
}

// Where there are no digests: what makes a file or a sealed message one of its kind stands at its beginning.
function beginningOf(frame) {
  return typeof frame === 'string' ? frame : `${frame.length} ${String.fromCharCode(...frame.subarray(0, 512))}`;
}
