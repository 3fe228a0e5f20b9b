// The frames of a chat: made, and read. docs/clients.md describes them.
//
//   in the clear     text frame {"text", "uid", "time"}; binary frame: the head of a file as a line of JSON, its bytes
//   with a secret    binary frame that opens to `TIME UID: TEXT` in UTF-8, or to the same as a file in the clear
//
// Text frames of others may hold anything: a first frame that the server replays, or somebody's plain text.

export const MAX_FRAME_BYTES = 1024 * 1024; // the server ends connections that send more
const MAX_HEAD_BYTES = 4096; // of a file, with its line feed

const SAID = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) (.*?): ([^]*)$/u;

const encoder = new TextEncoder();
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export const utf8 = (text) => encoder.encode(text);

/** The first frame; `since` may be null. */
export function firstFrame({ uid, channel, auth }, since) {
  return JSON.stringify({ uid, channel, ...(auth && { auth }), ...(since && { since }) });
}

/** Something said, in the clear. */
export function lineFrame(uid, text, time) {
  return JSON.stringify({ text, uid, time: time.toISOString() });
}

/** Something said, as bytes to be sealed. Its time has whole seconds. */
export function lineBytes(uid, text, time) {
  return utf8(`${time.toISOString().slice(0, 19)}Z ${uid}: ${text}`);
}

/** A file or a part of it: a head with `file`, `uid`, `time` and more, then bytes. */
export function fileBytes(head, bytes) {
  const line = utf8(`${JSON.stringify(head)}\n`);
  const made = new Uint8Array(line.length + bytes.length);
  made.set(line);
  made.set(bytes, line.length);
  return made;
}

/**
 * What a frame says.
 *
 * @param {string|Uint8Array} frame
 * @param {?{open: function(Uint8Array): ?Uint8Array}} sealer that of the room; null: it has no secret
 * @returns {object} with `kind`:
 *   line {uid, text, time}; join {uid}; text {text}; file {uid, time, head, bytes}; bytes {size}; locked {}.
 *   `isClear`: nobody had to know the secret of the room to say it. `opened`: the bytes that were sealed.
 */
export function read(frame, sealer) {
  if (typeof frame === 'string') return { ...readText(frame), isClear: sealer !== null };
  if (sealer === null) return readFile(frame) ?? { kind: 'bytes', size: frame.length };
  const opened = sealer.open(frame);
  if (opened !== null) return { ...(readFile(opened) ?? readSealed(opened)), opened };
  const clear = readFile(frame);
  return clear === null ? { kind: 'locked' } : { ...clear, isClear: true };
}

function objectIn(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

function readText(frame) {
  const { uid, channel, text, time } = objectIn(frame);
  if (typeof uid === 'string' && typeof text === 'string') return { kind: 'line', uid, text, time: timeOf(time) };
  if (typeof uid === 'string' && typeof channel === 'string') return { kind: 'join', uid };
  return { kind: 'text', text: frame };
}

function readSealed(opened) {
  let text;
  try {
    text = strict.decode(opened);
  } catch {
    return { kind: 'bytes', size: opened.length };
  }
  const said = SAID.exec(text);
  if (said !== null) return { kind: 'line', time: timeOf(said[1]), uid: said[2], text: said[3] };
  const { uid } = objectIn(text);
  return typeof uid === 'string' ? { kind: 'join', uid } : { kind: 'text', text };
}

function readFile(bytes) {
  if (bytes[0] !== 0x7b) return null; // {
  const end = bytes.subarray(0, MAX_HEAD_BYTES).indexOf(0x0a);
  if (end < 0) return null;
  let head;
  try {
    head = objectIn(strict.decode(bytes.subarray(0, end)));
  } catch {
    return null;
  }
  if (typeof head.file !== 'string' || typeof head.uid !== 'string') return null;
  return { kind: 'file', uid: head.uid, time: timeOf(head.time), head, bytes: bytes.subarray(end + 1) };
}

function timeOf(value) {
  const time = new Date(typeof value === 'string' ? value : NaN);
  return Number.isNaN(time.getTime()) ? null : time;
}
