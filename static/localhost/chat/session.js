// Being on a channel: what comes in is read and shown once, what is said goes out, now or when there is a connection.

import { Connection } from './connection.js';
import { Assembly, partsOf } from './files.js';
import { fragmentOf } from './link.js';
import { Memory } from './memory.js';
import { SEALED_BYTES, SealingError, makeSealer } from './sealing.js';
import { MAX_FRAME_BYTES, fileBytes, firstFrame, lineBytes, lineFrame, read, utf8 } from './wire.js';
import { UID_TAKEN } from './words.js';

const GUEST = /^guest-\d{4}$/;
const MAX_GUESTS = 5; // names that are tried

export const newGuest = () => `guest-${1000 + Math.floor(Math.random() * 9000)}`;

/** It cannot be said; the text says why, for people. */
export class SayingError extends Error {}

export class Session {
  #view;
  #outbox;
  #memory;
  #connection;
  #assembly = new Assembly();
  #me = null; // {uid, channel, secret, auth}
  #room = '';
  #sealer = null;
  #sealing = null; // while the key is derived: a promise of the sealer
  #place = 0; // in the memory's row: behind it a replay is to begin
  #isFirstReplay = true; // what it brings was said before this window had a look
  #isFresh = true; // the replay of this link stands for all that is on the screen
  #guests = 0;
  #lastSaid = new Set(); // sealed lines of this second

