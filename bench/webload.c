/* webload - a load generator for static files: HTTP/1.1 over TLS or without, one thread, epoll.
 *
 * N connections that are kept open ask for one path, each for the next time as soon as its answer is there whole: status
 * 200, with a Content-Length, and as many bytes of body as that says, the same number each time. It prints one line of
 * JSON at the end of the window that is measured. With -d 0 that is the end of standard input; a first line is then
 * printed when the window begins.
 *
 * The CPU time of a server on this machine (-q PID) is read at both ends of the window. What goes wrong is printed as
 * {"error": ...}, with exit code 1.
 */
#define _GNU_SOURCE
#include "dial.h"
#include "histogram.h"
#include "measure.h"
#include <errno.h>
#include <getopt.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Nothing has come for this long: the measurement has failed. */
#define STALL (20 * SECOND)
/* How late the end of the window may be seen, in milliseconds. */
#define LOOK 10
/* Bytes of the head of an answer at most. */
#define MAX_HEAD 8192
#define MAX_REQUEST 2048
#define SCRATCH (64 * 1024)

enum state { CONNECTING, SECURING, HEAD, BODY };

struct connection {
  int fd, id;
  enum state state;
  SSL *ssl; /* NULL without TLS */
  uint64_t asked_ns;
  size_t head_length;
  uint64_t body_left;
  char head[MAX_HEAD + 1];
};

static const char *address = "127.0.0.1", *host = "localhost", *path = "/", *codings;
static int port, n_connections = 16, tls = 1;
static double seconds = 2, warm_up = 0.5;

static int epoll;
static SSL_CTX *context;
static char request[MAX_REQUEST];
static int request_length;
static uint64_t answers, body_bytes, last_answer;
static bool measuring, input_ended;

/* ---- one request after the other */

static void watch(int how, int fd, uint32_t events, void *mark) {
  struct epoll_event event = {.events = events, .data.ptr = mark};
  if (epoll_ctl(epoll, how, fd, &event)) fail("epoll: %s", strerror(errno));
}

/* What OpenSSL, or the system, says that went wrong. */
_Noreturn static void lost(struct connection *c, int error) {
  static const char *const doing[] = {"connecting", "TLS handshake", "waiting for an answer", "reading an answer"};
  unsigned long code = ERR_peek_last_error();
  const char *why = error == SSL_ERROR_ZERO_RETURN ? "the server ended the stream"
                    : code                         ? ERR_reason_error_string(code)
                    : errno                        ? strerror(errno)
                                                   : "the server closed the connection";
  fail("connection %d (%s): %s", c->id, doing[c->state], why ? why : "TLS error");
}

/* A request is short and nothing else is on its way: a socket that is connected takes it whole. */
static void ask(struct connection *c) {
  errno = 0;
  int n = c->ssl ? SSL_write(c->ssl, request, request_length)
                 : (int)send(c->fd, request, (size_t)request_length, MSG_NOSIGNAL);
  if (n != request_length) lost(c, c->ssl ? SSL_get_error(c->ssl, n) : 0);
  c->state = HEAD;
  c->head_length = 0;
  c->asked_ns = now_ns();
}

static void answered(struct connection *c) {
  last_answer = now_ns();
  if (measuring) {
    answers++;
    record(last_answer - c->asked_ns);
  }
  ask(c);
}

static void on_head(struct connection *c, char *end) {
  *end = 0;
  if (strncmp(c->head, "HTTP/1.1 200 ", 13))
    fail("connection %d: the answer is %.*s", c->id, (int)strcspn(c->head, "\r"), c->head);
  const char *field = strcasestr(c->head, "\r\nContent-Length:");
  if (!field) fail("connection %d: an answer without a Content-Length", c->id);
  uint64_t length = strtoull(field + strlen("\r\nContent-Length:"), NULL, 10);
  if (!body_bytes) body_bytes = length;
  /* The first ones may come before the server has compressed it. */
  if (length != body_bytes && measuring)
    fail("connection %d: a body of %lu bytes was %lu before", c->id, length, body_bytes);
  body_bytes = c->body_left = length;
  c->state = BODY;
}

static void on_bytes(struct connection *c, const char *data, size_t length) {
  if (c->state == HEAD) {
    size_t before = c->head_length, taken = length < MAX_HEAD - before ? length : MAX_HEAD - before;
    memcpy(c->head + before, data, taken);
    c->head_length += taken;
    char *end = memmem(c->head, c->head_length, "\r\n\r\n", 4);
    if (!end && c->head_length == MAX_HEAD) fail("connection %d: the head of an answer has no end", c->id);
    if (!end) return;
    size_t used = (size_t)(end - c->head) + 4 - before;
    data += used;
    length -= used;
    on_head(c, end + 2);
  }
  if (length > c->body_left) fail("connection %d: more bytes than the answer should have", c->id);
  c->body_left -= length;
  if (!c->body_left) answered(c);
}

static void on_readable(struct connection *c) {
  static char scratch[SCRATCH];
  for (;;) {
    errno = 0;
    int n = c->ssl ? SSL_read(c->ssl, scratch, sizeof scratch) : (int)recv(c->fd, scratch, sizeof scratch, 0);
    if (n > 0) {
      on_bytes(c, scratch, (size_t)n);
      continue;
    }
    int error = c->ssl ? SSL_get_error(c->ssl, n) : errno == EAGAIN ? SSL_ERROR_WANT_READ : 0;
    if (error == SSL_ERROR_WANT_READ) return;
    lost(c, error);
  }
}

