"""Tests of joblib's that are not run with poolctl as the backend: function, or function with parameters → why."""

SKIPS = {}
