#!/usr/bin/env python3
"""scripts/reproduce/table1.sh, table2.sh and published_checkpoints.sh: recipes that the program reads, one row in miniature from end
to end, what is done is not done again, and bad checkpoints.

usage: tables_test.py PROGRAM [unittest arguments]
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

PROGRAM = os.path.abspath(sys.argv.pop(1))
REPRODUCE = Path(__file__).resolve().parents[1] / "scripts/reproduce"
sys.path.insert(0, str(REPRODUCE))
sys.path.insert(0, str(REPRODUCE.parent))
import tables

import export_model
import numpy
import torch
from torch import nn

TORCHVISION = export_model.import_torchvision()


def script(name, *arguments):
    environment = {**os.environ, "BITFALL": PROGRAM, "PYTHONWARNINGS": "ignore"}
    return subprocess.run([REPRODUCE / name, *map(str, arguments)], capture_output=True, text=True, env=environment)


class Recipes(unittest.TestCase):
    def test_rows_are_those_of_the_paper(self):
        self.assertEqual(len(tables.rows_of(1)), 14)
        self.assertEqual(len(tables.rows_of(2)), 8)
        last = [row.published[2] for row in tables.rows_of(1)]
        self.assertAlmostEqual(sum(last) / 14, 5.48, places=2)  # the paper's own average

    def test_training_files_are_read(self):
        # Each is read to its end, and then lacks nothing but the images.
        with tempfile.TemporaryDirectory() as folder:
            options = tables.parse(["1", "--data", folder, "-o", folder])
            for row in tables.rows_of(1):
                with self.subTest(row.name):
                    work = tables.Work(row, options)
                    file = Path(folder) / "train.toml"
                    file.write_text(work.training("baseline"))
                    done = subprocess.run([PROGRAM, "train", file], capture_output=True, text=True)
                    self.assertEqual(done.returncode, 4, done.stderr)
                    self.assertIn(f"{folder}/train: there is no such file or folder", done.stderr)
            # torchvision's arithmetic: 1 - (1 - 0.99998) 4 devices x 256 images x 32 steps / 300 epochs.
            swin = next(row for row in tables.rows_of(1) if row.name == "swin_v2_t").backbone.recipe
            self.assertAlmostEqual(swin.training["ema"], 1 - 2e-5 * 4 * 256 * 32 / 300, places=7)

    def test_classes_of_a_list_are_those_that_the_program_reads(self):
        names = ["tench, Tinca tinca", "cock", "n is no id"]
        with tempfile.TemporaryDirectory() as folder:
            for file, text in (
                    ("names.txt", "\n".join(names) + "\n\n"),
                    ("ids.txt", "".join(f"n0144076{i} {name}\n" for i, name in enumerate(names))),
                    ("array.json", json.dumps(names)),
                    ("index.json", json.dumps({str(i): [f"n0144076{i}", name] for i, name in reversed(list(enumerate(names)))}))):
                path = Path(folder) / file
                path.write_text(text)
                self.assertEqual(tables.listed_classes(path), names, file)
                # The program's own reading: it refuses a network whose classes are others, and names them.
                numpy.save(Path(folder) / "x.npy", numpy.zeros((3, 3, 8, 8), numpy.float32))
                numpy.save(Path(folder) / "y.npy", numpy.arange(3))
                network = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
                torch.jit.trace(network, torch.zeros(2, 3, 8, 8)).save(Path(folder) / "m.pt",
                    _extra_files={"bitfall.json": json.dumps({"classes": names})})
                campaign = Path(folder) / "c.toml"
                campaign.write_text(f'[model]\npath = "m.pt"\n[data]\npath = "x.npy"\nlabels = "y.npy"\nclasses = "{file}"\n'
                                    'preprocess = { scale = 1.0 }\n[[faults]]\nper_site = 1\n[run]\nbatch = 2\nthreads = 1\n')
                done = subprocess.run([PROGRAM, "run", campaign, "--dry-run"], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_wrong_arguments_are_named(self):
        for arguments, told in ((["--only", "resnet51"], "the table has no such row; its rows: alexnet, vgg16_bn"),
                                (["--epochs", "-1"], "--epochs: invalid whole number from 0 value: '-1'"), ([], "give --data FOLDER"),
                                (["--data", "/nowhere", "--only", "alexnet"], "/nowhere/train: there is no such folder")):
            done = script("table1.sh", *arguments)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(told, done.stderr)


class Training(unittest.TestCase):
    def test_steps_of_several_batches_are_pytorchs(self):
        # All images are one step, so that their order counts for nothing.
        torch.manual_seed(3)
        net = nn.Sequential(nn.Flatten(), nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4))
        images, labels = torch.randn(8, 1, 2, 3), torch.arange(8) % 4
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            torch.jit.script(net).save(folder / "net.pt")
            numpy.save(folder / "x.npy", images.numpy())
            numpy.save(folder / "y.npy", labels.numpy())
            (folder / "train.toml").write_text("""
