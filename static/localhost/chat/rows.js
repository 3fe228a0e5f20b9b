// One message as a row of the log.

import { button, element } from './elements.js';
import { pictureType, sizeInWords } from './files.js';
import { harmless, harmlessName, pieces } from './text.js';

// Made once: it takes longer than all the rest of a row.
const TIME = new Intl.DateTimeFormat([], { timeStyle: 'short' });
const DATE_AND_TIME = new Intl.DateTimeFormat([], { dateStyle: 'medium', timeStyle: 'short' });

const HUES = 8; // that style.css has
const LONG_CHARACTERS = 1500;
const LONG_LINES = 18;

/** What was said or sent: a row with `author`, and more to come for files in parts. */
export function saidRow(message, { isOwn }) {
  const row = element('li', isOwn ? 'said own' : 'said');
  const name = message.uid === undefined ? '' : harmlessName(message.uid);
  const bubble = element('div', 'bubble');
  if (name) {
    const face = element('span', `face hue-${hueOf(name)}`, [...name][0].toUpperCase());
    face.setAttribute('aria-hidden', 'true');
    row.append(face);
  }
  const head = element('div', 'head');
  if (name) head.append(element('bdi', `name hue-${hueOf(name)}`, name));
  if (message.time) head.append(clock(message.time));
  if (message.isClear) {
    const mark = element('span', 'mark', 'not encrypted');
    mark.title = 'Whoever said this did not need to know the secret.';
    head.append(mark);
  }
  if (head.hasChildNodes()) bubble.append(head);
  bubble.append(...(message.kind === 'file' ? [] : textOf(message.text)));
  row.append(bubble);
  return row;
}

/** What happens, or cannot be shown: a line in the middle. */
export function noteRow(text) {
  return element('li', 'note', text);
}

/** The days of messages, between them. */
export function dayRow(time) {
  const text = time.toLocaleDateString([], { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
  return element('li', 'day', '', element('span', '', text));
}

/** A text with its links. */
function textOf(text) {
  if (text === '') return [element('p', 'text empty', '(an empty message)')];
  const shown = element('p', 'text');
  shown.dir = 'auto';
  for (const piece of pieces(harmless(text))) {
    if (piece.href === undefined) {
      shown.append(piece.text);
      continue;
    }
    const link = element('a', '', piece.text);
    link.href = piece.href;
    link.target = '_blank';
    link.rel = 'noopener noreferrer nofollow';
    shown.append(link);
  }
  if (text.length < LONG_CHARACTERS && text.split('\n').length < LONG_LINES) return [shown];
  shown.classList.add('long');
  const more = button('Show all', () => {
    shown.classList.remove('long');
    more.remove();
  }, 'more');
  return [shown, more];
}

/**
 * A file, as far as it has come.
 *
 * @param {object} message with `done`, `parts` and, when it is whole, `blobParts`
 * @param {function(string, string)} open shows a picture, by its URL and name
 * @returns {{shown: Element, url: ?string}} url: to be revoked when the row goes
 */
export function fileIn({ head, done, parts, blobParts }, open) {
  const name = harmlessName(head.file.trim()) || 'a file without a name';
  if (blobParts === null) {
    const bar = element('progress');
    bar.max = parts;
    bar.value = done;
    bar.setAttribute('aria-label', `${name}: ${done} of ${parts} parts have come`);
    return { shown: element('div', 'file', '', element('span', 'file-name', name), bar), url: null };
  }
  const type = pictureType(blobParts[0]);
  const blob = new Blob(blobParts, { type: type ?? 'application/octet-stream' });
  const url = URL.createObjectURL(blob);
  const asFile = () => download(url, name, blob.size);
  if (type === null) return { shown: asFile(), url };
  const picture = element('img');
  picture.alt = name;
  picture.decoding = 'async';
  const frame = button('', () => open(url, name), 'picture');
  frame.setAttribute('aria-label', `Open the picture ${name}`);
  frame.append(picture);
  picture.addEventListener('error', () => frame.replaceWith(asFile()));
  picture.src = url;
  return { shown: frame, url };
}

function download(url, name, size) {
  const link = element('a', 'file', '', element('span', 'file-name', name), ' ', element('span', 'file-size', sizeInWords(size)));
  link.href = url;
  link.download = name;
  link.title = 'Save the file';
  return link;
}

function clock(time) {
  const isToday = time.toDateString() === new Date().toDateString();
  const made = element('time', '', (isToday ? TIME : DATE_AND_TIME).format(time));
  made.dateTime = time.toISOString();
  return made;
}

function hueOf(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 65521;
  return sum % HUES;
}
