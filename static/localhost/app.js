// A chat page over Mles v2: one window, one channel. This module puts the others together, and tells how it goes.
//
//   settings, link, kept    who, where; remembered
//   session                 what comes in is shown once, what is said goes out; it knows nothing of the screen
//     connection, words     the WebSocket, and why it ended
//     memory, digests       what was there already
//     outbox                what is not surely sent
//     wire, sealing, files  what frames mean
//   log, rows, text         the messages on the screen
//   composer, invite, attention

import { Attention } from './chat/attention.js';
import { compose } from './chat/composer.js';
import { loadDigest } from './chat/digests.js';
import { byId } from './chat/elements.js';
import { invite } from './chat/invite.js';
import { Log } from './chat/log.js';
import { Outbox } from './chat/outbox.js';
import { Session } from './chat/session.js';
import { ensureAddress, fault, listen, openSettings, rememberPlace, rememberUid, wanted, wearTheme } from './chat/settings.js';
import { harmlessName } from './chat/text.js';
import { scriptAddress } from './chat/trusted.js';

const HINTS_AT = { stopped: 'Not connected', waiting: 'Not connected', preparing: 'Preparing the key …' };

const viewer = byId('viewer');
const attention = new Attention();
const log = new Log((url, name) => {
  byId('viewed').src = url;
  byId('viewed').alt = name;
  byId('save').href = url;
  byId('save').download = name;
  viewer.showModal();
});
let remedyField = null; // of the settings, where the remedy for what has ended the connection is

wearTheme();
const [outbox, digest] = await Promise.all([Outbox.open(), loadDigest()]);
const session = new Session(
  {
    state: tell,
    clear: () => {
      log.speak(false); // nobody wants a whole history read out
      log.clear();
    },
    show: (message, how) => {
      log.show(message, how);
      if (how.isNews && (message.blobParts !== null)) attention.news(message);
    },
    settle: (wasKnown) => log.settle(wasKnown),
    waiting: (messages) => log.showWaiting(messages),
    renamed: (uid) => rememberUid(uid),
  },
  outbox,
  digest,
);

function tell(state, news) {
  const { uid, channel } = session.me;
  document.body.dataset.state = state;
  const going = { connecting: `Connecting to ${location.host} …`, joining: `Joining as ${uid} …`, joined: `Connected as ${uid}` };
  byId('status').textContent = going[state] ?? HINTS_AT[state];
  if (state === 'joined') {
    log.speak(true);
    rememberPlace(session.me);
  }
  if (news === null) {
    // What is said of the last link stays until there is another.
    if (state !== 'connecting') byId('banner').hidden = true;
    return;
  }
  const next = state === 'waiting' ? `Trying again in ${Math.max(1, Math.round(news.delay / 1000))} s.` : '';
  byId('news').textContent = [news.text, news.remedy, next].filter(Boolean).join(' ');
  remedyField = news.field;
  byId('retry').hidden = remedyField !== null;
  byId('retry').textContent = state === 'waiting' ? 'Try now' : 'Join again';
  byId('remedy').hidden = remedyField === null;
  byId('banner').hidden = false;
  problem('');
}

function problem(text) {
  byId('problem').textContent = text;
}

function enter() {
  ensureAddress();
  const me = wanted();
  const wrong = fault(me);
  if (wrong !== null) {
    openSettings(me, wrong.field, wrong.text);
    return;
  }
  rememberUid(me.uid);
  const name = harmlessName(me.channel);
  byId('title').textContent = name;
  const privacy = byId('privacy');
  privacy.textContent = me.secret ? 'Encrypted' : 'Not encrypted';
  privacy.dataset.isOn = String(Boolean(me.secret));
  byId('empty-hint').textContent = me.secret
    ? 'Only those who have the secret can read along. Names are not checked: people may call themselves anything.'
    : 'Whoever knows the channel can read along. Names are not checked: people may call themselves anything.';
  attention.setPlace(name);
  problem('');
  session.enter(me);
}

listen(enter);
compose({
  say: (text) => {
    session.say(text);
    log.toEnd();
  },
  sendFile: (file) => {
    session.sendFile(file);
    log.toEnd();
  },
  problem,
});

for (const id of ['open-settings', 'privacy', 'remedy']) {
  byId(id).addEventListener('click', () => {
    const field = { privacy: 'secret', remedy: remedyField }[id];
    openSettings(session.me ?? wanted(), field, id === 'remedy' ? byId('news').textContent : '');
  });
}
for (const id of ['open-invite', 'empty-invite']) byId(id).addEventListener('click', () => invite(session.me));
for (const close of document.querySelectorAll('dialog .close')) {
  close.addEventListener('click', () => close.closest('dialog').close());
}
byId('retry').addEventListener('click', () => {
  if (document.body.dataset.state === 'waiting') session.retryNow();
  else session.again();
  byId('text').focus(); // the button is gone
});
addEventListener('online', () => session.retryNow());
document.addEventListener('visibilitychange', () => { if (!document.hidden) session.retryNow(); });
addEventListener('beforeunload', (event) => { if (outbox.waiting && !outbox.isKept) event.preventDefault(); });

byId('bare').hidden = digest !== null;
enter();

if (isSecureContext && navigator.serviceWorker) {
  // Without a trusted certificate there is none, and the page works all the same.
  navigator.serviceWorker.register(scriptAddress('service'), { updateViaCache: 'none' }).catch(() => {});
}
