/* wire.h - what the load generator and the floor share: growing buffers, and WebSocket frames (RFC 6455, section 5.2).
 *
 * Frames are whole messages here. Neither program splits one, and a fragment is shown to the caller as not final.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum opcode { OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

/* The longest head of a frame: two bytes, an eight-byte length and a mask. */
#define HEAD_MAX 14

struct buffer {
  uint8_t *data;
  size_t length, capacity;
};

/* Makes room for `more` bytes and returns where they go; their number is added to `length` by the caller. */
static inline uint8_t *buffer_room(struct buffer *b, size_t more) {
  if (b->length + more > b->capacity) {
    b->capacity = (b->length + more) * 2;
    b->data = realloc(b->data, b->capacity);
    if (!b->data) {
      fputs("out of memory\n", stderr);
      abort();
    }
  }
  return b->data + b->length;
}

static inline void buffer_add(struct buffer *b, const void *data, size_t length) {
  memcpy(buffer_room(b, length), data, length);
  b->length += length;
}

static inline void buffer_free(struct buffer *b) {
  free(b->data);
  *b = (struct buffer){0};
}

/* Takes bytes off the front. An empty buffer gives its memory back: most connections wait with nothing in it. */
static inline void buffer_drop(struct buffer *b, size_t length) {
  if (length >= b->length) {
    buffer_free(b);
  } else if (length) {
    b->length -= length;
    memmove(b->data, b->data + length, b->length);
  }
}

struct frame {
  int opcode;
  bool final;
  uint8_t *payload; /* unmasked, in place */
  size_t length;    /* of the payload */
  size_t whole;     /* of the head and the payload */
};

/* Writes the head of a final frame, and returns its length. `mask`: four bytes, or NULL for a server's frames. */
static inline size_t frame_head(uint8_t *to, int opcode, size_t length, const uint8_t *mask) {
  uint8_t bit = mask ? 0x80 : 0;
  size_t n = 0;
  to[n++] = (uint8_t)(0x80 | opcode);
  if (length < 126) {
    to[n++] = (uint8_t)(bit | length);
  } else {
    int bytes = length < 65536 ? 2 : 8;
    to[n++] = (uint8_t)(bit | (bytes == 2 ? 126 : 127));
    for (int i = bytes - 1; i >= 0; i--) to[n++] = (uint8_t)((uint64_t)length >> (8 * i));
  }
  if (mask) {
    memcpy(to + n, mask, 4);
    n += 4;
  }
  return n;
}

static inline void frame_mask(uint8_t *data, size_t length, const uint8_t *mask) {
  for (size_t i = 0; i < length; i++) data[i] ^= mask[i & 3];
}

/* Finds a frame at the start of some bytes; false: it is not all there yet. */
static inline bool frame_find(uint8_t *data, size_t have, struct frame *found) {
  if (have < 2) return false;
  size_t head = 2, length = data[1] & 127;
  if (length >= 126) {
    int bytes = length == 126 ? 2 : 8;
    if (have < head + (size_t)bytes) return false;
    length = 0;
    for (int i = 0; i < bytes; i++) length = length << 8 | data[head++];
  }
  uint8_t *mask = data[1] & 0x80 ? data + head : NULL;
  if (mask) head += 4;
  if (have < head || have - head < length) return false;
  if (mask) frame_mask(data + head, length, mask);
  *found = (struct frame){data[0] & 15, data[0] >> 7, data + head, length, head + length};
  return true;
}

#endif