/* ---- beginning a connection */

static void advance_handshake(struct connection *c) {
  errno = 0;
  int result = SSL_connect(c->ssl);
  int error = result == 1 ? 0 : SSL_get_error(c->ssl, result);
  if (error && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) lost(c, error);
  watch(EPOLL_CTL_MOD, c->fd, error == SSL_ERROR_WANT_WRITE ? EPOLLIN | EPOLLOUT : EPOLLIN, c);
  if (!error) ask(c);
}

static void on_connected(struct connection *c) {
  socklen_t length = sizeof errno;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &errno, &length);
  if (errno) lost(c, 0);
  if (!tls) {
    watch(EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
    ask(c);
    return;
  }
  c->ssl = SSL_new(context);
  SSL_set_fd(c->ssl, c->fd);
  if (!is_address(host)) SSL_set_tlsext_host_name(c->ssl, host);
  c->state = SECURING;
  advance_handshake(c);
}

static void begin(int id) {
  struct connection *c = calloc(1, sizeof *c);
  if (!c) fail("out of memory");
  c->id = id;
  c->fd = dial(address, port, id);
  watch(EPOLL_CTL_ADD, c->fd, EPOLLOUT, c);
}

static void set_up(void) {
  prctl(PR_SET_PDEATHSIG, SIGTERM); /* never outlive the one that measures */
  /* Others are measured at the same time, on the same cores: it does not push them aside whenever something comes. */
  struct sched_param none = {0};
  sched_setscheduler(0, SCHED_BATCH, &none);
  signal(SIGPIPE, SIG_IGN);
  raise_descriptors(n_connections);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) fail("no epoll: %s", strerror(errno));
  bool six = strchr(host, ':') != NULL;
  request_length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s%s%s:%d\r\n%s%s%s\r\n", path,
                            six ? "[" : "", host, six ? "]" : "", port, codings ? "Accept-Encoding: " : "",
                            codings ? codings : "", codings ? "\r\n" : "");
  if (request_length >= MAX_REQUEST) fail("the host, the path or the codings are too long");
  if (!tls) return;
  context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL); /* the certificate was made for this run */
  static const unsigned char http[] = "\x08http/1.1";
  SSL_CTX_set_alpn_protos(context, http, sizeof http - 1);
}

/* ---- the measurement */

static void run(uint64_t until) {
  struct epoll_event events[512];
  while (!input_ended && now_ns() < until) {
    int n = epoll_wait(epoll, events, 512, LOOK);
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      if (!c) {
        char some[64];
        input_ended = read(STDIN_FILENO, some, sizeof some) <= 0;
      } else if (c->state == CONNECTING) {
        on_connected(c);
      } else if (c->state == SECURING) {
        advance_handshake(c);
      } else {
        on_readable(c);
      }
    }
    if (now_ns() - last_answer > STALL) fail("no answer for %d s", (int)(STALL / SECOND));
  }
}

static void measure(void) {
  last_answer = now_ns();
  for (int i = 0; i < n_connections; i++) begin(i);
  if (seconds == 0) watch(EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, NULL);
  run(now_ns() + (uint64_t)(warm_up * 1e9));
  if (seconds == 0) {
    printf("{\"mode\": \"web\", \"connections\": %d}\n", n_connections);
    fflush(stdout);
  }
  struct cpu cpu = cpu_now();
  uint64_t start = now_ns();
  measuring = true;
  run(seconds == 0 ? UINT64_MAX : start + (uint64_t)(seconds * 1e9));
  double elapsed = (double)(now_ns() - start) / 1e9;
  cpu = cpu_since(cpu);
  printf("{\"mode\": \"web\", \"connections\": %d, \"seconds\": %.3f, ", n_connections, elapsed);
  printf("\"requests\": %lu, \"body_bytes\": %lu, ", answers, body_bytes);
  print_latencies();
  print_cpu(cpu, elapsed);
  printf("}\n");
}

/* ---- the command line */

static const char usage[] =
    "webload -p PORT [-a ADDRESS] [-o HOST] [-t 0|1] [-q PID]... -f PATH [-E ACCEPT_ENCODING] [-n CONNECTIONS]\n"
    "        [-d SECONDS] [-W WARM_UP]      -d 0: until the end of standard input\n";

int main(int argc, char **argv) {
  int option;
  if (argc == 1) {
    fputs(usage, stderr);
    return 2;
  }
  while ((option = getopt(argc, argv, "a:o:p:t:q:f:E:n:d:W:")) != -1) {
    switch (option) {
    case 'a': address = optarg; break;
    case 'o': host = optarg; break;
    case 'p': port = number(optarg, 1); break;
    case 't': tls = number(optarg, 0); break;
    case 'q': measure_process(number(optarg, 1)); break;
    case 'f': path = optarg; break;
    case 'E': codings = optarg; break;
    case 'n': n_connections = number(optarg, 1); break;
    case 'd': seconds = strtod(optarg, NULL); break;
    case 'W': warm_up = strtod(optarg, NULL); break;
    default: fail("wrong option");
    }
  }
  if (!port) fail("which port? -p");
  set_up();
  measure();
  return 0;
}
