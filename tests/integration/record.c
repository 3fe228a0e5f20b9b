/* Records what a process does to the files of one directory, in order: writes, syncs and the like. To be preloaded.
 *
 * RECORD_OF names the directory, RECORD_TO the file for the records. A record is a head (below), the path and, of a
 * write, what was written.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WRITE = 1, TRUNCATE, SYNC, UNLINK, RENAME };

struct head {
  uint32_t what, path_size;
  uint64_t offset, size;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int to = -1;

static void put(const void *data, size_t size) {
  const char *at = data;
  while (size) {
    long done = syscall(SYS_write, to, at, size);
    if (done <= 0) _exit(99);
    at += done;
    size -= (size_t)done;
  }
}

static void record(uint32_t what, const char *path, uint64_t offset, const void *data, size_t size) {
  const char *directory = getenv("RECORD_OF");
  if (!directory || strncmp(path, directory, strlen(directory))) return;
  pthread_mutex_lock(&lock);
  if (to < 0) {
    to = (int)syscall(SYS_openat, AT_FDCWD, getenv("RECORD_TO"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (to < 0) _exit(98);
  }
  struct head head = {what, (uint32_t)strlen(path), offset, size};
  put(&head, sizeof head);
  put(path, strlen(path));
  if (what == WRITE || what == RENAME) put(data, size);
  pthread_mutex_unlock(&lock);
}

static void record_of(uint32_t what, int fd, uint64_t offset, const void *data, size_t size) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return;
  path[length] = 0;
  record(what, path, offset, data, size);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define POSITIONED_WRITE(name, offset_type)                                       \
  ssize_t name(int fd, const void *data, size_t size, offset_type offset) {       \
    ssize_t done = REAL(name)(fd, data, size, offset);                            \
    if (done > 0) record_of(WRITE, fd, (uint64_t)offset, data, (size_t)done);     \
    return done;                                                                  \
  }
POSITIONED_WRITE(pwrite, off_t)
POSITIONED_WRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t size) {
  off64_t offset = lseek64(fd, 0, SEEK_CUR);
  ssize_t done = REAL(write)(fd, data, size);
  if (done > 0 && offset >= 0) record_of(WRITE, fd, (uint64_t)offset, data, (size_t)done);
  return done;
}

#define TRUNCATION(name, offset_type)                                             \
  int name(int fd, offset_type size) {                                            \
    int failed = REAL(name)(fd, size);                                            \
    if (!failed) record_of(TRUNCATE, fd, (uint64_t)size, NULL, 0);                \
    return failed;                                                                \
  }
TRUNCATION(ftruncate, off_t)
TRUNCATION(ftruncate64, off64_t)

#define SYNCHRONIZATION(name)                                                     \
  int name(int fd) {                                                              \
    int failed = REAL(name)(fd);                                                  \
    if (!failed) record_of(SYNC, fd, 0, NULL, 0);                                 \
    return failed;                                                                \
  }
SYNCHRONIZATION(fsync)
SYNCHRONIZATION(fdatasync)

int unlink(const char *path) {
  int failed = REAL(unlink)(path);
  if (!failed) record(UNLINK, path, 0, NULL, 0);
  return failed;
}

int rename(const char *from, const char *path) {
  int failed = REAL(rename)(from, path);
  if (!failed) record(RENAME, from, 0, path, strlen(path));
  return failed;
}
