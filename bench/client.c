/* client.c - see client.h. */
#define _GNU_SOURCE
#include "client.h"
#include "dial.h"
#include "measure.h"
#include <errno.h>
#include <openssl/err.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SCRATCH (256 * 1024)

struct server server = {.address = "127.0.0.1", .host = "localhost", .port = 0, .tls = true, .prefix = "bench"};

static int epoll, timer;
static uint64_t timer_at;
static SSL_CTX *context;
static char timer_mark, input_mark;

/* ---- setting up */

static void watch(int fd, void *mark) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = mark};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) fail("cannot watch descriptor %d: %s", fd, strerror(errno));
}

void clients_start(int connections) {
  prctl(PR_SET_PDEATHSIG, SIGTERM); /* never outlive the one that measures */
  signal(SIGPIPE, SIG_IGN);
  raise_descriptors(connections);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  if (epoll < 0 || timer < 0) fail("no epoll or no timer: %s", strerror(errno));
  watch(timer, &timer_mark);
  if (!server.tls) return;
  context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL); /* the certificate was made for this run */
  SSL_CTX_set_mode(context,
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  static const unsigned char http[] = "\x08http/1.1";
  SSL_CTX_set_alpn_protos(context, http, sizeof http - 1);
}

void clients_watch_input(void) { watch(STDIN_FILENO, &input_mark); }

/* ---- the life of a connection */

static void ask(struct client *c, uint32_t events) {
  if (c->events == events) return;
  struct epoll_event event = {.events = events, .data.ptr = c};
  if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event)) fail("epoll: %s", strerror(errno));
  c->events = events;
}

void client_drop(struct client *c) {
  if (c->state == CLOSED) return;
  c->state = CLOSED;
  SSL_free(c->ssl);
  c->ssl = NULL;
  close(c->fd);
  buffer_free(&c->in);
  buffer_free(&c->out);
}

/* The connection is gone: right when it is leaving, else the end of the measurement. */
static void lost(struct client *c, const char *why) {
  static const char *const doing[] = {"connecting", "TLS handshake", "upgrade", "joining", "member", "", ""};
  if (c->state < LEAVING) fail("connection %d (%s): %s", c->id, doing[c->state], why);
  client_drop(c);
}

/* What OpenSSL says that went wrong. */
static const char *tls_error(int error) {
  if (error == SSL_ERROR_ZERO_RETURN) return "the server ended the stream";
  unsigned long code = ERR_peek_last_error();
  if (!code) return errno ? strerror(errno) : "the server closed the connection";
  const char *text = ERR_reason_error_string(code);
  ERR_clear_error();
  return text ? text : "TLS error";
}

struct client *client_open(int id, int channel) {
  struct client *c = calloc(1, sizeof *c);
  if (!c) fail("out of memory");
  c->id = id;
  c->channel = channel;
  c->opened_ns = now_ns();
  c->fd = dial(server.address, server.port, id);
  c->events = EPOLLOUT;
  struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll: %s", strerror(errno));
  return c;
}

void client_flush(struct client *c) {
  while (c->state != CLOSED && c->out_sent < c->out.length) {
    const uint8_t *data = c->out.data + c->out_sent;
    size_t length = c->out.length - c->out_sent;
    if (length > 1 << 30) length = 1 << 30;
    int n;
    if (c->ssl) {
      n = SSL_write(c->ssl, data, (int)length);
      int error = n > 0 ? 0 : SSL_get_error(c->ssl, n);
      if (error && error != SSL_ERROR_WANT_WRITE && error != SSL_ERROR_WANT_READ) {
        lost(c, tls_error(error));
        return;
      }
    } else {
      n = (int)send(c->fd, data, length, MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN) {
        lost(c, strerror(errno));
        return;
      }
    }
    if (n <= 0) {
      ask(c, EPOLLIN | EPOLLOUT);
      return;
    }
    c->out_sent += (size_t)n;
  }
  if (c->state == CLOSED) return;
  c->out.length = c->out_sent = 0;
  ask(c, EPOLLIN);
}

void client_send(struct client *c, int opcode, const void *payload, size_t length) {
  /* Any mask will do; a mask of zeroes would let the server off unmasking. */
  static const uint8_t mask[4] = {0x5a, 0x13, 0xc7, 0x8e};
  uint8_t head[HEAD_MAX];
  buffer_add(&c->out, head, frame_head(head, opcode, length, mask));
  buffer_add(&c->out, payload, length);
  frame_mask(c->out.data + c->out.length - length, length, mask);
}

void client_leave(struct client *c) {
  if (c->state == CLOSED || c->state == LEAVING) return;
  static const uint8_t normal[2] = {1000 >> 8, 1000 & 255};
  client_send(c, OP_CLOSE, normal, sizeof normal);
  c->state = LEAVING;
  client_flush(c);
}

static void send_upgrade(struct client *c) {
  uint8_t *room = buffer_room(&c->out, 1024);
  bool six = strchr(server.host, ':') != NULL;
  int n = snprintf((char *)room, 1024,
                   "GET / HTTP/1.1\r\nHost: %s%s%s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\nSec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Protocol: mles-websocket\r\n\r\n",
                   six ? "[" : "", server.host, six ? "]" : "", server.port);
  if (n >= 1024) fail("the name of the host is too long");
  c->out.length += (size_t)n;
  c->state = UPGRADING;
  client_flush(c);
}

