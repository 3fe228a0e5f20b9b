/* measure.c - see measure.h. */
#define _GNU_SOURCE
#include "measure.h"
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MAX_PROCESSES 64

static pid_t processes[MAX_PROCESSES];
static int n_processes;

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

void fail(const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  for (char *p = text; *p; p++)
    if (*p < ' ' || *p > '~' || *p == '"' || *p == '\\') *p = '?';
  printf("{\"error\": \"%s\"}\n", text);
  fflush(stdout);
  _exit(1);
}

int number(const char *text, int least) {
  char *end;
  long value = strtol(text, &end, 10);
  if (*end || end == text || value < least || value > 100000000) fail("not a number of %d or more: %s", least, text);
  return (int)value;
}

void measure_process(pid_t process) {
  if (n_processes == MAX_PROCESSES) fail("too many processes");
  processes[n_processes++] = process;
}

static double clock_seconds(clockid_t clock) {
  struct timespec t;
  if (clock_gettime(clock, &t)) fail("a process that is measured has ended");
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The server's processes together: utime and stime of /proc/PID/stat, but not rounded to a hundredth. */
struct cpu cpu_now(void) {
  struct cpu now = {0, clock_seconds(CLOCK_PROCESS_CPUTIME_ID)};
  for (int i = 0; i < n_processes; i++) {
    clockid_t clock;
    if (clock_getcpuclockid(processes[i], &clock)) fail("there is no process %d", (int)processes[i]);
    now.server += clock_seconds(clock);
  }
  return now;
}

struct cpu cpu_since(struct cpu before) {
  struct cpu now = cpu_now();
  return (struct cpu){now.server - before.server, now.own - before.own};
}

void print_cpu(struct cpu taken, double elapsed) {
  printf("\"generator_cpu\": %.3f, ", taken.own / elapsed);
  if (n_processes)
    printf("\"server_cpu_s\": %.6f", taken.server);
  else
    printf("\"server_cpu_s\": null");
}
