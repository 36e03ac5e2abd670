"""The examples of the README run as they stand there."""

import os
import re
import subprocess
import sys
import tempfile

from support import PATIENCE, TOP, PoolTest

import poolctl

EXPECTED = {
    "def square": "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n",
    "WorkerDied": "9\n1\n",
    "asyncio": "[1, 2, 4, 8, 16]\n",
    "fibonacci": "55\n",
}


class Readme(PoolTest):
    def test_each_example_prints_what_it_should(self):
        text = (TOP / "python" / "README.md").read_text(encoding="utf-8")
        examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        self.assertEqual(len(examples), len(EXPECTED))
        for example, (word, expected) in zip(examples, EXPECTED.items()):
            with self.subTest(word), tempfile.TemporaryDirectory() as folder:
                self.assertIn(word, example)
                path = os.path.join(folder, "example.py")
                with open(path, "w", encoding="utf-8") as file:
                    file.write(example)
                env = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(poolctl.__file__))}
                done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=PATIENCE, env=env)
                self.assertEqual(done.stdout, expected, done.stderr)
