// Derives the key of a room, apart from the page, which would stand still for a second or two.

import { blake2b } from '../vendor/@noble/hashes/blake2.js';
import { scrypt } from '../vendor/@noble/hashes/scrypt.js';

const SALT_BYTES = 16;
const KEY_BYTES = 32;
const COST = { N: 2 ** 17, r: 8, p: 1, dkLen: KEY_BYTES };

onmessage = ({ data: { secret, channel } }) => {
  const encoder = new TextEncoder();
  const salt = blake2b(encoder.encode(channel)).subarray(0, SALT_BYTES);
  postMessage(scrypt(encoder.encode(secret), salt, COST));
};
