"""Tests of CPython's that are not run with poolctl's classes: `suite.test` → why.

A test that skips itself needs no line here; its own reason is shown. A line whose test does not exist is an error.
"""

SKIPS = {}
