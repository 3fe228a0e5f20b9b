// The invitation: the link to this channel, to copy, to share, and as a QR code.

import { byId } from './elements.js';
import { linkTo } from './link.js';

const SVG = 'http://www.w3.org/2000/svg';
const BORDER = 2; // modules of white around the code; the page gives it more

const dialog = byId('invite');
const field = byId('link');
const isWhole = byId('with-secret');

let room = { channel: '', secret: '' };

/** Show it for a room. */
export function invite(to) {
  room = to;
  isWhole.checked = true;
  byId('secret-choice').hidden = !room.secret;
  show();
  dialog.showModal();
}

async function show() {
  const hasSecret = Boolean(room.secret) && isWhole.checked;
  const link = linkTo(hasSecret ? room : { channel: room.channel });
  field.value = link;
  byId('copied').textContent = '';
  byId('invite-hint').textContent = hasSecret
    ? 'Whoever has this link reads and writes here. The secret in it stays in browsers: no server sees it.'
    : room.secret
      ? 'Whoever has this link gets to the channel, and needs the secret as well: tell them by another way.'
      : 'Whoever has this link gets to the channel. What is said here is not encrypted from end to end.';
  const place = byId('code');
  try {
    const { default: encodeQR } = await import('../vendor/qr/index.js');
    if (field.value === link) place.replaceChildren(drawing(encodeQR(link, 'raw', { ecc: 'medium', border: BORDER })));
  } catch {
    place.replaceChildren('There is no QR code: this server’s page was installed without, or the link is too long for one.');
  }
}

function drawing(modules) {
  const made = document.createElementNS(SVG, 'svg');
  made.setAttribute('viewBox', `0 0 ${modules.length} ${modules.length}`);
  made.setAttribute('role', 'img');
  made.setAttribute('aria-label', 'QR code of the link');
  made.setAttribute('shape-rendering', 'crispEdges');
  const dark = document.createElementNS(SVG, 'path');
  const squares = modules.flatMap((row, y) => row.map((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : '')));
  dark.setAttribute('d', squares.join(''));
  made.append(dark);
  return made;
}

isWhole.addEventListener('change', show);

byId('copy').addEventListener('click', async () => {
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    byId('copied').textContent = 'Copied.';
  } catch {
    byId('copied').textContent = 'The link is marked: copy it with Ctrl-C.';
  }
});

const share = byId('share');
share.hidden = !navigator.share;
share.addEventListener('click', () => {
  navigator.share({ title: `${room.channel} – mles_tx`, url: field.value }).catch(() => {}); // or not
});
