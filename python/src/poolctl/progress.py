"""Shows how far a map is: with tqdm where that is installed, else as a line on stderr."""

from __future__ import annotations

import sys
from _thread import allocate_lock
from typing import Callable


def bar(total: int) -> Callable[[int], None]:
    """A function that is told how many more items have ended, and 0 at the end."""
    lock = allocate_lock()
    try:
        from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return line(total)
    shown = tqdm(total=total)

    def show(more: int) -> None:
        with lock:
            if more:
                shown.update(more)
            else:
                shown.close()

    return show


def line(total: int) -> Callable[[int], None]:
    done, lock = [0], allocate_lock()

    def show(more: int) -> None:
        with lock:
            before, done[0] = done[0], done[0] + more
            if more == 0:
                sys.stderr.write("\n")
            elif before * 100 // total != done[0] * 100 // total:
                sys.stderr.write(f"\r{done[0]} of {total}")
                sys.stderr.flush()

    return show
