// Texts of others, made harmless before they are shown. They get on the page as text nodes, never as markup.

// Control characters, line and paragraph separators, and the ones that turn the direction of all that follows. Marks
// that turn nothing but themselves, joiners and the like stay: scripts and emoji need them.
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb]/gu;
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
const MAX_NAME = 80;

const URLS = /\bhttps?:\/\/[^\s<>"'`]+/giu;
const AFTER_A_URL = new Set('.,;:!?*_~’”»');
const BRACKETS = { ')': '(', ']': '[', '}': '{' };
const MAX_URL = 2048; // longer ones, and what comes behind so many in one text, are no links
const MAX_URLS = 200;

/** A text to be read: lines stay lines. */
export function harmless(text) {
  return text.replace(/\r\n?/g, '\n').replace(CONTROLS, '\ufffd');
}

/** A name of somebody or something: one short line in which nothing is hidden. */
export function harmlessName(name) {
  const characters = [...name.replace(INVISIBLE, '\ufffd')];
  return characters.length > MAX_NAME ? `${characters.slice(0, MAX_NAME - 1).join('')}…` : characters.join('');
}

/** The pieces of a text, in order: `{text}`, and `{text, href}` for what leads to a web page. */
export function pieces(text) {
  const found = [];
  let end = 0;
  let looks = 0; // also at what turns out to be none
  for (const match of text.matchAll(URLS)) {
    looks += 1;
    if (looks > MAX_URLS) break;
    if (match[0].length > MAX_URL) continue;
    const address = withoutTail(match[0]);
    const href = webAddress(address);
    if (href === null) continue;
    if (match.index > end) found.push({ text: text.slice(end, match.index) });
    found.push({ text: address, href });
    end = match.index + address.length;
  }
  if (end < text.length) found.push({ text: text.slice(end) });
  return found;
}

// What ends a sentence, and brackets that were opened before the address, are no part of it.
function withoutTail(address) {
  const count = (character) => address.split(character).length;
  const unopened = {}; // closing bracket → how many of them were not opened in the address
  for (const [closing, opening] of Object.entries(BRACKETS)) unopened[closing] = count(closing) - count(opening);
  let end = address.length;
  for (; end > 0; end -= 1) {
    const last = address[end - 1];
    if (AFTER_A_URL.has(last)) continue;
    if (!(unopened[last] > 0)) break;
    unopened[last] -= 1;
  }
  return address.slice(0, end);
}

function webAddress(text) {
  try {
    const url = new URL(text);
    return (url.protocol === 'https:' || url.protocol === 'http:') && !url.username && !url.password ? url.href : null;
  } catch {
    return null;
  }
}
