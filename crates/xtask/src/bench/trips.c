/* The least that a message there and back can cost between two processes: the median, in microseconds.
 *
 * usage: trips pipe|spin N
 *
 * `pipe` writes one byte into a pipe and reads one from another; both sides sleep in between. `spin` stores a number into
 * shared memory and looks at another until it changes; nobody sleeps. The figure goes to the file that $figure names.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int there[2], back[2];
static _Atomic long *asked, *answered;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static void hand_over(int from, int to, int first_reads) {
  char byte = 0;
  if (first_reads && read(from, &byte, 1) != 1)
    fail("read");
  if (write(to, &byte, 1) != 1)
    fail("write");
  if (!first_reads && read(from, &byte, 1) != 1)
    fail("read");
}

static void until(_Atomic long *word, long value) {
  while (atomic_load_explicit(word, memory_order_acquire) != value)
    ;
}

static void answer(int spins, long count) {
  for (long i = 1; i <= count; i++) {
    if (spins) {
      until(asked, i);
      atomic_store_explicit(answered, i, memory_order_release);
    } else {
      hand_over(there[0], back[1], 1);
    }
  }
}

static void ask(int spins, long i) {
  if (spins) {
    atomic_store_explicit(asked, i, memory_order_release);
    until(answered, i);
  } else {
    hand_over(back[0], there[1], 0);
  }
}

static int compare(const void *a, const void *b) {
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

int main(int argc, char **argv) {
  const char *report = getenv("figure");
  if (argc != 3 || !report) {
    fputs("usage: figure=FILE trips pipe|spin N\n", stderr);
    return 2;
  }
  int spins = strcmp(argv[1], "spin") == 0;
  long count = atol(argv[2]);
  void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  double *times = calloc(count, sizeof *times);
  if (page == MAP_FAILED || !times || pipe(there) != 0 || pipe(back) != 0)
    fail("trips");
  asked = page;
  answered = asked + 64;
  pid_t pid = fork();
  if (pid < 0)
    fail("fork");
  if (pid == 0) {
    answer(spins, count);
    _exit(0);
  }
  for (long i = 1; i <= count; i++) {
    double begun = now();
    ask(spins, i);
    times[i - 1] = now() - begun;
  }
  int status;
  if (wait(&status) != pid || status != 0)
    fail("the other side");
  qsort(times, count, sizeof *times, compare);
  FILE *file = fopen(report, "w");
  if (!file || fprintf(file, "%f\n", times[count / 2]) < 0 || fclose(file) != 0)
    fail(report);
  return 0;
}
