#!/usr/bin/env python3
"""Campaigns that go on until a rate is known as well as wanted: against every fault of a small network, one by one.

usage: precision_test.py PROGRAM [unittest arguments]
"""

import csv
import io
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import numpy
import torch
from torch import nn

PROGRAM = Path(sys.argv.pop(1)).resolve()
IMAGES = 8
SEEDS = 12


class Precision(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="bitfall_precision_"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        torch.manual_seed(2)
        network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5))
        torch.jit.script(network.eval()).save(str(cls.folder / "m.pt"))
        rng = numpy.random.default_rng(0)
        numpy.save(cls.folder / "x.npy", rng.standard_normal((IMAGES, 2, 8, 8)).astype(numpy.float32))
        numpy.save(cls.folder / "y.npy", numpy.arange(IMAGES) % 5)

    def bitfall(self, *arguments, code=0):
        done = subprocess.run([PROGRAM, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if code == 0 else done.stderr

    def campaign(self, name, faults="precision = { halfwidth = 0.01 }", seed=1, number_format="fp16", more=""):
        (self.folder / f"{name}.toml").write_text(f"""
[campaign]
output = "{name}"
seed = {seed}
[model]
path = "m.pt"
[data]
path = "x.npy"
labels = "y.npy"
[format]
id = "{number_format}"
[[faults]]
{faults}
[run]
batch = 8
threads = 1
workers = 2
{more}
""")
        return f"{name}.toml"

    def report(self, run):
        return json.loads(self.bitfall("report", run, "--json"))

    def trials(self, run):
        return list(csv.DictReader(io.StringIO(self.bitfall("export", run, "--csv"))))

    @classmethod
    def truth(cls):
        """Of every single flip of every bit of every value and image: mismatches by layer and bit, and changes of loss."""
        if hasattr(cls, "exhaustive"):
            return cls.exhaustive
        self = cls("test_is_as_precise_as_asked_and_right")
        sizes = {"0": 4 * 6 * 6, "2": 3 * 4 * 4, "5": 5}
        with (self.folder / "all.csv").open("w") as file:
            file.write("site,image,target,element,register,op,mask\n")
            for site, values in sizes.items():
                for image in range(IMAGES):
                    for element in range(values):
                        for bit in range(16):
                            file.write(f"{site},{image},activation,{element},payload,flip,{1 << bit:#x}\n")
        self.bitfall("run", self.campaign("all", faults=""), "--faults", "all.csv")
        report = self.report("all")
        by_layer = {row["name"]: row["mismatch"]["rate"] for row in report["layers"]}
        by_bit = {row["bit"]: row["mismatch"]["rate"] for row in report["bits"]}
        cls.exhaustive = report["network"], by_layer, by_bit
        return cls.exhaustive

    def test_is_as_precise_as_asked_and_right(self):
        network, by_layer, by_bit = self.truth()
        truth = network["mismatch"]["rate"]
        self.assertGreater(truth, 0.01)
        for halfwidth, by_values in ((0.01, False), (0.006, True)):  # a wide goal takes too few trials for so many strata
            with self.subTest(halfwidth):
                self.precise(halfwidth, by_values, truth, by_layer)

    def precise(self, halfwidth, by_values, truth, by_layer):
        found, covered, layers_covered = [], 0, 0
        for seed in range(SEEDS):
            self.bitfall("run", self.campaign("goal", f"precision = {{ halfwidth = {halfwidth} }}", seed=seed), "--force")
            report = self.report("goal")
            sampling = report["sampling"]
            low, high = sampling["interval"]
            self.assertTrue(sampling["met"])
            self.assertEqual(any(" = " in row["bits"] for row in sampling["strata"]), by_values)
            self.assertLessEqual((high - low) / 2, halfwidth)
            self.assertAlmostEqual(report["network"]["mismatch"]["rate"], sampling["rate"], places=12)
            found.append(sampling["rate"])
            covered += low <= truth <= high
            for row in report["layers"]:
                layers_covered += row["mismatch"]["interval"][0] <= by_layer[row["name"]] <= row["mismatch"]["interval"][1]
        error = numpy.std(found, ddof=1) / len(found) ** 0.5
        self.assertLess(abs(numpy.mean(found) - truth), 4 * error)
        self.assertGreaterEqual(covered, SEEDS - 1)
        self.assertGreaterEqual(layers_covered, 0.95 * 3 * SEEDS)

    def test_rows_are_weighted(self):
        """A narrow goal: every figure that is weighted comes near that of all faults."""
        network, by_layer, by_bit = self.truth()
        self.bitfall("run", self.campaign("narrow", "precision = { halfwidth = 0.002 }"))
        report = self.report("narrow")
        self.assertEqual([row["name"] for row in report["layers"]], list(by_layer))
        for row in report["layers"]:
            self.assertAlmostEqual(row["mismatch"]["rate"], by_layer[row["name"]], delta=0.03)
        for row in report["bits"]:
            if row["bit"] in (15, 14, 13):
                self.assertAlmostEqual(row["mismatch"]["rate"], by_bit[row["bit"]], delta=0.03)
        for key in ("mismatch", "misclassified"):
            self.assertAlmostEqual(report["network"][key]["rate"], network[key]["rate"], delta=0.006)
        masked = [group["masked"] / group["trials"] for group in (report["network"], network)]
        self.assertAlmostEqual(*masked, delta=0.02)
        # A cell of layers by bits has strata of several values, drawn more or less often.
        whole = {(row["layer"], row["bit"]): row for row in self.report("all")["layer_bits"]}
        cells = [row for row in report["layer_bits"] if row["bit"] in (14, 13)]
        self.assertEqual(len(cells), 6)
        for row in cells:
            truth = whole[row["layer"], row["bit"]]
            self.assertAlmostEqual(truth["rate"], truth["mismatches"] / truth["trials"])
            error = (truth["rate"] * (1 - truth["rate"]) / row["trials"]) ** 0.5  # that of plain trials, which is larger
            self.assertAlmostEqual(row["rate"], truth["rate"], delta=3 * error, msg=row)
            self.assertAlmostEqual(row["clipped"], truth["clipped"], delta=0.25 * truth["clipped"], msg=row)
        self.assertGreater(max(abs(row["mismatches"] / row["trials"] - row["rate"]) for row in cells), 0.08)
        clipped = [group["delta_loss"]["mean_clipped"] for group in (report["network"], network)]
        self.assertAlmostEqual(*clipped, delta=0.1 * clipped[1])
        strata = report["sampling"]["strata"]
        self.assertAlmostEqual(sum(row["weight"] for row in strata), 1)
        self.assertEqual(sum(row["trials"] + row["pilot"] for row in strata), report["done"])
        # What a reader of the trials makes of the weights.
        with sqlite3.connect(self.folder / "narrow" / "campaign.sqlite") as database:
            means = "SELECT entry, site, avg(mismatch) FROM v_trials WHERE trial >= ? GROUP BY entry, site"
            found = {row[:2]: row[2] for row in database.execute(means, (report["sampling"]["pilot"],))}
        rate = sum(row["weight"] * found[row["entry"], row["site"]] for row in strata if row["weight"])
        self.assertAlmostEqual(rate, report["sampling"]["rate"], places=12)
        # More where more is uncertain.
        each = {(row["site"], row["bits"]): row["trials"] / row["weight"] for row in strata if row["weight"]}
        self.assertGreater(each["0", "bit 14 = 0, +"], 2 * each["0", "bits 0-1"])

    def test_weights_are_those_of_the_values(self):
        """Shares of the strata against values that the program shows, bit by bit and sign by sign."""
        self.bitfall("run", self.campaign("shares", "precision = { halfwidth = 0.005 }"))
        rows = [row for row in self.report("shares")["sampling"]["strata"] if row["site"] == "2"]
        self.bitfall("values", "shares.toml", "--site", "2", "--codes", "codes.npy", "-o", "values.npy")
        codes = numpy.load(self.folder / "codes.npy").reshape(-1)
        faults = 16 * IMAGES * (4 * 36 + 3 * 16 + 5)
        for row in rows:
            if " = " not in row["bits"]:
                continue
            bit, state, sign = row["bits"].removeprefix("bit ").replace(",", "").replace("= ", "").split()
            found = ((codes >> int(bit) & 1) == int(state)) & ((codes >> 15 == 1) == (sign == "-"))
            self.assertAlmostEqual(row["weight"], found.sum() / faults, places=12, msg=row["bits"])
        self.assertEqual(len(rows), 5 + 6 * 4)

    def test_trials_find_what_their_stratum_says(self):
        self.bitfall("run", self.campaign("find", "precision = { halfwidth = 0.006 }"))
        with sqlite3.connect(self.folder / "find" / "campaign.sqlite") as database:
            rows = database.execute("SELECT site, entry, mask, code_before, image FROM trials").fetchall()
            names = dict(database.execute("SELECT id, name FROM sites"))
        parts = json.loads(self.facts("find")["sampling"])["parts"]
        seen = set()
        for site, entry, mask, code, image in rows:
            part, code = parts[entry], code & 0xFFFF
            bit = mask.bit_length() - 1
            self.assertTrue(part["bits"]["first"] <= bit <= part["bits"]["last"])
            if part["finds"] >= 0:
                self.assertEqual(part["finds"], (code >> bit & 1) + 2 * (code >> 15), (names[site], bit, code))
                seen.add(part["finds"])
        self.assertEqual(seen, {0, 1, 2, 3})

    def test_one_value_of_its_kind_is_found(self):
        """A class with a single value among twenty thousand, which drawing would hardly meet."""
        network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(10_000, 3))
        with torch.no_grad():
            network[0].weight.fill_(1)
            network[0].bias.zero_()
        torch.jit.script(network.eval()).save(str(self.folder / "wide.pt"))
        images = numpy.abs(numpy.random.default_rng(1).standard_normal((2, 1, 100, 100))).astype(numpy.float32) + 0.01
        images[1, 0, 12, 34] = -1.5
        numpy.save(self.folder / "wide.npy", images)
        numpy.save(self.folder / "wide_labels.npy", numpy.array([0, 1]))
        file = self.folder / self.campaign("rare", 'precision = { halfwidth = 0.005, minimum = 6 }\noperations = ["conv"]', number_format="fp32")
        text = file.read_text().replace("m.pt", "wide.pt").replace("x.npy", "wide.npy").replace("y.npy", "wide_labels.npy")
        file.write_text(text.replace("batch = 8", "batch = 2"))
        self.bitfall("run", file)
        parts = json.loads(self.facts("rare")["sampling"])["parts"]
        with sqlite3.connect(self.folder / "rare" / "campaign.sqlite") as database:
            rows = database.execute("SELECT entry, image, element FROM trials").fetchall()
        minus = [(image, element) for entry, image, element in rows if parts[entry]["finds"] >= 2]
        self.assertEqual(set(minus), {(1, 1234)})
        self.assertGreaterEqual(len(minus), 6 * 9)
        self.assertIn("equal", self.bitfall("replay", "rare", "--trial", next(i for i, row in enumerate(rows) if parts[row[0]]["finds"] >= 2)))

    def test_over_layers(self):
        _, by_layer, _ = self.truth()
        goal = "precision = { halfwidth = 0.01, over = \"layers\", confidence = 0.95, of = \"mismatch\" }"
        self.bitfall("run", self.campaign("layers", goal))
        sampling = self.report("layers")["sampling"]
        self.assertEqual((sampling["over"], sampling["confidence"]), ("layers", 0.95))
        self.assertAlmostEqual(sampling["rate"], sum(by_layer.values()) / 3, delta=0.02)
        self.bitfall("report", "layers", "--fail-if", f"mismatch > {sampling['interval'][1] + 0.02}")
        failed = subprocess.run([PROGRAM, "report", "layers", "--fail-if", "mismatch > 0.01"], cwd=self.folder, capture_output=True)
        self.assertNotEqual(failed.returncode, 0)

    def test_goes_on_after_kills_and_replays(self):
        goal = "precision = { halfwidth = 0.002, minimum = 30 }"
        end = json.loads(self.bitfall("run", self.campaign("whole", goal), "--json"))
        self.assertGreater(len(json.loads(self.facts("whole")["sampling"])["rounds"]), 0)
        text = (self.folder / self.campaign("killed", goal, more="commit_every = 50")).read_text()
        self.assertIn("commit_every", text)
        stopped = 0
        for attempt in range(8):
            run = subprocess.Popen([PROGRAM, "run", "killed.toml", "--resume"], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.25 + 0.1 * attempt)
            if run.poll() is None:
                stopped += 1
                run.send_signal(signal.SIGKILL)
            run.wait()
            if run.returncode == 0:
                break
        if run.returncode != 0:
            self.bitfall("run", "killed.toml", "--resume")
        self.assertGreater(stopped, 0)
        self.assertIn(end["digest"], self.bitfall("status", "killed"))
        last = end["done"] - 1
        self.assertIn("equal", self.bitfall("replay", "killed", "--trial", last))
        self.assertEqual(len(self.trials("killed")), end["done"])

    def facts(self, run):
        with sqlite3.connect(self.folder / run / "campaign.sqlite") as database:
            return dict(database.execute("SELECT key, value FROM facts"))

    def test_a_maximum_ends_it(self):
        file = self.campaign("most", "precision = { halfwidth = 0.0001, maximum = 450, minimum = 2 }")
        done = subprocess.run([PROGRAM, "run", file], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("the goal was not reached", done.stderr)
        report = self.report("most")
        self.assertFalse(report["sampling"]["met"])
        self.assertLessEqual(report["done"], 450)
        self.assertGreater(report["done"], 380)
        self.assertIn("takes more", self.bitfall("run", self.campaign("less", "precision = { halfwidth = 0.01, maximum = 40 }"), code=2))

    def test_a_run_between_rounds_is_not_finished(self):
        """As one that was killed when the pilot was stored and nothing else."""
        self.bitfall("run", self.campaign("between", "precision = { halfwidth = 0.01 }"))
        whole = self.bitfall("status", "between")
        with sqlite3.connect(self.folder / "between" / "campaign.sqlite") as database:
            sampling = json.loads(self.facts("between")["sampling"])
            strata = database.execute("SELECT id, trials FROM strata ORDER BY id").fetchall()
            pilot = [trials - sum(more[i] for more in sampling["rounds"]) for i, trials in strata]
            sampling["rounds"] = []
            database.execute("UPDATE facts SET value = ? WHERE key = 'sampling'", (json.dumps(sampling),))
            for i, trials in enumerate(pilot):
                database.execute("UPDATE strata SET trials = ? WHERE id = ?", (trials, i))
            database.execute("UPDATE campaign SET trials = ?", (sum(pilot),))
            database.execute("DELETE FROM trials WHERE trial >= ?", (sum(pilot),))
            database.execute("DELETE FROM facts WHERE key IN ('finished', 'digest', 'digest_of_remarks', 'digest_of_description')")
        report = self.report("between")
        self.assertIn("whether another round is needed", " ".join(report["warnings"]))
        self.assertFalse(report["sampling"]["met"])
        # Of half a pilot the rate is of what is known.
        gate = subprocess.run([PROGRAM, "report", "between", "--fail-if", "mismatch > 0.99"], cwd=self.folder, capture_output=True, text=True)
        self.assertNotEqual(gate.returncode, 0)
        self.assertIn("not complete", gate.stderr + gate.stdout)
        with sqlite3.connect(self.folder / "between" / "campaign.sqlite") as database:
            database.execute("DELETE FROM trials WHERE trial >= ?", (sum(pilot) // 3,))
        self.assertAlmostEqual(self.report("between")["sampling"]["rate"], self.report("between")["network"]["mismatch"]["rate"], places=12)
        self.bitfall("resume", "between")
        self.assertEqual(self.bitfall("status", "between"), whole)

    def test_dry_run_names_the_strata(self):
        text = self.bitfall("run", self.campaign("dry"), "--dry-run")
        self.assertIn("0 bits 0-1", text)
        self.assertIn("These are the pilot", text)
        strata = json.loads(self.bitfall("run", "dry.toml", "--dry-run", "--json"))["strata"]
        self.assertEqual({row["bits"] for row in strata if row["site"] == "5"}, {row["bits"] for row in strata})

    def test_refuses_what_it_cannot_do(self):
        goal = "precision = { halfwidth = 0.01%s }\n"
        for faults, words in (
            (goal % ", of = \"mismach\"", "mismatch"),
            (goal % ", of = \"output_error_max\"", "no event but a quantity"),
            (goal % "" + "permanent = true", "does not count permanent faults"),
            (goal % "" + "[[faults]]\nper_site = 3", "the only entry"),
            (goal % "" + "per_site = 3", "cannot be used together"),
            (goal % "" + "error_model = { id = \"bit_flip_where\", values = \"positive\" }", "nobody knows how many faults"),
            (goal % "" + "[[protect]]\nprotection = \"nan_guard\"", "each fault as likely"),
            ("precision = {}", "missing key 'halfwidth'"),
            ("precision = { halfwidth = 2 }", "must be"),
            ("precision = \"fine\"", "must be a number or a table"),
            (goal % ", half = 1", "unknown key 'half'"),
        ):
            with self.subTest(faults):
                self.assertIn(words, self.bitfall("run", self.campaign("bad", faults), code=2))
        file = self.campaign("whole_only")
        for arguments in (("run", file, "--shard", "1/2"), ("run", file, "--isolate"), ("plan", file, "-o", "plan", "--shards", "2")):
            with self.subTest(arguments):
                self.assertIn("draws each round by the trials before", self.bitfall(*arguments, code=2))
        self.bitfall("run", file)
        self.assertIn("drawn by strata", self.bitfall("compare", "whole_only", "whole_only", code=2))

    def test_faults_that_are_no_bits_are_drawn_by_layer(self):
        for name, model in (
            ("values", '{ id = "random_value" }'),
            ("two", '{ id = "bit_flip", bits = 2 }'),
            ("rate", '{ id = "bit_error_rate", rate = 0.001 }'),
            ("some", '{ id = "bit_flip", bit_range = [10, 15] }'),
            ("spatial", '{ id = "spatial", pattern = "row" }'),
        ):
            with self.subTest(name):
                self.bitfall("run", self.campaign(name, f"error_model = {model}\nprecision = {{ halfwidth = 0.05 }}"))
                sampling = self.report(name)["sampling"]
                self.assertEqual([row["bits"] for row in sampling["strata"]], [""] * 3)
                self.assertTrue(sampling["met"])
        # A fault of many bits is no mean of faults of a few.
        self.bitfall("run", self.campaign("alike", 'error_model = { id = "bit_error_rate", rate = 0.001 }\ntotal = 2000'))
        rate = self.report("rate")["sampling"]["rate"]
        self.assertAlmostEqual(rate, self.report("alike")["network"]["mismatch"]["rate"], delta=0.1)

    def test_every_format_has_parts_that_suit_it(self):
        stuck = 'error_model = { id = "stuck_at", value = 1 }\nprecision = { halfwidth = 0.005 }'
        self.bitfall("run", self.campaign("stuck", stuck, number_format="int8"))
        report = self.report("stuck")
        self.assertEqual([row["name"][:5] for row in report["bits"]], [f"bit {bit}" for bit in range(8)])
        self.assertEqual({row["bit_class"] for row in report["bit_classes"]}, {"sign", "mantissa"})
        for name, first, second in (("narrow_first", "fp16", "fp32"), ("wide_first", "fp32", "fp16"), ("posits", "posit8", "fp16")):
            with self.subTest(name):
                other = f'[[formats]]\nformat = "{second}"\nsites = ["0"]'
                self.bitfall("run", self.campaign(name, "precision = { halfwidth = 0.006 }", number_format=first, more=other))
                report = self.report(name)
                self.assertTrue(report["sampling"]["met"])
                self.assertEqual(sum(row["trials"] for row in report["bit_classes"]), report["network"]["trials"])
        self.assertIn("exponent", {row["bit_class"] for row in self.report("posits")["bit_classes"]})


if __name__ == "__main__":
    unittest.main()
