// The messages on the screen, in the order they came, and below them those that wait to be sent.

import { byId, element } from './elements.js';
import { sizeInWords } from './files.js';
import { dayRow, fileIn, noteRow, saidRow } from './rows.js';
import { harmlessName } from './text.js';

const MAX_ROWS = 1000;
const TOGETHER_MS = 5 * 60_000; // what one says within it stands under one name
const NEAR_THE_END = 60; // pixels
const REPLAY_MS = 200; // between two pieces of a history

const [log, messages, waiting, jump] = ['log', 'messages', 'waiting', 'jump'].map(byId);

export class Log {
  #open;
  #follows = true; // it is scrolled to its end, and stays there
  #width = 0; // of the log when it was last seen to
  #frame = 0; // in which it is seen to next
  #next = document.createDocumentFragment(); // rows that are not in the page yet
  #timer = 0; // when they get there
  #hasNews = false; // whether there are any to be looked at among them
  #last = null; // {uid, isOwn, time} of the last row, if something was said in it
  #day = '';
  #files = new Map(); // rows of files that are not whole yet
  #urls = new WeakMap(); // row → URL of what it shows
  #unsure = []; // rows that may have to go
  #locked = null; // the row that counts what cannot be opened

  /** @param {function(string, string)} open shows a picture, by its URL and name */
  constructor(open) {
    this.#open = open;
    log.addEventListener('scroll', () => this.#look());
    jump.addEventListener('click', () => {
      this.toEnd();
      log.focus();
    });
    new ResizeObserver(() => this.#keepUp()).observe(log);
    // Pictures get their height when they are there.
    messages.addEventListener('load', () => this.#keepUp(), { capture: true });
  }

  /** Let screen readers read what comes from now on, or not. */
  speak(isOn) {
    log.setAttribute('aria-live', isOn ? 'polite' : 'off');
  }

  clear() {
    this.#flush();
    for (const row of [...messages.children]) this.#remove(row);
    this.#last = this.#locked = null;
    this.#day = '';
    this.#files.clear();
    this.#unsure = [];
    this.#follows = true;
    jump.hidden = true;
  }

  show(message, { isOwn, isReplay, isUnsure, isNews }) {
    const row = this.#rowFor(message, isOwn);
    if (isUnsure && row !== null) this.#unsure.push(row);
    this.#hasNews ||= isNews;
    // A long history is put there in a few pieces: browsers measure all rows after each.
    if (isReplay) this.#timer ||= setTimeout(() => this.#flush(), REPLAY_MS);
    else this.#flush();
  }

  /** All rows that were unsure so far stay, or go, since the same was there before. */
  settle(wasKnown) {
    if (wasKnown && this.#unsure.length) {
      for (const row of this.#unsure) this.#remove(row);
      this.#last = this.#locked = null;
    }
    this.#unsure = [];
    this.#flush();
  }

  /** What waits to be sent. */
  showWaiting(unsent) {
    this.#look();
    const rows = unsent.filter(({ head }) => !head?.part).map((message) => {
      const row = saidRow(message, { isOwn: true });
      row.classList.add('unsent');
      const bubble = row.querySelector('.bubble');
      if (message.kind === 'file') bubble.append(element('p', 'text', harmlessName(message.head.file)));
      bubble.querySelector('.head').append(element('span', 'mark', message.wasSent ? 'sent, not confirmed' : 'not sent yet'));
      return row;
    });
    waiting.replaceChildren(...rows);
    this.#keepUp();
  }

  toEnd() {
    this.#follows = true;
    jump.hidden = true;
    this.#keepUp();
  }

  #rowFor(message, isOwn) {
    if (message.kind === 'locked') return this.#countLocked();
    this.#locked = null;
    if (message.kind === 'join') return this.#note(`${harmlessName(message.uid)} joined`);
    if (message.kind === 'bytes') return this.#note(`(${sizeInWords(message.size)} that this page cannot show)`);
    const before = message.kind === 'file' ? this.#files.get(message.key) : undefined;
    const row = before ?? this.#said(message, isOwn);
    if (message.kind === 'file') this.#fill(row, message);
    return row;
  }

  #note(text) {
    const row = noteRow(text);
    this.#last = null;
    this.#next.append(row);
    return row;
  }

  #countLocked() {
    const number = Number(this.#locked?.dataset.number ?? 0) + 1;
    this.#locked ??= this.#note('');
    this.#locked.dataset.number = number;
    const what = number === 1 ? 'A message' : `${number} messages`;
    this.#locked.textContent = `${what} that your secret does not open`;
    return number === 1 ? this.#locked : null;
  }

  #said(message, isOwn) {
    const { uid, time } = message;
    const day = time?.toDateString() ?? this.#day;
    if (day !== this.#day) {
      // The first day is said only when it is not today.
      if (this.#day || day !== new Date().toDateString()) this.#next.append(dayRow(time));
      this.#day = day;
      this.#last = null;
    }
    const row = saidRow(message, { isOwn });
    const last = this.#last;
    const isMore = last !== null && uid !== undefined && uid === last.uid && isOwn === last.isOwn && !message.isClear;
    if (isMore && time && last.time && Math.abs(time - last.time) < TOGETHER_MS) row.classList.add('more-of-it');
    this.#last = { uid, time, isOwn };
    this.#next.append(row);
    return row;
  }

  #fill(row, message) {
    const { shown, url } = fileIn(message, this.#open);
    row.querySelector('.file, .picture')?.remove();
    row.querySelector('.bubble').append(shown);
    if (url !== null) this.#urls.set(row, url);
    if (message.blobParts !== null) this.#files.delete(message.key);
    else this.#files.set(message.key, row);
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#look();
    messages.append(this.#next);
    while (messages.childElementCount > MAX_ROWS) this.#remove(messages.firstElementChild);
    if (this.#hasNews && !this.#follows) jump.hidden = false;
    this.#hasNews = false;
    this.#keepUp();
  }

  #remove(row) {
    const url = this.#urls.get(row);
    if (url !== undefined) URL.revokeObjectURL(url);
    row.remove();
  }

  // Asked before rows come and when somebody scrolls: not while there are rows that it was not scrolled to yet, and not
  // when the window has changed, which moves what is in it.
  #look() {
    if (this.#frame === 0 && log.clientWidth === this.#width) this.#follows = isAtEnd();
    if (this.#follows) jump.hidden = true;
  }

  // Once a frame: measuring takes a while.
  #keepUp() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#width = log.clientWidth;
      if (this.#follows) log.scrollTop = log.scrollHeight;
    });
  }
}

function isAtEnd() {
  return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_THE_END;
}