static void send_join(struct client *c) {
  char header[512];
  int n = snprintf(header, sizeof header, "{\"uid\":\"%s-%d\",\"channel\":\"%s-%d\"}", server.prefix, c->id, server.prefix,
                   c->channel);
  c->state = JOINING;
  client_send(c, OP_TEXT, header, (size_t)n);
  client_send(c, OP_PING, "joined?", 7);
  client_flush(c);
}

/* ---- what comes from the server */

static void check_joined(struct client *c) {
  if (c->state != JOINING || !c->answered || c->frames < server.history) return;
  c->state = JOINED;
  on_joined(c);
}

static void on_close_frame(struct client *c, const struct frame *frame) {
  if (c->state >= LEAVING) {
    client_drop(c);
    return;
  }
  int code = frame->length >= 2 ? frame->payload[0] << 8 | frame->payload[1] : 1005;
  int length = frame->length > 2 ? (int)frame->length - 2 : 0;
  fail("connection %d was closed by the server: %d %.*s", c->id, code, length, frame->payload + 2);
}

static void on_frame(struct client *c, const struct frame *frame) {
  switch (frame->opcode) {
  case OP_PING:
    client_send(c, OP_PONG, frame->payload, frame->length);
    client_flush(c);
    break;
  case OP_PONG:
    c->answered = true;
    check_joined(c);
    break;
  case OP_CLOSE:
    on_close_frame(c, frame);
    break;
  default:
    if (!frame->final || !frame->opcode) fail("connection %d: a fragmented message, which is not understood here", c->id);
    c->frames++;
    if (frame->opcode == OP_BINARY) on_message(c, frame->payload, frame->length);
    check_joined(c);
  }
}

/* The end of the answer to the upgrade; 0: it is not there yet. */
static size_t on_upgrade(struct client *c, const uint8_t *data, size_t length) {
  const uint8_t *end = memmem(data, length, "\r\n\r\n", 4);
  if (!end) return 0;
  if (memcmp(data, "HTTP/1.1 101", 12)) {
    int line = (int)((const uint8_t *)memchr(data, '\r', length) - data);
    fail("connection %d: the server answers the upgrade with %.*s", c->id, line, data);
  }
  send_join(c);
  return (size_t)(end - data) + 4;
}

/* Handles all that is whole, and returns how many bytes that was. */
static size_t on_bytes(struct client *c, uint8_t *data, size_t length) {
  size_t used = 0;
  if (c->state == UPGRADING) {
    used = on_upgrade(c, data, length);
    if (!used) return 0;
  }
  struct frame frame;
  while (c->state != CLOSED && frame_find(data + used, length - used, &frame)) {
    used += frame.whole;
    on_frame(c, &frame);
  }
  return used;
}

static void on_readable(struct client *c) {
  static uint8_t scratch[SCRATCH];
  while (c->state != CLOSED) {
    int n;
    if (c->ssl) {
      n = SSL_read(c->ssl, scratch, sizeof scratch);
      if (n <= 0) {
        int error = SSL_get_error(c->ssl, n);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) lost(c, tls_error(error));
        return;
      }
    } else {
      n = (int)recv(c->fd, scratch, sizeof scratch, 0);
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) {
        lost(c, n ? strerror(errno) : "the server closed the connection");
        return;
      }
    }
    if (c->in.length) { /* a frame that began in an earlier read */
      buffer_add(&c->in, scratch, (size_t)n);
      size_t used = on_bytes(c, c->in.data, c->in.length);
      if (c->state != CLOSED) buffer_drop(&c->in, used);
    } else {
      size_t used = on_bytes(c, scratch, (size_t)n);
      if (c->state != CLOSED && used < (size_t)n) buffer_add(&c->in, scratch + used, (size_t)n - used);
    }
  }
}

static void advance_handshake(struct client *c) {
  int result = SSL_connect(c->ssl);
  if (result == 1) {
    send_upgrade(c);
    return;
  }
  int error = SSL_get_error(c->ssl, result);
  if (error == SSL_ERROR_WANT_READ)
    ask(c, EPOLLIN);
  else if (error == SSL_ERROR_WANT_WRITE)
    ask(c, EPOLLIN | EPOLLOUT);
  else
    lost(c, tls_error(error));
}

static void on_connected(struct client *c) {
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error) {
    lost(c, strerror(error));
  } else if (server.tls) {
    c->ssl = SSL_new(context);
    SSL_set_fd(c->ssl, c->fd);
    if (!is_address(server.host)) SSL_set_tlsext_host_name(c->ssl, server.host);
    c->state = SECURING;
    advance_handshake(c);
  } else {
    send_upgrade(c);
  }
}

static void on_event(struct client *c, uint32_t events) {
  if (c->state == CLOSED) return;
  if (c->state == CONNECTING) {
    on_connected(c);
  } else if (c->state == SECURING) {
    advance_handshake(c);
  } else {
    if (events & EPOLLOUT) client_flush(c);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
  }
}

static void set_timer(uint64_t at) {
  if (at == timer_at) return;
  struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at / 1000000000u), .tv_nsec = (long)(at % 1000000000u)}};
  timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
  timer_at = at;
}

void clients_run(uint64_t until) {
  struct epoll_event events[512];
  set_timer(until);
  int n = epoll_wait(epoll, events, 512, -1);
  for (int i = 0; i < n; i++) {
    void *mark = events[i].data.ptr;
    if (mark == &timer_mark) {
      uint64_t times;
      if (read(timer, &times, sizeof times) > 0) timer_at = 0; /* it has gone off: set it anew, also to the same time */
    } else if (mark == &input_mark) {
      on_input();
    } else {
      on_event(mark, events[i].events);
    }
  }
}
