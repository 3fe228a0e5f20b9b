// The service worker: the page opens without a network, and notifications lead back to it.
//
// The server is always asked first, so that a new version is there at once. Nothing but the page's own files passes
// through here: the same host may have other things.

const CACHE = 'mles-tx-page';

const FILES = [
  './', 'app.js', 'favicon.svg', 'icon-192.png', 'icon-512.png', 'manifest.webmanifest', 'style.css',
  ...[
    'attention', 'composer', 'connection', 'digests', 'elements', 'files', 'invite', 'kept', 'key-worker', 'link', 'log',
    'memory', 'outbox', 'rows', 'sealing', 'session', 'settings', 'text', 'trusted', 'wire', 'words',
  ].map((name) => `chat/${name}.js`),
];

const address = (path) => new URL(path, registration.scope).href;
const OWN = new Set(FILES.map(address));
const VENDOR = address('vendor/');

async function fill() {
  const cache = await caches.open(CACHE);
  const fresh = (path) => new Request(address(path), { cache: 'no-cache' });
  await cache.addAll(FILES.map(fresh));
  const listed = await fetch(fresh('vendor/index.json'));
  if (!listed.ok) return; // the page was installed without
  const packages = Object.entries(await listed.json());
  await cache.addAll(packages.flatMap(([name, { files }]) => files.map((file) => fresh(`vendor/${name}/${file}`))));
}

async function answer(request) {
  try {
    const response = await fetch(request);
    if (response.ok && request.url.indexOf('?') < 0) {
      const cache = await caches.open(CACHE);
      await cache.put(request, response.clone());
    }
    return response;
  } catch (error) {
    const kept = await caches.match(request, { ignoreSearch: true });
    if (kept === undefined) throw error;
    return kept;
  }
}

addEventListener('install', (event) => {
  event.waitUntil(fill().then(() => skipWaiting()));
});

addEventListener('activate', (event) => {
  event.waitUntil(clients.claim());
});

addEventListener('fetch', (event) => {
  const { request } = event;
  const url = request.url.split(/[?#]/)[0];
  const isOwn = OWN.has(url) || url.startsWith(VENDOR);
  if (request.method === 'GET' && isOwn && !request.headers.has('range')) event.respondWith(answer(request));
});

addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil((async () => {
    const windows = await clients.matchAll({ type: 'window' });
    if (windows.length) await windows[0].focus();
    else await clients.openWindow('./');
  })());
});
