#!/usr/bin/env python3
"""All Python of the tree without running it: names that nothing binds. And scripts that no other test runs, in small.

usage: scripts_test.py PROGRAM SOURCE_FOLDER [unittest arguments]
"""

import ast
import builtins
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(sys.argv.pop(1)).resolve()
SOURCE = pathlib.Path(sys.argv.pop(1)).resolve()
DATA = pathlib.Path(os.environ.get("BITFALL_DATA", SOURCE / "../shared/data"))
KNOWN = set(dir(builtins)) | {"__file__"}


def unbound(text):
    """Names that a module reads and that are bound nowhere in it, in whatever scope."""
    bound, read = set(KNOWN), set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
        elif isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
            bound.add(node.name)
    return read - bound


class Scripts(unittest.TestCase):
    def test_every_name_is_bound(self):
        files = [path for folder in ("scripts", "tests", "plugins", "core") for path in sorted((SOURCE / folder).rglob("*.py"))]
        self.assertGreater(len(files), 50)
        for path in files:
            with self.subTest(path.relative_to(SOURCE)):
                self.assertEqual(unbound(path.read_text()), set())
        self.assertEqual(unbound("import json\ndef f(a):\n    return os.path, json, a, [x for x in a]\n"), {"os"})

    @unittest.skipUnless((DATA / "cifar10/resnet20-12fca82f.th").is_file() and (SOURCE / "data/cifar10/test_lossless").is_dir(),
                         "needs ../shared/data/cifar10, prepared by scripts/prepare_cifar10.sh")  # fmt: skip
    def test_equal_scale(self):
        """What no training is: tables of the network with its logits divided, from the first step to the last."""
        with tempfile.TemporaryDirectory(prefix="bitfall_scripts_") as folder:
            command = [sys.executable, SOURCE / "scripts/reproduce/equal_scale.py", "--networks", "resnet20", "--settings", "fp16_clamped",
                       "--limit", "6", "--out", folder]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
            self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr[-2000:])
            tables = (pathlib.Path(folder) / "tables.md").read_text()
            self.assertIn("resnet20", tables)


if __name__ == "__main__":
    unittest.main()