  /**
   * @param {object} view what it calls:
   *   `state(state, news)`, as of a connection, and with 'preparing' while a key is derived
   *   `clear()`: nothing of before counts any more
   *   `show(message, {isOwn, isReplay, isNews, isUnsure})`: a message that was not there before; isNews: it was said
   *     since this window had a look; isUnsure: see `settle`
   *   `settle(wasKnown)`: all that was unsure so far was there before, or is new
   *   `waiting(messages)`: what is not sent yet, or with `wasSent` may be lost
   *   `renamed(uid)`: a guest has another name
   * @param {Outbox} outbox
   * @param {?function} digest
   */
  constructor(view, outbox, digest) {
    this.#view = view;
    this.#outbox = outbox;
    this.#memory = new Memory(digest);
    this.#connection = new Connection({
      state: (state, news) => this.#changed(state, news),
      first: () => this.#first(),
      frame: (frame) => this.#received(frame),
    });
  }

  get me() {
    return this.#me;
  }

  /** Join a channel, or the same with another name. */
  async enter(me) {
    const room = fragmentOf(me);
    const isSame = room === this.#room;
    this.#me = { ...me };
    this.#connection.stop();
    this.#guests = 0;
    if (!isSame) {
      this.#room = room;
      this.#leave();
      this.#sealer = this.#sealing = null;
    }
    if (me.secret && this.#sealer === null) {
      this.#view.state('preparing', null);
      this.#sealing ??= makeSealer(me);
      let sealer;
      try {
        sealer = await this.#sealing;
      } catch (error) {
        if (!(error instanceof SealingError)) throw error;
        this.#sealing = null;
        if (this.#room === room) this.#cannotSeal(error);
        return;
      }
      if (this.#room !== room || this.#me.uid !== me.uid) return; // somebody has changed their mind meanwhile
      this.#sealer = sealer;
    }
    this.#showWaiting();
    this.#connection.start();
  }

  /** Connect at once, if that is what it waits for. */
  retryNow() {
    this.#connection.retryNow();
  }

  /** Connect again after it was stopped. */
  again() {
    this.enter(this.#me);
  }

  /**
   * Say something.
   *
   * @throws {SayingError}
   */
  say(text) {
    this.#assertReady();
    const { uid } = this.#me;
    const time = new Date();
    if (this.#sealer === null) {
      this.#put([lineFrame(uid, text, time)]);
      return;
    }
    // Clients take equal lines for one line: who says the same twice in a second says it in the next one.
    let bytes = lineBytes(uid, text, time);
    while (this.#lastSaid.has(String(bytes))) {
      time.setSeconds(time.getSeconds() + 1);
      bytes = lineBytes(uid, text, time);
    }
    this.#lastSaid.add(String(bytes));
    setTimeout(() => this.#lastSaid.delete(String(bytes)), time - Date.now() + 1000);
    this.#put([this.#sealer.seal(bytes)]);
  }

  /**
   * Send a file.
   *
   * @param {{name: string, type: string, bytes: Uint8Array}} file
   * @throws {SayingError}
   */
  sendFile(file) {
    this.#assertReady();
    const parts = partsOf(file, this.#me.uid, new Date()).map(({ head, bytes }) => fileBytes(head, bytes));
    this.#put(parts.map((bytes) => this.#sealer?.seal(bytes) ?? bytes));
  }

  #assertReady() {
    if (this.#me === null) throw new SayingError('There is no channel yet.');
    if (this.#me.secret && this.#sealer === null) {
      throw new SayingError('The key for this channel is still being prepared: try again in a moment.');
    }
  }

  #put(frames) {
    for (const frame of frames) {
      const size = typeof frame === 'string' ? utf8(frame).length : frame.length;
      if (size > MAX_FRAME_BYTES) throw new SayingError('This message is too long: one message may have 1 MiB.');
    }
    const entries = frames.map((frame) => {
      const { key } = this.#memory.identify(frame, read(frame, this.#sealer));
      return this.#outbox.add(this.#room, frame, key);
    });
    if (this.#connection.state === 'joined') entries.forEach((entry) => this.#transmit(entry));
    else this.#showWaiting();
  }

  #transmit(entry) {
    const message = read(entry.frame, this.#sealer);
    this.#connection.send(entry.frame);
    this.#outbox.sent(entry, this.#memory.place);
    if (this.#memory.noteOwn(entry.key)) {
      this.#show(message, { isOwn: true, isReplay: false, isNews: false, isUnsure: false });
    }
  }

  #first() {
    const since = this.#memory.since(this.#place);
    this.#isFresh = since === null && (this.#isFirstReplay || !this.#memory.canResume);
    this.#memory.replayBegins(this.#place);
    return firstFrame(this.#me, since);
  }

  #received(frame) {
    this.#outbox.heard();
    const isReplay = this.#connection.state === 'joining';
    if (isReplay && this.#isFresh) this.#refresh();
    const message = read(frame, this.#sealer);
    const isMine = message.uid === this.#me.uid;
    const identity = this.#memory.identify(frame, message);
    this.#outbox.arrived(this.#room, identity.key); // also what one said under another name
    const { isNew, wasKnown } = this.#memory.note(identity, message, isMine, isReplay);
    if (wasKnown) this.#view.settle(true);
    if (!isNew || (message.kind === 'join' && isMine)) return;
    // Nobody's own messages come back to them, but in a replay.
    const isOwn = isMine && isReplay;
    const isNews = !isOwn && message.kind !== 'join' && !(isReplay && this.#isFirstReplay);
    this.#show(message, { isOwn, isReplay, isNews, isUnsure: isReplay && identity.key === null });
  }

  #refresh() {
    this.#isFresh = false;
    this.#leave();
    this.#memory.replayBegins(this.#memory.place);
  }

  #leave() {
    this.#memory.clear();
    this.#assembly.clear();
    this.#place = this.#memory.place;
    this.#isFirstReplay = true;
    this.#view.clear();
  }

  #show(message, how) {
    if (message.kind !== 'file') {
      this.#view.show(message, how);
      return;
    }
    const file = this.#assembly.take(message);
    if (file === null) this.#view.show({ kind: 'bytes', size: message.bytes.length }, how);
    else this.#view.show({ ...message, ...file }, how);
  }

  #changed(state, news) {
    if (state === 'joined') this.#joined();
    if (state === 'waiting' || state === 'stopped') {
      this.#place = this.#outbox.unsure(this.#room, this.#memory.place);
      this.#showWaiting();
    }
    if (news?.code === UID_TAKEN && !this.#me.auth && GUEST.test(this.#me.uid) && this.#guests < MAX_GUESTS) {
      // Two windows of one browser share what is kept, so the second one begins with a name that is taken.
      this.#guests += 1;
      this.#me.uid = newGuest();
      this.#view.renamed(this.#me.uid);
      this.#connection.start();
      return;
    }
    this.#view.state(state, news);
  }

  #joined() {
    this.#memory.replayIsOver();
    this.#isFirstReplay = false;
    this.#isFresh = false;
    this.#view.settle(false);
    for (const entry of this.#outbox.due(this.#room)) this.#transmit(entry);
    this.#showWaiting();
  }

  #showWaiting() {
    const waiting = this.#outbox.of(this.#room).filter(({ sentAt }) => sentAt === 0);
    const isReadable = !this.#me?.secret || this.#sealer !== null;
    const unseen = isReadable ? waiting.filter(({ key }) => !this.#memory.has(key)) : [];
    const shown = ({ frame, firstSentAt }) => ({ ...read(frame, this.#sealer), wasSent: firstSentAt !== 0 });
    this.#view.waiting(unseen.map(shown));
  }

  #cannotSeal(error) {
    this.#view.state('stopped', {
      text: error.message,
      remedy: 'Without a secret you can talk in the clear, where others without one are.',
      isToRetry: false,
      field: 'secret',
    });
  }
}
