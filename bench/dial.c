/* dial.c - see dial.h. */
#define _GNU_SOURCE
#include "dial.h"
#include "measure.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* Connections from one source address to one destination: below the 28,232 ports that Linux gives out by default. */
#define PER_SOURCE 20000
/* Descriptors for everything but connections. */
#define SPARE_DESCRIPTORS 64

void raise_descriptors(int connections) {
  rlim_t wanted = (rlim_t)connections + SPARE_DESCRIPTORS;
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  rlim_t hard = limit.rlim_max;
  limit.rlim_cur = hard;
  if (hard != RLIM_INFINITY && hard < wanted) limit = (struct rlimit){wanted, wanted}; /* for root */
  if (setrlimit(RLIMIT_NOFILE, &limit) && (hard != RLIM_INFINITY && hard < wanted))
    fail("%d connections need %lu descriptors and the limit is %lu: raise it (ulimit -Hn, fs.nr_open)", connections,
         (unsigned long)wanted, (unsigned long)hard);
}

bool is_address(const char *text) {
  uint8_t bytes[16];
  return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

static struct sockaddr_storage address_of(const char *text, int port, socklen_t *length) {
  struct sockaddr_storage storage = {0};
  struct sockaddr_in *four = (struct sockaddr_in *)&storage;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)&storage;
  if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons((uint16_t)port);
    *length = sizeof *four;
  } else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((uint16_t)port);
    *length = sizeof *six;
  } else {
    fail("not an address: %s", text);
  }
  return storage;
}

/* On loopback every address in 127/8 is ours, so more connections than one has ports come from several. */
static void choose_source(int fd, const char *address, int number) {
  int source = number / PER_SOURCE;
  if (!source || strncmp(address, "127.", 4)) return;
  int one = 1;
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)source)};
  if (bind(fd, (struct sockaddr *)&from, sizeof from)) fail("no second source address: %s", strerror(errno));
}

int dial(const char *address, int port, int number) {
  socklen_t length;
  struct sockaddr_storage to = address_of(address, port, &length);
  int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  if (fd < 0) fail("connection %d: %s%s", number, strerror(errno), errno == EMFILE ? " (raise ulimit -n)" : "");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  choose_source(fd, address, number);
  if (connect(fd, (struct sockaddr *)&to, length) && errno != EINPROGRESS) {
    if (errno == EADDRNOTAVAIL) fail("connection %d: no local port is left (net.ipv4.ip_local_port_range)", number);
    fail("connection %d: %s", number, strerror(errno));
  }
  return fd;
}
