// End-to-end encryption: XChaCha20-Poly1305 under a key derived from a secret and the channel's name, as mles-client
// does it. A frame is 24 random bytes of nonce, then what they seal.

import { scriptAddress } from './trusted.js';

const NONCE_BYTES = 24;
const TAG_BYTES = 16;

/** Bytes that sealing adds to a message. */
export const SEALED_BYTES = NONCE_BYTES + TAG_BYTES;

/** It cannot be had; the text says why, for people. */
export class SealingError extends Error {}

/**
 * What seals and opens the messages of a room.
 *
 * @param {{channel: string, secret: string}} room
 * @returns {Promise<{seal: function(Uint8Array): Uint8Array, open: function(Uint8Array): ?Uint8Array}>} open: null for
 *   what was not sealed with this secret
 * @throws {SealingError}
 */
export async function makeSealer(room) {
  let xchacha20poly1305;
  try {
    ({ xchacha20poly1305 } = await import('../vendor/@noble/ciphers/chacha.js'));
  } catch {
    throw new SealingError('This server’s page was installed without encryption.');
  }
  const key = await derive(room);
  return {
    seal(bytes) {
      const sealed = new Uint8Array(bytes.length + SEALED_BYTES);
      const nonce = crypto.getRandomValues(sealed.subarray(0, NONCE_BYTES));
      sealed.set(xchacha20poly1305(key, nonce).encrypt(bytes), NONCE_BYTES);
      return sealed;
    },
    open(frame) {
      if (frame.length < SEALED_BYTES) return null;
      try {
        return xchacha20poly1305(key, frame.subarray(0, NONCE_BYTES)).decrypt(frame.subarray(NONCE_BYTES));
      } catch {
        return null;
      }
    },
  };
}

function derive({ channel, secret }) {
  const worker = new Worker(scriptAddress('key'), { type: 'module' });
  const key = new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = () => reject(new SealingError('This browser could not derive the key: it may lack memory.'));
  });
  worker.postMessage({ channel, secret });
  return key.finally(() => worker.terminate());
}
