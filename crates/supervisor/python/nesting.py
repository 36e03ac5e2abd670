"""Items that the item in hand submits to its own pool, and waits for. Between `link.py` and `objects.py` in one script.

1. The item is sent on fd 4, and queued like any other.
2. To wait for it, this side gives back what it holds and has not begun, says for what it waits, and reads frames until
   the outcome is among them. What reaches it meanwhile is given back too.
3. The outcome is a result, an error, or that the item is its own to run, since nobody has begun it. So whoever waits
   waits for something that runs, in a pool of any size.

If this process dies, so does its item, and what that had submitted is cancelled where it was not begun.
"""

SUBMIT, WITHDRAW, WAITS, GOES_ON, RESULT = 34, 39, 18, 19, 64
# Each item that runs inside another takes stack.
MAX_DEPTH = 64


class Nests:
    """The items that this worker has submitted and whose outcome it may still want."""

    def __init__(self, ring, count_of):
        self.ring, self.count_of = ring, count_of
        self.outcomes, self.submitted, self.depth = {}, 0, 0
        self.thread = get_ident()
        # The first item behind those of the batch at work that are not given back.
        self.batch_end = 0

    def submit(self, payload):
        """Submits an item; says its number. What is sent is read before this process needs to send more."""
        self.check()
        if len(payload) > MAX_BODY_BYTES - 64:
            raise ValueError(f"an item of {len(payload)} bytes is over the limit of {MAX_BODY_BYTES}; put it into a file")
        self.submitted += 1
        self.send(SUBMIT, self.submitted, b"", payload)
        return self.submitted

    def forget(self, number):
        """Nobody here wants the outcome any more."""
        if self.outcomes.pop(number, None) is None and not is_forked[0] and get_ident() == self.thread:
            self.send(WITHDRAW, number, b"", b"")

    def has(self, number):
        """Whether the outcome is here."""
        return number in self.outcomes

    def wait(self, number):
        """Waits for the outcome: (how, bytes, buffers), where `how` is as in docs/protocol.md."""
        self.check()
        inbox = self.ring.inbox
        self.give_back(number, True)
        while number not in self.outcomes:
            if not inbox.take():
                # The supervisor has gone.
                os._exit(0)
            self.give_back(number, False)
        self.send(GOES_ON, number, b"", b"")
        # The ring must not tell that the item in hand is done before the supervisor has read what was given back.
        self.ring.await_echo(number)
        flags, meta, payload = self.outcomes.pop(number)
        return (decode(meta.decode())["nested"], *inbox.parts_of(flags, payload))

    def run_own(self, call):
        """Runs an item that nobody has begun, inside the one in hand."""
        if self.depth >= MAX_DEPTH:
            raise RecursionError(f"items inside items, more than {MAX_DEPTH} deep in one worker")
        self.depth += 1
        try:
            return call()
        finally:
            self.depth -= 1

    def give_back(self, number, is_first):
        """Gives back all that is not begun, and says for what is waited, if that is news."""
        inbox, kept, skipped = self.ring.inbox, [], 0
        claimed = self.ring.words[0]
        count = max(self.batch_end - claimed - 1, 0)
        self.batch_end = claimed + 1
        for frame in inbox.waiting:
            items = self.count_of(frame)
            if items == 0:
                kept.append(frame)
            count += items
            if frame[1] & 1:
                if items:
                    os.close(inbox.descriptors.pop(skipped))
                else:
                    skipped += 1
        inbox.waiting[:] = kept
        if is_first or count:
            self.send(WAITS, number, b'{"n":%d}' % count, b"")

    def check(self):
        if is_forked[0] or get_ident() != self.thread:
            raise RuntimeError("only the thread that runs a task can submit to its pool, and no forked child of it")

    def send(self, kind, number, meta, payload):
        with ring_lock:
            write_all(REPLIES, frame_of(kind, number, meta, payload))
