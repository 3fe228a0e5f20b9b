// A chat page over Mles v2: one WebSocket, one channel.
//
// The first frame says who joins which channel. The server then sends what the channel remembers, one's own
// lines included, and from there on passes each frame to everybody else on the channel, never back to its
// sender. It adds nothing: no sender, no time, no word that the replay is over. So a line here is the text
// frame {"text", "uid", "time"}, and the replay counts as over when no frame has come for a moment.

const SUBPROTOCOL = 'mles-websocket';
const ADDRESS = `${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}/`;
const MAX_BYTES = 1024 * 1024; // of one message; the server ends connections that send more

const QUIET_MS = 500; // without a frame, and as long again as the connection took to open: the replay is over
const PATIENCE_MS = 5000; // the longest wait for that: a channel may never be quiet, and see `isBroken`
const UNSURE_MS = 120_000; // a line that went out so shortly before the link broke may have been lost
const STEADY_MS = 10_000; // a link that held this long was a good one: the next delay is the first again
const FIRST_DELAY_MS = 1000;
const LAST_DELAY_MS = 30_000;
const MAX_ROWS = 1000; // on the screen

const TRY_AGAIN = new Set([1001, 1006, 1011, 1012, 1013]);
const UID_TAKEN = 4512;
const ABOUT_AUTH = new Set([4504, 4510, 4511]);

const PRINTABLE_ASCII = /^[\x20-\x7e]+$/;
const GUEST = /^guest-\d{4}$/;
const STORED_UID = 'mles-tx-uid';

const sentence = (reason) => `${reason[0].toUpperCase()}${reason.slice(1)}.`;
const newGuest = () => `guest-${1000 + Math.floor(Math.random() * 9000)}`;
const byId = (id) => document.getElementById(id);
const fields = { uid: byId('uid'), channel: byId('channel'), auth: byId('auth') };
const [log, messages, waiting] = ['log', 'messages', 'waiting'].map(byId);

let me = null; // {uid, channel, auth}: what we join with, or want to
let socket = null;
let state = 'stopped'; // connecting → joining → joined, and from each of them to waiting or stopped
let failures = 0; // attempts in a row that led nowhere
let calledAt = 0; // when the connection was begun
let joinedAt = 0; // when the first frame was sent; 0: not yet
let [retryTimer, quietTimer] = [0, 0];
let isBroken = false; // the last link may live on at the server, which gives its holder 3 s before it lets us in
let isStale = false; // what is on the screen is from an earlier link; the replay brings it again
let follows = true; // the log is scrolled to its end, and stays there

let queue = []; // {channel, frame}: lines that are still to be sent, in order
let sent = []; // {channel, frame, at}: lines that may be lost should the link break now
const seen = new Set(); // frames of ours and others that are on the screen

// -- the connection

function connect() {
  hangUp();
  tell('connecting', `Connecting to ${location.host} …`);
  calledAt = Date.now();
  try {
    socket = new WebSocket(ADDRESS, SUBPROTOCOL);
  } catch {
    tell('stopped', 'This browser does not let the page connect to its own server.');
    return;
  }
  socket.binaryType = 'arraybuffer';
  socket.onopen = join;
  socket.onmessage = ({ data }) => receive(data);
  socket.onclose = lost;
}

function hangUp() {
  clearTimeout(retryTimer);
  clearTimeout(quietTimer);
  const old = socket;
  socket = null;
  sent = [];
  joinedAt = 0;
  if (old === null) return;
  old.onmessage = old.onclose = null;
  if (old.readyState === WebSocket.CONNECTING) old.onopen = () => old.close();
  else old.close(1000);
}

function join() {
  const first = { uid: me.uid, channel: me.channel };
  if (me.auth) first.auth = me.auth;
  socket.send(JSON.stringify(first));
  tell('joining', `Joining ${me.channel} …`);
  isStale = true;
  joinedAt = Date.now();
  awaitQuiet(isBroken ? PATIENCE_MS : QUIET_MS);
}

function awaitQuiet(quiet) {
  clearTimeout(quietTimer);
  const patience = joinedAt + PATIENCE_MS - Date.now();
  quietTimer = setTimeout(joined, Math.max(0, Math.min(quiet + joinedAt - calledAt, patience)));
}

