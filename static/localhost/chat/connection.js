// One WebSocket to the server, again and again: connects, joins, tells when the replay is over, and when it is lost
// tries again where that helps.
//
//   stopped → connecting → joining → joined, and from each of them → waiting → connecting, or → stopped
//
// The server does not say that its replay is over. It counts as over when no frame has come for a moment.

import { explain } from './words.js';

const SUBPROTOCOL = 'mles-websocket';

const QUIET_MS = 500; // without a frame, and as long again as the connection took to open: the replay is over
const PATIENCE_MS = 5000; // the longest wait for that: a channel may never be quiet, and see `#isBroken`
const STEADY_MS = 10_000; // a link that held this long was a good one: the next delay is the first again
const FIRST_DELAY_MS = 1000;
const LAST_DELAY_MS = 30_000;

/** Where this page's server is. */
export const ADDRESS = `${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}/`;

export class Connection {
  #events;
  #socket = null;
  #state = 'stopped';
  #failures = 0; // attempts in a row that led nowhere
  #calledAt = 0; // when the connection was begun
  #joinedAt = 0; // when the first frame was sent; 0: not yet
  #retryTimer = 0;
  #quietTimer = 0;
  #isBroken = false; // the last link may live on at the server, which gives its holder 3 s before it lets us in

  /**
   * @param {object} events what it calls:
   *   `state(state, news)`: it has another one; news is what `explain` says, with `code` and, when it waits, `delay` in ms
   *   `first()`: the first frame, to be sent now
   *   `frame(frame)`: a text, or bytes
   */
  constructor(events) {
    this.#events = events;
  }

  get state() {
    return this.#state;
  }

  /** Connect anew, without delay. */
  start() {
    this.#failures = 0;
    this.#connect();
  }

  /** End what there is. */
  stop() {
    this.#hangUp();
    if (this.#state !== 'stopped') this.#change('stopped');
  }

  /** Do not wait any longer. */
  retryNow() {
    if (this.#state === 'waiting') this.#connect();
  }

  /** Send a frame; only while it is joined. */
  send(frame) {
    this.#socket.send(frame);
  }

  #change(state, news = null) {
    this.#state = state;
    this.#events.state(state, news);
  }

  #connect() {
    this.#hangUp();
    this.#change('connecting');
    this.#calledAt = Date.now();
    let socket;
    try {
      socket = new WebSocket(ADDRESS, SUBPROTOCOL);
    } catch {
      const text = 'This browser does not let the page connect to its own server.';
      this.#change('stopped', { text, remedy: 'A newer one does.', isToRetry: false, field: null });
      return;
    }
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => this.#join();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = (event) => this.#lost(event);
  }

  #hangUp() {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#quietTimer);
    const old = this.#socket;
    this.#socket = null;
    this.#joinedAt = 0;
    if (old === null) return;
    old.onmessage = old.onclose = null;
    if (old.readyState === WebSocket.CONNECTING) old.onopen = () => old.close();
    else old.close(1000);
  }

  #join() {
    this.#change('joining');
    this.#socket.send(this.#events.first());
    this.#joinedAt = Date.now();
    this.#awaitQuiet(this.#isBroken ? PATIENCE_MS : QUIET_MS);
  }

  #awaitQuiet(quiet) {
    clearTimeout(this.#quietTimer);
    const patience = this.#joinedAt + PATIENCE_MS - Date.now();
    const wait = Math.max(0, Math.min(quiet + this.#joinedAt - this.#calledAt, patience));
    this.#quietTimer = setTimeout(() => {
      this.#isBroken = false;
      this.#change('joined');
    }, wait);
  }

  #receive(data) {
    this.#events.frame(typeof data === 'string' ? data : new Uint8Array(data));
    if (this.#state === 'joining') this.#awaitQuiet(QUIET_MS);
  }

  #lost({ code, reason }) {
    const wasOpen = this.#joinedAt > 0;
    if (wasOpen && Date.now() - this.#joinedAt > STEADY_MS) this.#failures = 0;
    this.#isBroken ||= code === 1006 && wasOpen;
    this.#hangUp();
    const news = { ...explain(code, reason, wasOpen), code };
    if (!news.isToRetry) {
      this.#change('stopped', news);
      return;
    }
    // Half of the delay at least, and never all clients of a server at the same time.
    const delay = Math.min(LAST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures) * (0.5 + Math.random());
    this.#failures += 1;
    this.#retryTimer = setTimeout(() => this.#connect(), delay);
    this.#change('waiting', { ...news, delay });
  }
}
