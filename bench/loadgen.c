/* loadgen - a load generator for Mles v2 servers, whichever program they are: ws:// or wss://, one thread, epoll.
 *
 * It does one of these, and prints one line of JSON:
 *   fanout  C channels with S subscribers and P publishers each; publishers keep W messages in flight (-w), or all of
 *           them together send R messages a second (-r). Every message has to come to every other member of its
 *           channel, in its publisher's order.
 *   join    N connections, K at a time, each from TCP to the answer to its first frame; each ends when it has joined.
 *   hold    members that do nothing: for each line on standard input, which is a number, there are that many; then a
 *           line is printed. They leave at the end of the input.
 *   fill    one member publishes N messages and leaves: a history for those who join later.
 *
 * The CPU time of a server on this machine (-q PID) is read at both ends of the window that is measured.
 * What goes wrong is printed as {"error": ...}, with exit code 1.
 */
#define _GNU_SOURCE
#include "client.h"
#include "histogram.h"
#include "measure.h"
#include <errno.h>
#include <getopt.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* Nothing has happened for this long, though something should: the measurement has failed. */
#define STALL (20 * SECOND)
/* Servers have this long to let everybody go. It is not measured, and no fault when it is not enough. */
#define LEAVE (20 * SECOND)

enum mode { NONE, FANOUT, JOIN, HOLD, FILL };

static enum mode mode;
static int channels = 1, idle_channels, subscribers = 100, publishers = 1, window = 1, total = 100, parallel = 64;
static size_t message_bytes = 128;
static double rate, seconds = 2, warm_up = 0.5;

static struct client **members;
static int n_opened, n_joined;

/* ---- joining and leaving */

/* Channel by channel in a fan-out, and behind those the channels with one idle member; else in turn. */
static int channel_of(int id) {
  if (mode != FANOUT) return id % channels;
  int per_channel = subscribers + publishers, active = channels * per_channel;
  return id < active ? id / per_channel : channels + id - active;
}

static void open_members(int wanted) {
  uint64_t last = now_ns();
  int joined_before = n_joined;
  while (n_joined < wanted) {
    while (n_opened < wanted && n_opened - n_joined < parallel) {
      members[n_opened] = client_open(n_opened, channel_of(n_opened));
      n_opened++;
    }
    clients_run(now_ns() + SECOND);
    if (n_joined != joined_before) {
      joined_before = n_joined;
      last = now_ns();
    } else if (now_ns() - last > STALL) {
      fail("nobody has joined for %d s: %d of %d are in", (int)(STALL / SECOND), n_joined, wanted);
    }
  }
}

/* Everybody goes, and the server is done with them before the next measurement begins. */
static void leave_all(void) {
  uint64_t end = now_ns() + LEAVE;
  for (int i = 0; i < n_opened; i++) client_leave(members[i]);
  for (int i = 0; i < n_opened && now_ns() < end;) {
    if (members[i]->state == CLOSED)
      i++;
    else
      clients_run(end);
  }
}

/* ---- fan-out */

/* What each message begins with. */
struct stamp {
  uint64_t run; /* messages of other runs come out of histories, and are not ours to count */
  uint64_t sent_ns;
  uint32_t publisher, number;
};

struct publisher {
  struct client *client;
  uint64_t sent, delivered; /* deliveries are counted once for each receiver */
  bool ready;               /* stands in the queue of those who may send */
};

static struct publisher *sources;
static uint32_t *expected; /* for each member and each publisher of its channel: the next number */
static int *ready_queue, n_ready, n_sources;
static uint64_t run, others, sent_total, delivered_total, deliveries, out_of_order;
static bool measuring;

static void publish(int number) {
  static uint8_t *message;
  if (!message) message = calloc(1, message_bytes);
  struct publisher *source = &sources[number];
  struct stamp stamp = {run, now_ns(), (uint32_t)number, (uint32_t)source->sent++};
  memcpy(message, &stamp, sizeof stamp);
  client_send(source->client, OP_BINARY, message, message_bytes);
  sent_total++;
}

static void make_ready(int number) {
  struct publisher *source = &sources[number];
  if (source->ready) return;
  source->ready = true;
  ready_queue[n_ready++] = number;
}

void on_message(struct client *c, const uint8_t *payload, size_t length) {
  struct stamp stamp;
  if (length < sizeof stamp) return;
  memcpy(&stamp, payload, sizeof stamp);
  if (stamp.run != run || mode != FANOUT) return;
  if (length != message_bytes) fail("a message of %zu bytes has come as one of %zu", message_bytes, length);
  if ((int)stamp.publisher / publishers != c->channel) fail("a message has come to the wrong channel");
  uint32_t *next = &expected[(size_t)c->id * (size_t)publishers + stamp.publisher % (uint32_t)publishers];
  if (stamp.number != *next) out_of_order++;
  *next = stamp.number + 1;
  struct publisher *source = &sources[stamp.publisher];
  source->delivered++;
  delivered_total++;
  if (rate == 0 && source->delivered % others == 0) make_ready((int)stamp.publisher);
  if (!measuring) return;
  deliveries++;
  record(now_ns() - stamp.sent_ns);
}

