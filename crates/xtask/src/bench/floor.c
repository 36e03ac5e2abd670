/* The least that N processes can cost: posix_spawn and wait, two at a time, with nothing captured or kept.
 *
 * usage: floor N PROGRAM [numbered]
 *
 * With `numbered` each process gets its number as its argument, as runners give their item. That is no small thing: GNU
 * `true` with one argument sets up its locale before it looks at it, which costs as much as a third of the process.
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
  int numbered = argc == 4 && strcmp(argv[3], "numbered") == 0;
  if (argc != 3 && !numbered) {
    fputs("usage: floor N PROGRAM [numbered]\n", stderr);
    return 2;
  }
  char number[24];
  char *arguments[] = {argv[2], numbered ? number : NULL, NULL};
  long running = 0;
  for (long left = atol(argv[1]); left > 0; left--) {
    if (running == PARALLEL) {
      reap();
      running--;
    }
    snprintf(number, sizeof number, "%ld", left);
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
