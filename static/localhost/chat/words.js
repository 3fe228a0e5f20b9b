// Why a connection ended, in plain words, from its close code and reason (docs/protocol.md has the table).
//
// Each has a sentence, and what may be done about it. Only those after which trying again helps are tried again; of
// codes nobody has written down, 4000 to 4499 mean that.

const UPDATE = 'Reload the page: it may be older than the server.';
const REPORT = 'That is a fault of the page or of something on the way. Try again, and tell whoever runs the server.';

const BY_CODE = {
  1000: ['You have left the channel.', 'Join again when you like.'],
  1001: ['The server is being stopped.'],
  1002: ['The server could not make sense of what this page sent.', REPORT],
  1003: ['The server could not make sense of how this page joined.', UPDATE],
  1006: ['The connection was lost.'],
  1007: ['The server could not read a text that this page sent.', REPORT],
  1009: ['Something that was sent was too large for the server.', 'Send less at a time, then join again.'],
  1011: ['The server had a fault of its own.'],
  1012: ['The server is being restarted.'],
  1013: ['The server has too much to do.'],
  4000: ['The server waited too long for this page to join.'],
  4001: ['The server had no sign of life from this page, as when a computer sleeps.'],
  4002: ['The server could not find out in time whether this name is in use.'],
  4500: ['The server could not make sense of how this page joined.', UPDATE],
  4501: ['The server could not make sense of how this page joined.', UPDATE],
  4502: ['The server does not take this name.', 'Choose one of plain letters, digits and signs.'],
  4503: ['The server does not take this channel.', 'Choose one of plain letters, digits and signs.'],
  4504: ['The auth value is not one.', 'It has 1 to 16 hex digits: 0 to 9 and a to f.'],
  4505: ['The server could not make sense of how this page joined.', UPDATE],
  4506: ['The server could not make sense of how this page joined.', UPDATE],
  4507: ['The server could not make sense of how this page joined.', UPDATE],
  4508: ['The server could not make sense of how this page joined.', UPDATE],
  4510: ['This server lets in only those who have an auth value.', 'Ask whoever runs it for yours.'],
  4511: ['The auth value does not fit.', 'It belongs to one name on one channel: ask for one for this name and channel.'],
  4512: ['Somebody uses this name here already, perhaps you in another window.', 'Choose another name.'],
  4513: ['You have joined again from elsewhere with the same name.', 'Join again to go on here.'],
};

// Where one code has several reasons.
const BY_REASON = {
  'first frame is larger than 16384 bytes': ['The name or the channel is too long for the server.', 'Choose a shorter one.'],
  'message has more than 16384 fragments': ['A message came to the server in too many pieces.', REPORT],
  'reading too slowly; join again to catch up': ['This connection is too slow for all that is said here. What you missed comes now.'],
  'server has as many channels as it can hold': ['The server has as many channels as it can hold.'],
  'message could not be stored; try again': ['The server could not store what you said. It will be sent again.'],
};

const TRY_AGAIN = new Set([1001, 1006, 1011, 1012, 1013]);

export const UID_TAKEN = 4512;
const ABOUT_UID = new Set([4502, UID_TAKEN]);
const ABOUT_AUTH = new Set([4504, 4510, 4511]);

const sentence = (reason) => `The server said: ${reason}.`;

/**
 * What to tell about the end of a connection.
 *
 * @param {number} code the close code
 * @param {string} reason what the server said, or ''
 * @param {boolean} wasOpen whether there was a connection at all
 * @returns {{text: string, remedy: string, isToRetry: boolean, field: ?string}} field: the one that is to be changed
 */
export function explain(code, reason, wasOpen) {
  const isToRetry = TRY_AGAIN.has(code) || (code >= 4000 && code <= 4499);
  const unknown = [reason ? sentence(reason) : 'The server ended the connection and gave no reason.'];
  let [text, remedy = ''] = BY_REASON[reason] ?? BY_CODE[code] ?? unknown;
  if (code === 1006 && !wasOpen) text = navigator.onLine === false ? 'You are offline.' : 'The server cannot be reached.';
  if (!remedy && !isToRetry) remedy = 'Join again when you like.';
  const field = ABOUT_UID.has(code) ? 'uid' : ABOUT_AUTH.has(code) ? 'auth' : code === 4503 ? 'channel' : null;
  return { text, remedy, isToRetry, field };
}
