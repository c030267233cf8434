/* Preloaded into the agent: each fsync and fdatasync takes 20 ms longer. The keeper is started with an environment
   of its own, so neither it nor the workloads are slowed down. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int slowly(long result) {
  struct timespec delay = {0, 20000000};
  nanosleep(&delay, 0);
  return (int)result;
}

int fsync(int file) { return slowly(syscall(SYS_fsync, file)); }

int fdatasync(int file) { return slowly(syscall(SYS_fdatasync, file)); }
