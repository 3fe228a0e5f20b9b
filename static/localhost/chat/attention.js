// What tells that somebody has said something while nobody looks: a number in the title and on the icon, notifications.

import { forGood } from './kept.js';
import { harmless, harmlessName } from './text.js';

const MAX_CHARACTERS = 200;
const CHOICE = 'notify';

const isLookedAt = () => !document.hidden && document.hasFocus();

export class Attention {
  #unread = 0;
  #place = '';

  constructor() {
    const look = () => { if (isLookedAt()) this.#count(0); };
    addEventListener('focus', look);
    document.addEventListener('visibilitychange', look);
  }

  /** Whether notifications are to be had: 'on', 'off', 'denied' or 'never'. */
  static get choice() {
    if (!globalThis.Notification || !isSecureContext) return 'never';
    if (Notification.permission === 'denied') return 'denied';
    return forGood.get(CHOICE) === true && Notification.permission === 'granted' ? 'on' : 'off';
  }

  /** Switch them on, which asks the user, or off. */
  static async choose(isOn) {
    if (isOn) await Notification.requestPermission();
    forGood.set(CHOICE, isOn || null);
  }

  /** The name of the channel, for the title. */
  setPlace(place) {
    this.#place = place;
    this.#count(0);
  }

  /** Somebody has said something. */
  news(message) {
    if (isLookedAt()) return;
    this.#count(this.#unread + 1);
    if (Attention.choice === 'on') notify(this.#place, message);
  }

  #count(unread) {
    this.#unread = unread;
    const title = this.#place ? `${this.#place} – mles_tx` : 'mles_tx';
    document.title = unread ? `(${unread}) ${title}` : title;
    const badge = unread ? navigator.setAppBadge?.(unread) : navigator.clearAppBadge?.();
    badge?.catch(() => {}); // only where the page is installed
  }
}

async function notify(place, message) {
  const who = message.uid === undefined ? 'Somebody' : harmlessName(message.uid);
  const what = message.kind === 'file' ? harmlessName(message.head.file) : harmless(message.text ?? '');
  const options = { body: what.slice(0, MAX_CHARACTERS), icon: 'icon-192.png', tag: place };
  // On phones only service workers may.
  const worker = await navigator.serviceWorker?.getRegistration().catch(() => undefined);
  if (worker?.active) await worker.showNotification(`${who} on ${place}`, options);
  else new Notification(`${who} on ${place}`, options).onclick = () => window.focus();
}
