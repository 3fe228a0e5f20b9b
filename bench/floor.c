/* floor - the least that a Mles server can do: a yardstick for how far a real one is from what the machine allows.
 *
 * One thread, epoll, OpenSSL straight on the sockets. What arrives for a channel in one round of epoll is joined to one
 * buffer and written once to each member. No history, no limits, no checks, no static files: it is not for use.
 *
 * floor CERTIFICATE_AND_KEY.pem     listens on a free port of 127.0.0.1, and prints "listening on PORT".
 */
#define _GNU_SOURCE
#include "wire.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUCKETS 65536
#define NAME_MAX_BYTES 128
#define SCRATCH (256 * 1024)

enum state { SECURING, UPGRADING, OPEN, GONE };

struct member {
  int fd;
  enum state state;
  SSL *ssl;
  struct buffer in, out;
  size_t out_sent;
  struct channel *channel;
  int place;           /* among the channel's members */
  uint64_t spoke;      /* the last fan-out in which it was a publisher */
  struct member *next; /* among those that are gone */
};

/* A frame that waits for the end of the round. */
struct piece {
  struct member *from;
  size_t start, end; /* in `waiting` */
};

struct channel {
  char name[NAME_MAX_BYTES];
  struct member **members;
  int count, room;
  struct buffer waiting; /* frames, one behind the other */
  struct buffer pieces;  /* of struct piece */
  bool dirty;
  struct channel *next, *next_dirty;
};

static int epoll;
static SSL_CTX *context;
static struct channel *table[BUCKETS], *dirty;
static struct member *gone;

static void die(const char *what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* ---- members */

static void ask(struct member *m, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = m};
  if (epoll_ctl(epoll, EPOLL_CTL_MOD, m->fd, &event)) die("epoll");
}

/* It is freed at the end of the round: events and pieces may still point to it. */
static void remove_member(struct member *m) {
  if (m->state == GONE) return;
  m->state = GONE;
  if (m->channel) {
    struct member *last = m->channel->members[--m->channel->count];
    m->channel->members[m->place] = last;
    last->place = m->place;
  }
  m->next = gone;
  gone = m;
}

static void free_gone(void) {
  while (gone) {
    struct member *m = gone;
    gone = m->next;
    SSL_free(m->ssl);
    close(m->fd);
    buffer_free(&m->in);
    buffer_free(&m->out);
    free(m);
  }
}