function joined() {
  isBroken = false;
  refresh();
  tell('joined', `On ${me.channel} as ${me.uid}`);
  log.setAttribute('aria-live', 'polite');
  const mine = queue.filter((line) => line.channel === me.channel);
  queue = queue.filter((line) => line.channel !== me.channel);
  for (const { frame } of mine) {
    if (!seen.has(frame)) transmit(frame); // the replay has shown the others: they had arrived
  }
  showWaiting();
}

function receive(data) {
  refresh();
  show(data);
  if (state === 'joining') awaitQuiet(QUIET_MS);
}

function transmit(frame) {
  const now = Date.now();
  socket.send(frame);
  sent = sent.filter((line) => now - line.at < UNSURE_MS);
  sent.push({ channel: me.channel, frame, at: now });
  show(frame);
}

function lost({ code, reason }) {
  const now = Date.now();
  const unsure = sent.filter((line) => now - line.at < UNSURE_MS);
  const wasJoined = joinedAt > 0;
  if (wasJoined && now - joinedAt > STEADY_MS) failures = 0;
  isBroken ||= code === 1006 && wasJoined;
  hangUp();
  queue = [...unsure, ...queue];
  if (code === UID_TAKEN && !me.auth && GUEST.test(me.uid) && failures < 5) {
    // Two windows of one browser share what is stored, so the second one begins with a name that is taken.
    failures += 1;
    me.uid = fields.uid.value = newGuest();
    stored('sessionStorage', me.uid);
    connect();
  } else if (TRY_AGAIN.has(code) || (code >= 4000 && code <= 4499)) {
    const delay = Math.min(LAST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures) * (0.5 + Math.random());
    failures += 1;
    const what = reason ? sentence(reason) : wasJoined ? 'The connection was lost.' : 'The server cannot be reached.';
    tell('waiting', `${what} Trying again in ${Math.max(1, Math.round(delay / 1000))} s.`);
    retryTimer = setTimeout(connect, delay);
  } else {
    const what = reason ? sentence(reason) : 'The server ended the connection and gave no reason.';
    let remedy = 'Press Join to try again.';
    if (code === UID_TAKEN) remedy = 'Choose another name and press Join.';
    if (ABOUT_AUTH.has(code)) {
      remedy = 'Give the right auth value and press Join.';
      byId('access').open = true;
    }
    tell('stopped', `${what} ${remedy}`);
  }
}

function tell(newState, text) {
  state = newState;
  document.body.dataset.state = newState;
  byId('status').textContent = text;
  byId('retry').hidden = newState !== 'waiting';
}

// -- what is on the screen; text gets there through textContent alone

