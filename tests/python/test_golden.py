"""Holds the Python side to the files of `tests/golden/`; `crates/protocol/tests/golden.rs` does it to Rust."""

import json
import os
import tempfile
import unittest

from worker_host import GOLDEN, HEADER, HELLO, WORDS, NOTHING_CLAIMED, Worker, batch_bytes, frame_bytes


def read(name):
    return (GOLDEN / name).read_bytes()


def sized(payload):
    """The items of a batch, each of which has its length before it."""
    while payload:
        length = int.from_bytes(payload[:4], "little")
        yield payload[4:4 + length]
        payload = payload[4 + length:]


class Golden(unittest.TestCase):
    manifest = json.loads(read("manifest.json"))

    def test_every_file_is_in_the_manifest_and_the_other_way_round(self):
        named = {"manifest.json", "README.md"}
        for entries in self.manifest.values():
            named.update(entry["file"] for entry in entries if "file" in entry)
        for session in self.manifest["sessions"]:
            named.update(f"{session['name']}.{part}" for part in ("request", "hello", "ring"))
        for session in self.manifest["client_sessions"]:
            named.update(f"{session['name']}.{part}" for part in ("requests", "replies"))
        found = {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*") if path.is_file()}
        self.assertEqual(found, named)

    def test_frames_are_what_python_would_write(self):
        for entry in self.manifest["frames"] + self.manifest["client_frames"]:
            with self.subTest(entry["file"]):
                written = frame_bytes(entry["kind"], entry["id"], entry["meta"].encode(), entry["payload"].encode(),
                                      entry["flags"])
                self.assertEqual(written, read(entry["file"]))

    def test_bad_frames_begin_with_a_header_that_says_why(self):
        for entry in self.manifest["refused_frames"]:
            with self.subTest(entry["file"]):
                body_len, kind, flags, meta_len, _ = HEADER.unpack_from(read(entry["file"]))
                known = kind <= 13 and kind != 6
                self.assertTrue(body_len > 64 << 20 or not known or flags > 3 or meta_len > body_len)

    def test_frames_of_clients_say_what_the_document_lists(self):
        requests, replies = {0, 8, 10, 11, 13, 48, *range(32, 37), *range(38, 48)}, {0, 5, 7, 10, 37, 64, 65, 66}
        seen = {"client": set(), "server": set()}
        for entry in self.manifest["client_frames"]:
            with self.subTest(entry["file"]):
                seen[entry["from"]].add(entry["kind"])
                body_len, kind, flags, meta_len, ident = HEADER.unpack_from(read(entry["file"]))
                body = read(entry["file"])[HEADER.size:]
                self.assertEqual((len(body), kind, ident), (body_len, entry["kind"], entry["id"]))
                meta = json.loads(body[:meta_len] or b"{}")
                self.assertIsInstance(meta, dict)
                if kind in (10, 36) and flags == 0:
                    self.assertEqual(len(list(sized(body[meta_len:]))), meta["n"])
                if kind in (0, 32, 33, 37, 65, 66) or "outcome" in meta:
                    self.assertIsInstance(json.loads(body[meta_len:]), dict)
        self.assertEqual(seen, {"client": requests, "server": replies})

    def test_exchanges_of_clients_are_whole_frames(self):
        for session in self.manifest["client_sessions"]:
            for part in ("requests", "replies"):
                with self.subTest(session["name"], part=part):
                    data = read(f"{session['name']}.{part}")
                    kinds = []
                    while data:
                        body_len, kind, _, _, _ = HEADER.unpack_from(data)
                        self.assertGreaterEqual(len(data), HEADER.size + body_len)
                        data = data[HEADER.size + body_len:]
                        kinds.append(kind)
                    self.assertEqual(kinds[0], HELLO)

    def test_replies_hold_what_the_manifest_says(self):
        for entry in self.manifest["replies"]:
            line = read(entry["file"])
            if not line.lstrip().startswith(b"{") or "ok" not in entry["reads"]:
                continue
            with self.subTest(entry["file"]):
                self.assertEqual(json.loads(line)["ok"], json.loads(entry["reads"]["ok"]))

    def test_claims_are_three_words(self):
        for entry in self.manifest["claims"]:
            claimed = NOTHING_CLAIMED if entry["claimed"] is None else entry["claimed"]
            words = WORDS.pack(claimed, entry["started_ns"], entry["published"])
            self.assertEqual(words, read(entry["file"]))

    def test_the_worker_plays_each_exchange_byte_for_byte(self):
        for session in self.manifest["sessions"]:
            with self.subTest(session["name"]), tempfile.TemporaryDirectory() as folder:
                request = read(session["name"] + ".request")
                items = [item.encode() for item in session["items"]]
                self.assertEqual(batch_bytes(session["first"], items), request)
                with Worker(session["target"], session["function"], folder) as worker:
                    worker.send(request)
                    worker.until_replies(len(items))
                    hello = worker.frames[0]
                    self.assertEqual(frame_bytes(HELLO, 0, b"", hello.payload), read(session["name"] + ".hello"))
                    ring = read(session["name"] + ".ring")
                    self.assertEqual(os.pread(worker.claim, len(ring), 64), ring)
                    self.assertEqual(worker.words()[2], len(ring))


if __name__ == "__main__":
    unittest.main()
