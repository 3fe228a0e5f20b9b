// SipHash-2-4 under the all-zero key: how Mles tells messages apart, in `since` and among clients.

const ZERO_KEY = [0, 0, 0, 0];

/**
 * How to digest a frame, a text or bytes, to 16 hex digits.
 *
 * @returns {Promise<?function((string|Uint8Array)): string>} null where the page was installed without
 */
export async function loadDigest() {
  try {
    const { default: SipHash } = await import('../vendor/siphash/lib/siphash.js');
    // A text is encoded as UTF-8 there.
    return (frame) => SipHash.hash_hex(ZERO_KEY, frame);
  } catch {
    return null;
  }
}
