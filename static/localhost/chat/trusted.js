// The only scripts this page starts by their address. Where browsers know Trusted Types, the page's policy lets no
// other module do so.

const SCRIPTS = { key: new URL('./key-worker.js', import.meta.url).href, service: new URL('../sw.js', import.meta.url).href };

const policy = globalThis.trustedTypes?.createPolicy('mles-tx', {
  createScriptURL: (name) => SCRIPTS[name] ?? 'about:blank',
});

/** The address of the worker that derives keys ('key'), or of the service worker ('service'). */
export function scriptAddress(name) {
  return policy ? policy.createScriptURL(name) : SCRIPTS[name];
}
