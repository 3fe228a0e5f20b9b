// One's own messages until they are surely with the server: kept over reloads, in this browser's IndexedDB.
//
// A server does not acknowledge. So a message that was sent stays here until the link has brought something well after
// it: when the link breaks before that it may have been lost, and the next replay shows. Messages belong to one window.
// Those of a window that was closed are taken over by the next one that opens.

import { forThisWindow } from './kept.js';

// What went out so long before something came has arrived: a server whose pings are not answered ends a link sooner.
// The clock alone says nothing: a link may be dead for any time before a browser notices.
const UNSURE_MS = 120_000;
const MAX_UNSURE = 64; // messages that went out longer ago than that, and nothing has come since
const AGAIN_MS = 3_600_000; // later nothing is said again: the history may have had it, and forgotten it

const STORE = 'messages';

/**
 * An entry: {id, owner, room, frame, key, sentAt, firstSentAt, place}. `sentAt` is 0 while it is to be sent; unless
 * `firstSentAt` is 0 it may have arrived all the same. `place` is how many messages had come when it was sent.
 */
export class Outbox {
  #database = null;
  #entries = [];
  #owner = '';
  #lastId = 0;

  /** Open it, with what earlier windows have left. */
  static async open() {
    const outbox = new Outbox();
    outbox.#owner = await ownName();
    outbox.#database = await openDatabase().catch(() => null);
    if (outbox.#database !== null) await outbox.#load();
    return outbox;
  }

  /** Whether what is in it outlives the page. */
  get isKept() {
    return this.#database !== null;
  }

  /** The entries of a room, in order. */
  of(room) {
    return this.#entries.filter((entry) => entry.room === room);
  }

  /** How many are still to be sent. */
  get waiting() {
    return this.#entries.filter((entry) => entry.sentAt === 0).length;
  }

  add(room, frame, key) {
    this.#lastId = Math.max(this.#lastId + 1, Date.now()); // later ones have higher numbers, also after a reload
    const id = `${String(this.#lastId).padStart(16, '0')} ${this.#owner}`;
    const entry = { id, owner: this.#owner, room, frame, key, sentAt: 0, firstSentAt: 0, place: null };
    this.#entries.push(entry);
    this.#write((store) => store.put(entry));
    return entry;
  }

  /** What is to be sent in a room, in order, now that its history has come. */
  due(room) {
    for (const entry of this.of(room).filter(isTooLate)) this.#remove(entry);
    return this.of(room);
  }

  /** An entry is on its way; `place` is how many messages had come by then. */
  sent(entry, place) {
    const now = Date.now();
    Object.assign(entry, { sentAt: now, firstSentAt: entry.firstSentAt || now, place });
    this.#write((store) => store.put(entry));
    for (const old of this.#entries.filter(wasSentBefore).slice(0, -MAX_UNSURE)) this.#remove(old);
  }

  /** The link that things are sent on has brought something. */
  heard() {
    for (const entry of this.#entries.filter(wasSentBefore)) this.#remove(entry);
  }

  /** What has this key has arrived, and what its window sent before: a server takes the frames of a link in order. */
  arrived(room, key) {
    const entries = this.of(room);
    const last = entries.findIndex((entry) => entry.key === key);
    for (const entry of entries.slice(0, last + 1)) {
      if (windowOf(entry) === windowOf(entries[last])) this.#remove(entry);
    }
  }

  /** The link of a room is lost: what is still here may be, too. Returns the place before the first of these. */
  unsure(room, place) {
    const sent = this.of(room).filter((entry) => entry.place !== null);
    for (const entry of sent) entry.sentAt = 0;
    return Math.min(place, ...sent.map((entry) => entry.place));
  }

  #remove(entry) {
    this.#entries = this.#entries.filter((other) => other !== entry);
    this.#write((store) => store.delete(entry.id));
  }

  #write(change) {
    if (this.#database === null) return;
    // The browser may have closed it, or the disk may be full: from now on only in memory.
    const fail = () => { this.#database = null; };
    try {
      const transaction = this.#database.transaction(STORE, 'readwrite');
      transaction.onabort = fail;
      change(transaction.objectStore(STORE));
    } catch {
      fail();
    }
  }

  async #load() {
    const stored = await result(this.#database.transaction(STORE).objectStore(STORE).getAll());
    const gone = new Set();
    for (const owner of new Set(stored.map((entry) => entry.owner))) {
      if (owner === this.#owner || (await isGone(owner))) gone.add(owner);
    }
    for (const entry of stored.filter(({ owner }) => gone.has(owner))) {
      if (isTooLate(entry)) {
        this.#write((store) => store.delete(entry.id));
        continue;
      }
      // Whether it had arrived is seen in the replay.
      const taken = { ...entry, owner: this.#owner, sentAt: 0, place: null };
      this.#entries.push(taken);
      this.#write((store) => store.put(taken));
    }
  }
}

const wasSentBefore = ({ sentAt }) => sentAt !== 0 && Date.now() - sentAt > UNSURE_MS;
const isTooLate = ({ firstSentAt }) => firstSentAt !== 0 && Date.now() - firstSentAt > AGAIN_MS;
const windowOf = ({ id }) => id.split(' ')[1]; // the one it was typed in: `owner` may have taken it over

// A window holds a lock with its name for as long as it lives. Where there are no locks, nothing is taken over.

async function ownName() {
  const before = forThisWindow.get('window');
  // A window that was duplicated has the name of the other one, which lives.
  const name = before !== null && (await holds(before)) ? before : crypto.getRandomValues(new Uint32Array(2)).join('-');
  if (name !== before) await holds(name);
  forThisWindow.set('window', name);
  return name;
}

const lockName = (owner) => `mles-tx-window-${owner}`;

function holds(owner) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    navigator.locks.request(lockName(owner), { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock && new Promise(() => {}); // until the window is gone
    });
  });
}

async function isGone(owner) {
  if (!navigator.locks) return false;
  return navigator.locks.request(lockName(owner), { ifAvailable: true }, (lock) => lock !== null);
}

const result = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

function openDatabase() {
  const opening = indexedDB.open('mles-tx-outbox', 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: 'id' });
  return result(opening);
}
