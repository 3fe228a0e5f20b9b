/* dial.h - the load generator's sockets: descriptors for them, addresses, connects. Errors end the program by `fail`. */
#ifndef BENCH_DIAL_H
#define BENCH_DIAL_H

#include <stdbool.h>

/* Makes sure of descriptors for some connections. */
void raise_descriptors(int connections);

/* Whether it is a numeric address, IPv4 or IPv6. */
bool is_address(const char *text);

/* Begins a connect, and returns the socket. `number`: of the connection, from 0; what one source address has no ports
 * for comes from another one, where there are more. */
int dial(const char *address, int port, int number);

#endif
