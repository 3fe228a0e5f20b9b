/* client.h - the load generator's connections: TCP, TLS, the WebSocket upgrade, the first frame of Mles.
 *
 * One thread, one epoll set. A client is joined when the server has answered a ping that was sent behind the first
 * frame: the answer says that the first frame was handled. Nothing is waited for by time.
 *
 * Whatever goes wrong ends the program by `fail`: a measurement with a lost member is none.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include "wire.h"
#include <openssl/ssl.h>

enum client_state { CONNECTING, SECURING, UPGRADING, JOINING, JOINED, LEAVING, CLOSED };

struct client {
  int fd;
  int id;
  int channel;
  enum client_state state;
  SSL *ssl; /* NULL without TLS */
  struct buffer in, out;
  size_t out_sent;
  uint32_t events;       /* what epoll is asked for */
  uint64_t opened_ns;    /* when its connect began */
  uint64_t frames;       /* data frames it has received */
  bool answered;         /* the ping behind its first frame */
};

struct server {
  const char *address;   /* numeric */
  const char *host;      /* a name or an address, for the Host header and SNI */
  int port;
  bool tls;
  const char *prefix;    /* of the names of channels */
  uint64_t history;      /* data frames a joiner has to receive before it counts as joined */
};

extern struct server server;

/* Given by the program that uses clients. */
void on_joined(struct client *c);
void on_message(struct client *c, const uint8_t *payload, size_t length);
void on_input(void); /* a line can be read from standard input, see clients_watch_input */

/* Before anything else. `connections`: how many there will be; descriptors for that many are made sure of. */
void clients_start(int connections);
void clients_watch_input(void);

/* Begins a connection; `on_joined` is called when it is a member of its channel. */
struct client *client_open(int id, int channel);
void client_send(struct client *c, int opcode, const void *payload, size_t length);
void client_flush(struct client *c);
/* Closes the socket, as a member does whose process has ended. */
void client_drop(struct client *c);
/* Says goodbye with a close frame; the server's answer or the end of the stream closes the client. */
void client_leave(struct client *c);

/* Handles what has happened, and waits until `until` (CLOCK_MONOTONIC, nanoseconds) for something to happen. */
void clients_run(uint64_t until);

#endif
