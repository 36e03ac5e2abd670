"""Whether who waits looks again and again or sleeps: what took less time lately."""

import unittest
from unittest import mock

from poolctl import spinning


class Poller:
    """Time goes on only while it is looked: an answer comes so long after the wait began, a sleeper sees it later."""

    def __init__(self, answer_ns, waking_ns):
        self.answer_ns, self.waking_ns = answer_ns, waking_ns
        self.now = self.begun = 0
        self.looks = 0

    def clock(self):
        return self.now

    def poll(self, timeout):
        if timeout == 0:
            self.looks += 1
            self.now += 1000
            return [(3, 1)] if self.now - self.begun >= self.answer_ns else []
        self.now = max(self.now, self.begun + self.answer_ns) + self.waking_ns
        return [(3, 1)]


class Choice(unittest.TestCase):
    def looks_after_trial(self, poller, outlier=None):
        """How often it looks without sleeping in 50 waits, once both ways were tried; `outlier` is a wait that takes long."""
        with mock.patch.object(spinning, "clock", poller.clock), \
                mock.patch.object(spinning.os, "sched_getaffinity", lambda _: {0, 1}):
            waiter = spinning.Waiter(poller)
            for number in range(2 * spinning.TRIAL + 50):
                if number == 2 * spinning.TRIAL:
                    poller.looks = 0
                poller.begun = poller.now
                if number == outlier:
                    poller.begun += 10_000_000
                self.assertEqual(waiter.wait(None), [(3, 1)])
        return poller.looks

    def test_it_looks_again_and_again_where_waking_up_takes_longer(self):
        self.assertEqual(self.looks_after_trial(Poller(answer_ns=20_000, waking_ns=50_000)), 50 * 20)

    def test_it_sleeps_where_the_answer_takes_longer_than_it_looks(self):
        self.assertEqual(self.looks_after_trial(Poller(answer_ns=400_000, waking_ns=0)), 0)

    def test_one_late_answer_does_not_decide(self):
        late = spinning.TRIAL // 2
        self.assertEqual(self.looks_after_trial(Poller(answer_ns=20_000, waking_ns=50_000), outlier=late), 50 * 20)

    def test_on_one_processor_it_only_sleeps(self):
        poller = Poller(answer_ns=20_000, waking_ns=50_000)
        with mock.patch.object(spinning.os, "sched_getaffinity", lambda _: {0}):
            waiter = spinning.Waiter(poller)
            self.assertEqual([waiter.wait(None) for _ in range(50)], [[(3, 1)]] * 50)
        self.assertEqual(poller.looks, 0)


if __name__ == "__main__":
    unittest.main()
