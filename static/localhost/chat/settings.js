// Who one is, where, with which secret, and how the page looks: asked for in a dialog, kept in this browser.

import { ADDRESS } from './connection.js';
import { Attention } from './attention.js';
import { byId, element } from './elements.js';
import { forGood, forThisWindow } from './kept.js';
import { fragmentOf, readFragment } from './link.js';
import { newGuest } from './session.js';
import { harmlessName } from './text.js';

const PRINTABLE_ASCII = /^[\x20-\x7e]+$/;
const FIRST_CHANNEL = 'example';
const MAX_PLACES = 8;

const dialog = byId('settings');
const fields = { uid: byId('uid'), channel: byId('channel'), secret: byId('secret'), auth: byId('auth') };
const theme = byId('theme');
const notify = byId('notify');

const whose = (uid, channel) => JSON.stringify([uid, channel]);

/** Who this window is, with which auth value on a channel. */
function identity(channel) {
  const uid = forThisWindow.get('uid') ?? forGood.get('uid') ?? newGuest();
  return { uid, auth: forGood.get('auth')?.[whose(uid, channel)] ?? '' };
}

/** Remember who this window is; others that open later begin with the first name of all, or the one that was chosen. */
export function rememberUid(uid) {
  forThisWindow.set('uid', uid);
  if (forGood.get('uid') === null) forGood.set('uid', uid);
}

/** What the address of the page leads to, with what is remembered for it: {uid, channel, secret, auth}. */
export function wanted() {
  const { channel, secret } = readFragment(location.hash);
  return { channel, secret, ...identity(channel) };
}

/** Give the page an address when it has none: where one was before, or a channel to begin with. */
export function ensureAddress() {
  if (readFragment(location.hash).channel) return;
  history.replaceState(null, '', places()[0] ?? fragmentOf({ channel: FIRST_CHANNEL }));
}

/** What is wrong with who and where; null: nothing. */
export function fault({ uid, channel }) {
  for (const [field, value, what] of [['uid', uid, 'Your name'], ['channel', channel, 'The channel']]) {
    if (!PRINTABLE_ASCII.test(value)) {
      return { field, text: `${what} ${value ? 'may only have plain letters, digits and signs (ASCII)' : 'must not be empty'}.` };
    }
  }
  return null;
}

const places = () => (forGood.get('places') ?? []).filter((place) => typeof place === 'string' && place.startsWith('#'));

/** Remember a room as the one that was used last. */
export function rememberPlace(room) {
  const place = fragmentOf(room);
  forGood.set('places', [place, ...places().filter((other) => other !== place)].slice(0, MAX_PLACES));
}

/** Open the dialog, at a field, with a sentence about it. */
export function openSettings(me, field = null, text = '') {
  for (const [name, input] of Object.entries(fields)) input.value = me[name];
  theme.value = forGood.get('theme') ?? '';
  showNotify();
  showPlaces(me);
  byId('command').textContent = `websocat --protocol mles-websocket ${ADDRESS}`;
  byId('first-line').textContent = JSON.stringify({ uid: `${me.uid}-terminal`, channel: me.channel });
  byId('access').open = field === 'auth' || me.auth !== '';
  complain(text, field);
  if (!dialog.open) dialog.showModal();
  fields[field ?? 'uid'].focus();
}

function complain(text, field) {
  byId('fault').textContent = text;
  for (const [name, input] of Object.entries(fields)) input.setAttribute('aria-invalid', String(name === field));
}

function showPlaces({ channel, secret }) {
  const here = fragmentOf({ channel, secret });
  const others = places().filter((place) => place !== here);
  byId('places').replaceChildren(...others.map((place) => {
    const room = readFragment(place);
    const link = element('a', '', `${harmlessName(room.channel)}${room.secret ? ' (encrypted)' : ''}`);
    link.href = place;
    return element('li', '', '', link);
  }));
  byId('recent').hidden = others.length === 0;
}

function showNotify() {
  const choice = Attention.choice;
  notify.checked = choice === 'on';
  notify.disabled = choice === 'denied' || choice === 'never';
  const hints = {
    denied: 'This browser was told not to show any for this page.',
    never: 'This browser shows none for this page: it needs a trusted certificate.',
  };
  byId('notify-hint').textContent = hints[choice] ?? 'Of messages that come while you look elsewhere.';
}

/**
 * Begin to listen to the dialog.
 *
 * @param {function()} enter goes where the page's address leads
 */
export function listen(enter) {
  byId('settings-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const values = Object.fromEntries(Object.entries(fields).map(([name, { value }]) => [name, name === 'secret' ? value : value.trim()]));
    const wrong = fault(values);
    if (wrong !== null) {
      complain(wrong.text, wrong.field);
      fields[wrong.field].focus();
      return;
    }
    forGood.set('uid', values.uid);
    rememberUid(values.uid);
    const { [whose(values.uid, values.channel)]: _, ...others } = forGood.get('auth') ?? {};
    forGood.set('auth', values.auth ? { ...others, [whose(values.uid, values.channel)]: values.auth } : others);
    dialog.close();
    const fragment = fragmentOf(values);
    if (fragment === fragmentOf(readFragment(location.hash))) enter();
    else location.hash = fragment; // which is told
  });
  addEventListener('hashchange', () => {
    dialog.close();
    enter();
  });
  byId('forget').addEventListener('click', () => {
    forGood.set('places', places().slice(0, 1));
    byId('recent').hidden = true;
    fields.uid.focus();
  });
  byId('reveal').addEventListener('change', ({ target }) => { fields.secret.type = target.checked ? 'text' : 'password'; });
  theme.addEventListener('change', () => {
    forGood.set('theme', theme.value || null);
    wearTheme();
  });
  notify.addEventListener('change', async () => {
    await Attention.choose(notify.checked);
    showNotify();
  });
}

/** Dark, light, or as the system has it. */
export function wearTheme() {
  const chosen = forGood.get('theme');
  if (chosen === 'dark' || chosen === 'light') document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
}
