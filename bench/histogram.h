/* histogram.h - values in steps, 64 for each power of two: percentiles are right to 1.6 %, however many there are. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

#define STEPS 64
static uint64_t histogram[64 * STEPS], n_values, largest;

static unsigned step_of(uint64_t value) {
  unsigned shift = value < STEPS ? 0 : (unsigned)(63 - __builtin_clzll(value)) - 6;
  return shift * STEPS + (unsigned)(value >> shift);
}

/* The least value of a step. */
static uint64_t value_of(unsigned step) {
  unsigned shift = step < 2 * STEPS ? 0 : step / STEPS - 1;
  return (uint64_t)(step - shift * STEPS) << shift;
}

static void record(uint64_t value) {
  histogram[step_of(value)]++;
  n_values++;
  if (value > largest) largest = value;
}

/* The value that a share (0 to 1) of all is not above. */
static uint64_t percentile(double share) {
  uint64_t wanted = (uint64_t)(share * (double)n_values), seen = 0;
  for (unsigned i = 0; i < 64 * STEPS; i++) {
    seen += histogram[i];
    if (seen > wanted) return value_of(i);
  }
  return largest;
}

/* A member of a JSON object: nanoseconds that were recorded, in microseconds. */
static void print_latencies(void) {
  printf("\"latency_us\": {\"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}, ",
         (double)percentile(0.5) / 1e3, (double)percentile(0.9) / 1e3, (double)percentile(0.99) / 1e3,
         (double)percentile(0.999) / 1e3, (double)largest / 1e3);
}

#endif