function element(tag, className, text = '') {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function show(data) {
  if (typeof data !== 'string') {
    add(element('li', 'note', `(${data.byteLength} ${data.byteLength === 1 ? 'byte' : 'bytes'} of binary data)`));
    return;
  }
  const { uid, channel, text, time } = fieldsOf(data);
  if (typeof uid === 'string' && typeof text === 'string') {
    if (time && seen.has(data)) return; // sent twice over a bad link
    seen.add(data);
    if (seen.size > MAX_ROWS) seen.delete(seen.values().next().value);
    add(said(text, uid, time));
  } else if (typeof uid === 'string' && typeof channel === 'string') {
    if (uid !== me.uid) add(element('li', 'note', `${uid} joined`));
  } else {
    add(data ? said(data) : element('li', 'note', '(an empty message)'));
  }
}

function fieldsOf(data) {
  try {
    return JSON.parse(data) ?? {};
  } catch {
    return {}; // somebody's plain text
  }
}

function said(text, uid, time) {
  const row = element('li', uid === me.uid ? 'said own' : 'said');
  if (uid !== undefined) {
    const head = element('div', 'head');
    head.append(element('bdi', 'name', uid), clock(time));
    row.append(head);
  }
  const body = element('p', 'text', text);
  body.dir = 'auto';
  row.append(body);
  return row;
}

function clock(time) {
  const date = new Date(typeof time === 'string' ? time : NaN);
  if (Number.isNaN(date.getTime())) return '';
  const isToday = date.toDateString() === new Date().toDateString();
  const style = isToday ? { timeStyle: 'short' } : { dateStyle: 'medium', timeStyle: 'short' };
  const made = element('time', '', date.toLocaleString([], style));
  made.dateTime = date.toISOString();
  return made;
}

function add(row) {
  follows = isAtEnd(); // asked here: a scroll event may come only after the next row
  messages.append(row);
  while (messages.childElementCount > MAX_ROWS) messages.firstElementChild.remove();
  scrollToEnd();
}

function clear() {
  log.setAttribute('aria-live', 'off'); // nobody wants a whole history read out
  messages.replaceChildren();
  seen.clear();
  follows = true;
}

function refresh() {
  if (!isStale) return;
  isStale = false;
  clear();
  showWaiting();
}

function showWaiting() {
  waiting.replaceChildren();
  for (const { frame } of queue.filter((line) => line.channel === me.channel && !seen.has(line.frame))) {
    const { text, uid, time } = JSON.parse(frame);
    const row = said(text, uid, time);
    row.classList.add('unsent');
    row.firstElementChild.append(element('span', '', 'not sent yet'));
    waiting.append(row);
  }
  scrollToEnd();
}

function isAtEnd() {
  return log.scrollHeight - log.scrollTop - log.clientHeight < 40;
}

function scrollToEnd() {
  if (follows) log.scrollTop = log.scrollHeight;
}

// -- what the user does

function problem(text, field = null) {
  byId('problem').textContent = text;
  for (const input of [fields.uid, fields.channel]) input.setAttribute('aria-invalid', String(input === field));
  field?.focus();
}

function enter() {
  const wanted = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value.trim()]));
  const wrong = ['uid', 'channel'].find((name) => !PRINTABLE_ASCII.test(wanted[name]));
  if (wrong !== undefined) {
    const what = wrong === 'uid' ? 'Your name' : 'The channel';
    problem(`${what} ${wanted[wrong] ? 'may only have plain ASCII characters' : 'must not be empty'}.`, fields[wrong]);
    if (me === null) tell('stopped', 'Not connected.');
    return;
  }
  problem('');
  const isAsBefore = me !== null && Object.keys(wanted).every((name) => wanted[name] === me[name]);
  if (isAsBefore && (state === 'joining' || state === 'joined')) return;
  if (me?.channel !== wanted.channel) clear();
  me = wanted;
  stored('localStorage', me.uid);
  stored('sessionStorage', me.uid);
  document.title = `${me.channel} – mles_tx`;
  byId('first-line').textContent = JSON.stringify({ uid: `${me.uid}-terminal`, channel: me.channel });
  failures = 0;
  showWaiting();
  connect();
}

function say(text) {
  if (me === null) return false; // there are no name and channel yet, and a message says so
  const frame = JSON.stringify({ text, uid: me.uid, time: new Date().toISOString() });
  if (new TextEncoder().encode(frame).length > MAX_BYTES) {
    problem('This message is too long: one message may have 1 MiB.');
    return false;
  }
  problem('');
  follows = true;
  scrollToEnd();
  if (state === 'joined') transmit(frame);
  else queue.push({ channel: me.channel, frame });
  showWaiting();
  return true;
}

function channelOfAddress() {
  const text = location.hash.slice(1);
  try {
    return decodeURIComponent(text).trim();
  } catch {
    return text; // a % that stands for itself
  }
}

function stored(place, uid = null) {
  try {
    if (uid !== null) window[place].setItem(STORED_UID, uid);
    return window[place].getItem(STORED_UID);
  } catch {
    return null; // the browser keeps nothing for this page
  }
}

byId('settings').addEventListener('submit', (event) => {
  event.preventDefault();
  const channel = fields.channel.value.trim();
  if (PRINTABLE_ASCII.test(channel) && channel !== channelOfAddress()) location.hash = encodeURIComponent(channel);
  else enter();
});

addEventListener('hashchange', () => {
  fields.channel.value = channelOfAddress() || 'example';
  enter();
});

byId('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = byId('text');
  if (text.value.trim() && say(text.value)) text.value = '';
  text.focus();
});

byId('text').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId('composer').requestSubmit();
  }
});

log.addEventListener('scroll', () => { follows = isAtEnd(); });
new ResizeObserver(scrollToEnd).observe(log);

const tryNow = () => { if (state === 'waiting') connect(); };
byId('retry').addEventListener('click', () => { tryNow(); log.focus(); }); // the button is gone
addEventListener('online', tryNow);
document.addEventListener('visibilitychange', () => { if (!document.hidden) tryNow(); });
addEventListener('beforeunload', (event) => { if (queue.length) event.preventDefault(); });

byId('command').textContent = `websocat --protocol ${SUBPROTOCOL} ${ADDRESS}`;
if (!channelOfAddress()) history.replaceState(null, '', '#example');
fields.uid.value = stored('sessionStorage') || stored('localStorage') || newGuest();
fields.channel.value = channelOfAddress();
enter();
