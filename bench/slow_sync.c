/* Preloaded into one process: each fsync and fdatasync takes 20 ms longer. Its children are left alone. */
#define _GNU_SOURCE
#include <stdlib.h>
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

__attribute__((constructor)) static void only_here(void) { unsetenv("LD_PRELOAD"); }