/* Closed loop: who has fewer than `window` messages on their way sends, and flushes once. */
static void send_ready(void) {
  for (int i = 0; i < n_ready; i++) {
    struct publisher *source = &sources[ready_queue[i]];
    source->ready = false;
    while (source->sent * others < source->delivered + (uint64_t)window * others) publish(ready_queue[i]);
    client_flush(source->client);
  }
  n_ready = 0;
}

/* Open loop: publishers take turns, evenly spaced in time, whatever the server does. Returns when the next one is due. */
static uint64_t send_due(uint64_t begin) {
  static uint64_t turn;
  for (;;) {
    uint64_t due = begin + (uint64_t)((double)turn / rate * 1e9);
    if (due > now_ns()) return due;
    int number = (int)(turn++ % (uint64_t)n_sources);
    publish(number);
    client_flush(sources[number].client);
  }
}

/* Sends and receives until a point in time, or, with `draining`, until all that was sent has come. */
static void exchange(uint64_t begin, uint64_t until, bool draining) {
  uint64_t seen = delivered_total, last = now_ns();
  while (now_ns() < until) {
    uint64_t wake = until;
    if (draining) {
      if (delivered_total == sent_total * others) return;
    } else if (rate > 0) {
      uint64_t due = send_due(begin);
      if (due < wake) wake = due;
    } else {
      send_ready();
    }
    uint64_t now = now_ns();
    if (seen != delivered_total || delivered_total == sent_total * others) {
      seen = delivered_total;
      last = now;
    } else if (now - last > STALL) {
      return; /* what is missing is told as lost */
    }
    if (wake > now + SECOND) wake = now + SECOND;
    clients_run(wake);
  }
}

static void fanout(void) {
  int per_channel = subscribers + publishers;
  others = (uint64_t)per_channel - 1;
  n_sources = channels * publishers;
  members = calloc((size_t)total, sizeof *members);
  sources = calloc((size_t)n_sources, sizeof *sources);
  ready_queue = calloc((size_t)n_sources, sizeof *ready_queue);
  expected = calloc((size_t)total * (size_t)publishers, sizeof *expected);
  uint64_t opening = now_ns();
  open_members(total);
  double join_seconds = (double)(now_ns() - opening) / 1e9;
  for (int i = 0; i < n_sources; i++) {
    sources[i].client = members[i / publishers * per_channel + subscribers + i % publishers];
    make_ready(i);
  }

  uint64_t begin = now_ns(), warm = begin + (uint64_t)(warm_up * 1e9);
  exchange(begin, warm, false);
  struct cpu cpu = cpu_now();
  uint64_t start = now_ns(), sent_before = sent_total;
  measuring = true;
  exchange(begin, start + (uint64_t)(seconds * 1e9), false);
  measuring = false;
  double elapsed = (double)(now_ns() - start) / 1e9;
  cpu = cpu_since(cpu);
  uint64_t sent = sent_total - sent_before;
  exchange(begin, UINT64_MAX, true);

  printf("{\"mode\": \"fanout\", \"connections\": %d, \"join_s\": %.3f, \"seconds\": %.3f, \"sent\": %lu, ", total,
         join_seconds, elapsed, sent);
  printf("\"deliveries\": %lu, \"lost\": %ld, \"out_of_order\": %lu, ", deliveries,
         (long)(sent_total * others - delivered_total), out_of_order);
  print_latencies();
  print_cpu(cpu, elapsed);
  printf("}\n");
  fflush(stdout);
  leave_all();
}

/* ---- joins */

void on_joined(struct client *c) {
  n_joined++;
  if (mode != JOIN) return;
  record(now_ns() - c->opened_ns);
  client_drop(c);
}

static void join(void) {
  members = calloc((size_t)total, sizeof *members);
  struct cpu cpu = cpu_now();
  uint64_t start = now_ns();
  open_members(total);
  double elapsed = (double)(now_ns() - start) / 1e9;
  cpu = cpu_since(cpu);
  printf("{\"mode\": \"join\", \"joins\": %d, \"seconds\": %.3f, ", total, elapsed);
  print_latencies();
  print_cpu(cpu, elapsed);
  printf("}\n");
}

/* ---- idle members */

static int hold_wanted;
static bool hold_ended;

