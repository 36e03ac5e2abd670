"""Whether to look again and again for a moment before going to sleep.

Waking a processor that has gone idle takes tens of microseconds, which one call after another pays at each of its four
hops. Who looks again and again instead keeps one awake, and the answer is seen at once. Where all processors are busy
that takes time away from those who work on the answer. Nothing tells beforehand which of both it is, so both are tried,
again and again, and the one that took less time lately is used.
"""

from __future__ import annotations

import os
from os import sched_yield as give_way
from time import perf_counter_ns as clock
from typing import Any, Optional

# So long it is looked at most; an answer that takes longer is slept for.
SPIN_NS = 150_000
# So many waits are tried in each way, the first of which still bears the marks of the other way.
TRIAL = 8
SLEEP, SPIN = 0, 1
# So many waits are then done in the better way. The one that gains nothing is left sooner.
USE = (100, 500)


class Waiter:
    """Waits on a poller, in whatever way took less time lately."""

    def __init__(self, poller: Any) -> None:
        self.poll = poller.poll
        self.costs: tuple[list[int], list[int]] = [], []
        self.best = SLEEP
        self.turn = -1
        # On one processor there is nobody to be faster than.
        self.is_alone = len(os.sched_getaffinity(0)) < 2

    def wait(self, timeout: Optional[float]) -> list[tuple[int, int]]:
        """What the poller gives; for the answer to the only call that there is."""
        if self.is_alone:
            return self.poll(timeout)  # type: ignore[no-any-return]
        turn = self.turn = self.turn + 1
        if turn >= 2 * TRIAL:
            way = self.best
            if turn >= 2 * TRIAL + USE[way]:
                self.turn = -1
            if way == SLEEP:
                return self.poll(timeout)  # type: ignore[no-any-return]
        else:
            way = SPIN if turn < TRIAL else SLEEP
        begun = clock()
        events: list[tuple[int, int]] = []
        if way == SPIN:
            poll, end, looks = self.poll, begun + SPIN_NS, 0
            while not events and clock() < end:
                looks += 1
                if looks % 8 == 0:
                    # Those who work on the answer may be on this same processor.
                    give_way()
                events = poll(0)
        if not events:
            events = self.poll(timeout)
        if turn < 2 * TRIAL:
            self.learn(turn, way, clock() - begun)
        return events

    def learn(self, turn: int, way: int, cost: int) -> None:
        """Takes note of what a trial took, and chooses by the medians after the last one."""
        if turn % TRIAL:
            self.costs[way].append(cost)
        if turn == 2 * TRIAL - 1 and all(self.costs):
            sleeping, spinning = (sorted(costs)[len(costs) // 2] for costs in self.costs)
            self.best = SPIN if spinning < sleeping else SLEEP
            self.costs[SLEEP].clear()
            self.costs[SPIN].clear()