/* Whether it only has to wait. What else went wrong is forgotten: OpenSSL would blame the next connection for it. */
static bool is_blocked(struct member *m, int result) {
  int error = SSL_get_error(m->ssl, result);
  ERR_clear_error();
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

/* Writes at once; what the socket does not take waits. */
static void send_bytes(struct member *m, const uint8_t *data, size_t length) {
  if (m->state == GONE || !length) return;
  size_t sent = 0;
  if (!m->out.length) {
    int n = SSL_write(m->ssl, data, (int)length);
    if (n <= 0 && !is_blocked(m, n)) {
      remove_member(m);
      return;
    }
    sent = n > 0 ? (size_t)n : 0;
    if (sent < length) ask(m, EPOLLIN | EPOLLOUT);
  }
  if (sent < length) buffer_add(&m->out, data + sent, length - sent);
}

static void on_writable(struct member *m) {
  while (m->out_sent < m->out.length) {
    int n = SSL_write(m->ssl, m->out.data + m->out_sent, (int)(m->out.length - m->out_sent));
    if (n <= 0) {
      if (!is_blocked(m, n)) remove_member(m);
      return;
    }
    m->out_sent += (size_t)n;
  }
  buffer_free(&m->out);
  m->out_sent = 0;
  ask(m, EPOLLIN);
}

/* ---- channels */

static struct channel *find_channel(const char *name) {
  uint32_t hash = 2166136261u; /* FNV-1a */
  for (const char *p = name; *p; p++) hash = (hash ^ (uint8_t)*p) * 16777619u;
  struct channel **bucket = &table[hash % BUCKETS];
  for (struct channel *h = *bucket; h; h = h->next)
    if (!strcmp(h->name, name)) return h;
  struct channel *h = calloc(1, sizeof *h);
  if (!h) die("memory");
  strcpy(h->name, name);
  h->next = *bucket;
  return *bucket = h;
}

/* The first frame: {"uid":...,"channel":NAME}, as the load generator writes it. */
static void join(struct member *m, const uint8_t *header, size_t length) {
  static const char key[] = "\"channel\":\"";
  const uint8_t *found = memmem(header, length, key, sizeof key - 1);
  const uint8_t *start = found ? found + sizeof key - 1 : NULL;
  const uint8_t *end = start ? memchr(start, '"', length - (size_t)(start - header)) : NULL;
  if (!end || end - start >= NAME_MAX_BYTES) {
    remove_member(m);
    return;
  }
  char name[NAME_MAX_BYTES] = {0};
  memcpy(name, start, (size_t)(end - start));
  struct channel *h = m->channel = find_channel(name);
  if (h->count == h->room) {
    h->room = h->room ? 2 * h->room : 4;
    h->members = realloc(h->members, (size_t)h->room * sizeof(struct member *));
    if (!h->members) die("memory");
  }
  m->place = h->count;
  h->members[h->count++] = m;
}

static void publish(struct member *m, const struct frame *frame) {
  struct channel *h = m->channel;
  uint8_t head[HEAD_MAX];
  struct piece piece = {.from = m, .start = h->waiting.length};
  buffer_add(&h->waiting, head, frame_head(head, frame->opcode, frame->length, NULL));
  buffer_add(&h->waiting, frame->payload, frame->length);
  piece.end = h->waiting.length;
  buffer_add(&h->pieces, &piece, sizeof piece);
  if (h->dirty) return;
  h->dirty = true;
  h->next_dirty = dirty;
  dirty = h;
}

/* Everybody gets everything that waits in one write; who has published, all but its own. */
static void fan_out(struct channel *h) {
  static uint64_t number;
  number++;
  struct piece *pieces = (struct piece *)h->pieces.data;
  size_t count = h->pieces.length / sizeof *pieces;
  for (size_t i = 0; i < count; i++) pieces[i].from->spoke = number;
  for (int j = h->count - 1; j >= 0; j--) { /* from the end: who fails is replaced by the last */
    struct member *m = h->members[j];
    if (m->spoke != number) {
      send_bytes(m, h->waiting.data, h->waiting.length);
      continue;
    }
    for (size_t i = 0; i < count; i++)
      if (pieces[i].from != m) send_bytes(m, h->waiting.data + pieces[i].start, pieces[i].end - pieces[i].start);
  }
  h->waiting.length = h->pieces.length = 0;
  h->dirty = false;
}

/* ---- what comes in */

static void on_frame(struct member *m, const struct frame *frame) {
  uint8_t head[HEAD_MAX];
  if (frame->opcode == OP_CLOSE) {
    static const uint8_t answer[] = {0x80 | OP_CLOSE, 0};
    send_bytes(m, answer, sizeof answer);
    remove_member(m);
  } else if (frame->opcode == OP_PING) {
    send_bytes(m, head, frame_head(head, OP_PONG, frame->length, NULL));
    send_bytes(m, frame->payload, frame->length);
  } else if (frame->opcode != OP_PONG) {
    if (m->channel)
      publish(m, frame);
    else
      join(m, frame->payload, frame->length);
  }
}

/* The length of the request, once it is answered; 0: it is not all there yet. */
static size_t on_upgrade(struct member *m, const uint8_t *data, size_t length) {
  static const char field[] = "Sec-WebSocket-Key: ", magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const size_t key_length = 24;
  const uint8_t *end = memmem(data, length, "\r\n\r\n", 4);
  if (!end) return 0;
  const uint8_t *found = memmem(data, (size_t)(end - data), field, sizeof field - 1);
  if (!found || (size_t)(end - found) < sizeof field - 1 + key_length) {
    remove_member(m);
    return 0;
  }
  uint8_t text[64], digest[SHA_DIGEST_LENGTH], accept[32], answer[256];
  memcpy(text, found + sizeof field - 1, key_length);
  memcpy(text + key_length, magic, sizeof magic - 1);
  SHA1(text, key_length + sizeof magic - 1, digest);
  EVP_EncodeBlock(accept, digest, sizeof digest);
  int n = snprintf((char *)answer, sizeof answer,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: mles-websocket\r\n\r\n",
                   accept);
  m->state = OPEN;
  send_bytes(m, answer, (size_t)n);
  return (size_t)(end - data) + 4;
}

static size_t on_bytes(struct member *m, uint8_t *data, size_t length) {
  size_t used = 0;
  if (m->state == UPGRADING) {
    used = on_upgrade(m, data, length);
    if (!used) return 0;
  }
  struct frame frame;
  while (m->state == OPEN && frame_find(data + used, length - used, &frame)) {
    used += frame.whole;
    on_frame(m, &frame);
  }
  return used;
}

static void on_readable(struct member *m) {
  static uint8_t scratch[SCRATCH];
  while (m->state != GONE) {
    int n = SSL_read(m->ssl, scratch, sizeof scratch);
    if (n <= 0) {
      if (!is_blocked(m, n)) remove_member(m);
      return;
    }
    if (m->in.length) {
      buffer_add(&m->in, scratch, (size_t)n);
      buffer_drop(&m->in, on_bytes(m, m->in.data, m->in.length));
    } else {
      size_t used = on_bytes(m, scratch, (size_t)n);
      if (used < (size_t)n) buffer_add(&m->in, scratch + used, (size_t)n - used);
    }
  }
}

static void on_handshake(struct member *m) {
  int result = SSL_accept(m->ssl);
  if (result == 1) {
    m->state = UPGRADING;
    ask(m, EPOLLIN);
    on_readable(m);
  } else if (!is_blocked(m, result)) {
    remove_member(m);
  } else {
    ask(m, SSL_want_write(m->ssl) ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }
}

static void on_event(struct member *m, uint32_t events) {
  if (m->state == GONE) return;
  if (m->state == SECURING) {
    on_handshake(m);
    return;
  }
  if (events & EPOLLOUT) on_writable(m);
  if (m->state != GONE && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(m);
}

/* ---- the port */

static void accept_all(int port) {
  int fd, one = 1;
  while ((fd = accept4(port, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct member *m = calloc(1, sizeof *m);
    if (!m) die("memory");
    m->fd = fd;
    m->ssl = SSL_new(context);
    SSL_set_fd(m->ssl, fd);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = m};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) die("epoll");
  }
  if (errno != EAGAIN && errno != ECONNABORTED) die("accept");
}

static int choose_http(SSL *ssl, const unsigned char **chosen, unsigned char *length, const unsigned char *offered,
                       unsigned offered_length, void *unused) {
  (void)ssl, (void)unused;
  static const unsigned char http[] = "\x08http/1.1";
  int found = SSL_select_next_proto((unsigned char **)chosen, length, http, sizeof http - 1, offered, offered_length);
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static void make_context(const char *file) {
  context = SSL_CTX_new(TLS_server_method());
  if (SSL_CTX_use_certificate_chain_file(context, file) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, file, SSL_FILETYPE_PEM) != 1) {
    fprintf(stderr, "floor: no certificate and key in %s\n", file);
    exit(1);
  }
  SSL_CTX_set_mode(context,
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_alpn_select_cb(context, choose_http, NULL);
}

static int listen_anywhere(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) || listen(fd, 1024) ||
      getsockname(fd, (struct sockaddr *)&address, &length))
    die("listen");
  printf("listening on %d\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fputs("floor CERTIFICATE_AND_KEY.pem\n", stderr);
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGTERM); /* never outlive the one that measures */
  signal(SIGPIPE, SIG_IGN);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  make_context(argv[1]);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  int port = listen_anywhere();
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, port, &event)) die("epoll");
  for (;;) {
    struct epoll_event events[1024];
    int n = epoll_wait(epoll, events, 1024, -1);
    for (int i = 0; i < n; i++) {
      if (events[i].data.ptr)
        on_event(events[i].data.ptr, events[i].events);
      else
        accept_all(port);
    }
    while (dirty) {
      struct channel *h = dirty;
      dirty = h->next_dirty;
      fan_out(h);
    }
    free_gone();
  }
}
