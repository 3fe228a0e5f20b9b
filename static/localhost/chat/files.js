// Files in messages: cut into parts that fit into frames, put together again, and looked at before they are shown.

const PART_BYTES = 256 * 1024; // others get a word in between two parts
export const MAX_FILE_BYTES = 4 * 1024 * 1024; // a channel's history holds 10 MiB
const MAX_PARTS = 64; // of files of others
const MAX_UNFINISHED_BYTES = 32 * 1024 * 1024;

const MAX_SIDE = 2560; // pixels of a picture that was made smaller
const QUALITY = 0.85;
const SHRINKABLE = new Set(['image/jpeg', 'image/png', 'image/webp']);
const MAX_PICTURE_BYTES = 64 * 1024 * 1024; // above it no picture is even looked at

/** It cannot be sent; the text says why, for people. */
export class FileError extends Error {}

/** `1.5 MiB` */
export function sizeInWords(bytes) {
  if (bytes < 1024) return `${bytes} ${bytes === 1 ? 'byte' : 'bytes'}`;
  const [size, unit] = bytes < 1024 * 1024 ? [bytes / 1024, 'KiB'] : [bytes / 1024 / 1024, 'MiB'];
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${unit}`;
}

/**
 * A file as it can be sent: itself, or a picture that is too large made smaller.
 *
 * @param {File} file
 * @returns {Promise<{name: string, type: string, bytes: Uint8Array, isSmaller: boolean}>}
 * @throws {FileError}
 */
export async function prepare(file) {
  if (file.size <= MAX_FILE_BYTES) {
    try {
      return { name: file.name, type: file.type, bytes: new Uint8Array(await file.arrayBuffer()), isSmaller: false };
    } catch {
      throw new FileError(`${file.name} cannot be read.`);
    }
  }
  const limit = sizeInWords(MAX_FILE_BYTES);
  if (!SHRINKABLE.has(file.type) || file.size > MAX_PICTURE_BYTES) {
    throw new FileError(`${file.name} is too large: a file may have ${limit}, and this one has ${sizeInWords(file.size)}.`);
  }
  const made = await shrink(file).catch(() => null);
  if (made === null || made.size > MAX_FILE_BYTES) {
    throw new FileError(`${file.name} is too large, and could not be made smaller: a file may have ${limit}.`);
  }
  const name = `${file.name.replace(/\.\w+$/, '')}.jpg`;
  return { name, type: made.type, bytes: new Uint8Array(await made.arrayBuffer()), isSmaller: true };
}

async function shrink(file) {
  const picture = await createImageBitmap(file);
  const scale = Math.min(1, MAX_SIDE / Math.max(picture.width, picture.height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const context = canvas.getContext('2d');
  context.fillStyle = '#fff'; // JPEG has no transparency
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return new Promise((resolve) => { canvas.toBlob(resolve, 'image/jpeg', QUALITY); });
}

/** The parts of a file, in order: a head, as docs/clients.md has it, and bytes. */
export function partsOf({ name, type, bytes }, uid, time) {
  const head = { file: name, type, uid, time: time.toISOString() };
  if (bytes.length <= PART_BYTES) return [{ head, bytes }];
  const id = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  const parts = Math.ceil(bytes.length / PART_BYTES);
  return Array.from({ length: parts }, (_, part) => ({
    head: { ...head, id, size: bytes.length, part, parts },
    bytes: bytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES),
  }));
}

/** Puts the parts of files of others together. */
export class Assembly {
  #unfinished = new Map(); // whose and which → {pieces: [bytes], done, size}
  #size = 0; // of all of them

  clear() {
    this.#unfinished.clear();
    this.#size = 0;
  }

  /**
   * Take a part in, or a whole file.
   *
   * @param {{head: object, bytes: Uint8Array, uid: string}} message
   * @returns {?{key: ?string, done: number, parts: number, blobParts: ?Uint8Array[]}} key: the same for all parts of
   *   one file; blobParts: when it is whole. null: it is no part of anything
   */
  take({ uid, head: { id, part, parts }, bytes }) {
    if (parts === undefined) return { key: null, done: 1, parts: 1, blobParts: [bytes] };
    const isPart = [part, parts].every(Number.isInteger) && parts >= 1 && parts <= MAX_PARTS && part >= 0 && part < parts;
    if (!isPart || typeof id !== 'string') return null;
    const key = JSON.stringify([uid, id, parts]);
    const file = this.#unfinished.get(key) ?? { pieces: new Array(parts), done: 0, size: 0 };
    if (file.pieces[part] === undefined) {
      this.#drop(key, file);
      file.pieces[part] = bytes;
      file.done += 1;
      file.size += bytes.length;
      if (file.done < parts) this.#keep(key, file);
    }
    return { key, done: file.done, parts, blobParts: file.done === parts ? file.pieces : null };
  }

  // The one that grew last is kept longest.
  #keep(key, file) {
    this.#unfinished.set(key, file);
    this.#size += file.size;
    for (const [oldest, old] of this.#unfinished) {
      if (this.#size <= MAX_UNFINISHED_BYTES) return;
      this.#drop(oldest, old);
    }
  }

  #drop(key, file) {
    if (this.#unfinished.delete(key)) this.#size -= file.size;
  }
}

/**
 * The type of a picture made of pixels, by its first bytes; null: it is none that is shown. What a file says of itself
 * is not believed, and drawings that are programs (SVG) are never shown.
 */
export function pictureType(bytes) {
  const text = String.fromCharCode(...bytes.subarray(0, 16));
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
  if (text.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (/^GIF8[79]a/.test(text)) return 'image/gif';
  if (text.startsWith('RIFF') && text.slice(8, 12) === 'WEBP') return 'image/webp';
  if (/^ftypavi[fs]$/.test(text.slice(4, 12))) return 'image/avif';
  return null;
}