void on_input(void) {
  char line[32];
  ssize_t n = read(STDIN_FILENO, line, sizeof line - 1); /* one line at a time: the next is written after our answer */
  if (n <= 0) {
    hold_ended = true;
    return;
  }
  line[n] = 0;
  hold_wanted = atoi(line);
  if (hold_wanted > total) fail("there cannot be %d members: -n %d", hold_wanted, total);
}

static void hold(void) {
  members = calloc((size_t)total, sizeof *members);
  clients_watch_input();
  while (!hold_ended) {
    clients_run(now_ns() + SECOND);
    if (hold_wanted <= n_joined) continue;
    open_members(hold_wanted);
    printf("{\"mode\": \"hold\", \"members\": %d}\n", n_joined);
    fflush(stdout);
  }
  leave_all();
}

/* ---- a history */

static void fill(void) {
  int count = total;
  total = n_sources = 1;
  members = calloc(1, sizeof *members);
  sources = calloc(1, sizeof *sources);
  open_members(1);
  sources[0].client = members[0];
  for (int i = 0; i < count; i++) publish(0);
  members[0]->answered = false;
  client_send(members[0], OP_PING, "all read?", 9);
  client_flush(members[0]);
  for (uint64_t end = now_ns() + STALL; !members[0]->answered; clients_run(end))
    if (now_ns() >= end) fail("the server has not read %d messages within %d s", count, (int)(STALL / SECOND));
  printf("{\"mode\": \"fill\", \"messages\": %d}\n", count);
  fflush(stdout);
  leave_all();
}

/* ---- the command line */

static const char usage[] =
    "loadgen -m fanout|join|hold|fill -p PORT [-a ADDRESS] [-o HOST] [-t 0|1] [-q PID]... [-N PREFIX]\n"
    "  fanout: -c CHANNELS -i IDLE_CHANNELS -s SUBSCRIBERS -u PUBLISHERS -b BYTES (-w WINDOW | -r RATE)\n"
    "          -d SECONDS -W WARM_UP -e HISTORY\n"
    "  join:   -n JOINS -c CHANNELS -k AT_A_TIME -e HISTORY\n"
    "  hold:   -n MOST -c CHANNELS      fill: -n MESSAGES -b BYTES\n"
    "loadgen -v: the version of OpenSSL\n";

static enum mode mode_of(const char *name) {
  static const char *const names[] = {"", "fanout", "join", "hold", "fill"};
  for (int i = FANOUT; i <= FILL; i++)
    if (!strcmp(name, names[i])) return (enum mode)i;
  fail("no such mode: %s", name);
}

static void parse_options(int argc, char **argv) {
  int option;
  while ((option = getopt(argc, argv, "m:a:o:p:t:q:N:c:i:s:u:b:w:r:d:W:n:k:e:v")) != -1) {
    switch (option) {
    case 'v': puts(OpenSSL_version(OPENSSL_VERSION)); exit(0);
    case 'm': mode = mode_of(optarg); break;
    case 'a': server.address = optarg; break;
    case 'o': server.host = optarg; break;
    case 'p': server.port = number(optarg, 1); break;
    case 't': server.tls = number(optarg, 0); break;
    case 'N': server.prefix = optarg; break;
    case 'e': server.history = (uint64_t)number(optarg, 0); break;
    case 'c': channels = number(optarg, 1); break;
    case 'i': idle_channels = number(optarg, 0); break;
    case 's': subscribers = number(optarg, 0); break;
    case 'u': publishers = number(optarg, 1); break;
    case 'b': message_bytes = (size_t)number(optarg, sizeof(struct stamp)); break;
    case 'w': window = number(optarg, 1); break;
    case 'r': rate = strtod(optarg, NULL); break;
    case 'd': seconds = strtod(optarg, NULL); break;
    case 'W': warm_up = strtod(optarg, NULL); break;
    case 'n': total = number(optarg, 1); break;
    case 'k': parallel = number(optarg, 1); break;
    case 'q': measure_process(number(optarg, 1)); break;
    default: fail("wrong option");
    }
  }
  if (mode == FANOUT) {
    if (subscribers + publishers < 2) fail("a channel needs two members");
    total = channels * (subscribers + publishers) + idle_channels;
  }
}

int main(int argc, char **argv) {
  if (argc == 1) {
    fputs(usage, stderr);
    return 2;
  }
  parse_options(argc, argv);
  if (getrandom(&run, sizeof run, 0) != sizeof run) fail("no random numbers: %s", strerror(errno));
  clients_start(mode == FILL ? 1 : total);
  switch (mode) {
  case FANOUT: fanout(); break;
  case JOIN: join(); break;
  case HOLD: hold(); break;
  case FILL: fill(); break;
  case NONE: fail("which mode? -m");
  }
  return 0;
}
