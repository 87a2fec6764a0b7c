"""The notebook of scripts/python: its cells one after the other, and by a kernel of Jupyter where nbclient is installed.

usage: notebook_test.py PROGRAM [unittest arguments]
"""

import ast
import importlib.util
import json
import os
import pathlib
import sys
import tempfile
import unittest
import warnings

SOURCE = pathlib.Path(__file__).resolve().parent.parent
NOTEBOOK = SOURCE / "scripts/python/notebook.ipynb"
os.environ["BITFALL"] = str(pathlib.Path(sys.argv[1]).resolve())
os.environ["PYTHONPATH"] = str(SOURCE / "scripts/python")
sys.path.insert(0, os.environ["PYTHONPATH"])
warnings.filterwarnings("ignore")

MISSING = [name for name in ("torch", "PIL") if not importlib.util.find_spec(name)]


def cells():
    return ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def outputs(codes):
    """What each cell's last line gives, as a kernel shows it."""
    names, found = {}, []
    for code in codes:
        body = ast.parse(code).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), NOTEBOOK.name, "exec"), names)
        value = eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names) if last else None
        html = getattr(value, "_repr_html_", None)
        found.append({"text/plain": repr(value), "text/html": html() if html else None})
    return found


class Notebook(unittest.TestCase):
    def setUp(self):
        self.here = os.getcwd()
        self.folder = tempfile.TemporaryDirectory()
        os.chdir(self.folder.name)

    def tearDown(self):
        os.chdir(self.here)
        self.folder.cleanup()

    def test_is_kept_without_outputs(self):
        for cell in json.loads(NOTEBOOK.read_text())["cells"]:
            self.assertEqual((cell.get("outputs", []), cell.get("execution_count")), ([], None))

    def check(self, shown):
        images, trials, report, table, worst, gate, flips = shown
        self.assertEqual(images["text/plain"], "(60, 32, 32, 3)")
        self.assertEqual(trials["text/plain"], "3584")
        self.assertTrue(report["text/html"].startswith("<iframe srcdoc="))
        self.assertIn("Fault injection report", report["text/html"])
        self.assertEqual(table["text/html"].count("<tr"), 8)  # a header and seven layers
        site, loss, same = ast.literal_eval(worst["text/plain"])
        self.assertEqual((site, same), ("head", True))
        self.assertGreater(loss, 1)
        self.assertIn(gate["text/plain"], (None, "None"))
        self.assertEqual(flips["text/plain"], "[1.0009765625, 1.5, 0.5, inf, -1.0]")

    @unittest.skipIf(MISSING, f"not installed: {MISSING}")
    def test_its_cells(self):
        self.check(outputs(cells()))

    @unittest.skipUnless(importlib.util.find_spec("nbclient") and importlib.util.find_spec("ipykernel"),
                         "Jupyter's client and kernel are not installed (pip install nbclient ipykernel)")  # fmt: skip
    def test_by_a_kernel(self):
        import nbclient
        import nbformat

        notebook = nbformat.read(NOTEBOOK, as_version=4)
        nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": self.folder.name}}).execute()
        shown = []
        for cell in notebook.cells:
            if cell.cell_type == "code":
                results = [out.data for out in cell.outputs if out.output_type == "execute_result"]
                shown.append(results[-1] if results else {"text/plain": None})
        self.check(shown)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
