/* The least that N processes can cost: posix_spawn and wait, two at a time, with nothing captured or kept.
 *
 * usage: floor N PROGRAM
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

enum { PARALLEL = 2 };

/* Waits for any child; gives up where it failed, so that the figure is of work that was done. */
static void reap(void) {
  int status;
  if (wait(&status) < 0 || status != 0) {
    fputs("floor: a child failed\n", stderr);
    exit(1);
  }
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fputs("usage: floor N PROGRAM\n", stderr);
    return 2;
  }
  char *arguments[] = {argv[2], NULL};
  long running = 0;
  for (long left = atol(argv[1]); left > 0; left--) {
    if (running == PARALLEL) {
      reap();
      running--;
    }
    pid_t pid;
    if (posix_spawn(&pid, argv[2], NULL, NULL, arguments, environ) != 0) {
      perror("floor: posix_spawn");
      return 1;
    }
    running++;
  }
  for (; running > 0; running--)
    reap();
  return 0;
}