[training]
epochs = 6
batch = 4
accumulate = 2
ema = 0.5
ema_every = 2
ema_after = 2
label_smoothing = 0.1
output = "out"
[model]
path = "net.pt"
[data]
path = "x.npy"
labels = "y.npy"
[optimizer]
kind = "adamw"
learning_rate = 0.05
weight_decay = 0.3
clip_norm = 0.1
no_decay = ["1.bias", "3.*"]
[schedule]
kind = "constant"
""")
            done = subprocess.run([PROGRAM, "train", folder / "train.toml", "--json"], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            told = [json.loads(line) for line in done.stdout.splitlines()]
            last, averaged = (torch.jit.load(folder / "out" / name).state_dict() for name in ("last.pt", "model.pt"))
            wrong = (folder / "train.toml").read_text().replace('"3.*"', '"4.*"')
            (folder / "wrong.toml").write_text(wrong)
            refused = subprocess.run([PROGRAM, "train", folder / "wrong.toml", "-o", folder / "wrong"], capture_output=True, text=True)
            self.assertEqual(refused.returncode, 2)
            self.assertIn("no_decay '4.*' is the name of no parameter; the first is '1.weight'", refused.stderr)
        decayed = [net[1].weight]
        others = [net[1].bias, net[3].weight, net[3].bias]
        optimizer = torch.optim.AdamW([{"params": decayed}, {"params": others, "weight_decay": 0.0}], lr=0.05, weight_decay=0.3)
        mean = {name: value.clone() for name, value in net.state_dict().items()}
        for step in range(1, 7):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(images), labels, label_smoothing=0.1)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            optimizer.step()
            self.assertAlmostEqual(told[step - 1]["loss"], loss.item(), places=5)
            if step % 2 == 0:
                for name, value in net.state_dict().items():
                    mean[name] = value.clone() if step <= 2 else 0.5 * mean[name] + 0.5 * value
        for name, value in net.state_dict().items():
            self.assertLess((last[name] - value).abs().max().item(), 1e-5, name)
            self.assertLess((averaged[name] - mean[name]).abs().max().item(), 1e-5, name)
            self.assertGreater((mean[name] - value).abs().max().item(), 1e-4, name)


@unittest.skipUnless(TORCHVISION, "torchvision is not installed")
class Miniature(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="bitfall_tables_")
        cls.folder = Path(cls.temporary.name)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def test_a_row_from_end_to_end(self):
        out = self.folder / "table1"
        arguments = ["--miniature", "--only", "resnet18", "-o", out]
        first = script("table1.sh", *arguments)
        self.assertEqual(first.returncode, 0, first.stderr)
        row = json.loads((out / "resnet18/row.json").read_text())
        table = (out / "table.md").read_text()
        self.assertIn("| ResNet-18 |", table)
        self.assertIn(table, first.stdout)
        # 5 classes of 512 features: a layer of 512 and a projection in the place of one.
        self.assertEqual(row["parameters"], 512 * 512 + 512 + 5 * 512 + 1 - (5 * 512 + 5))
        self.assertTrue("rescaled" in row or "no baseline at the same scale" in first.stdout)
        made = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.name in ("model.pt", "baseline.pt", "campaign.toml")}
        self.assertGreaterEqual(len(made), 5)
        again = script("table1.sh", *arguments)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual({file: file.stat().st_mtime_ns for file in made}, made)
        self.assertEqual((out / "table.md").read_text(), table)

    def test_a_checkpoint_of_another_backbone_is_named(self):
        folder = self.folder / "checkpoints"
        folder.mkdir()
        torch.manual_seed(1)
        other = TORCHVISION.models.resnet34(num_classes=5)
        torch.save({"model": other.state_dict()}, folder / "resnet18_baseline.pth")
        torch.save({"model": other.state_dict()}, folder / "resnet18_gpt3.pth")
        torch.save({"model": other.state_dict()}, folder / "resnet50_baseline.pth")
        torch.save({}, folder / "something.pth")
        done = script("published_checkpoints.sh", folder, "--miniature", "--outputs", 5, "-o", self.folder / "published")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("something.pth: names no backbone of Table 1", done.stderr)
        self.assertRegex(done.stdout, r"ResNet-18: not done: .*resnet18_baseline\.pth does not fit resnet18")
        self.assertIn("layer1.2.conv1.weight", done.stdout)
        self.assertIn("ResNet-50: not done: text_guided is missing", done.stdout)
        empty = self.folder / "empty"
        empty.mkdir()
        done = script("published_checkpoints.sh", empty, "--data", empty)
        self.assertEqual(done.returncode, 4)
        self.assertIn("holds no checkpoint", done.stderr)


if __name__ == "__main__":
    unittest.main()
