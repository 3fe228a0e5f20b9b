/* measure.h - what the load generators share: the time, the CPU time of servers, and how results and errors are told. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define SECOND 1000000000ull

/* CLOCK_MONOTONIC, in nanoseconds. */
uint64_t now_ns(void);

/* Prints {"error": ...} and ends with exit code 1. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The number in an option. */
int number(const char *text, int least);

/* A process of the server whose CPU time is wanted: user and system. */
void measure_process(pid_t process);

/* What the server and this program have taken since some moment, in seconds. */
struct cpu {
  double server, own;
};
struct cpu cpu_now(void);
struct cpu cpu_since(struct cpu before);

/* Members of a JSON object; the last ones of it. */
void print_cpu(struct cpu taken, double elapsed);

#endif
