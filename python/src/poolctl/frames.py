"""The frames of the client protocol (docs/protocol.md)."""

from __future__ import annotations

from _struct import Struct

HELLO, LOG, BATCH, DEFINE, RELEASE = 0, 7, 10, 11, 13
OPEN, ATTACH, SUBMIT, CREDIT, CANCEL, SCALE, STATS = 32, 33, 34, 37, 39, 40, 41
CLOSE, TERMINATE, RESULT, EVENT, ERROR = 46, 47, 64, 65, 66

HEADER = Struct("<IBBHQ")
HEADER_BYTES = 16
LENGTH = Struct("<I")
IN_MEMFD = 1
NO_ID = (1 << 64) - 1
MAX_FRAME_BYTES = 1 << 20


def frame(kind: int, number: int, meta: bytes = b"", payload: bytes = b"", flags: int = 0) -> bytes:
    return HEADER.pack(len(meta) + len(payload), kind, flags, len(meta), number) + meta + payload
