"""The experiment on heads (scripts/reproduce/heads.py): what its figures are made of, by hand.

usage: heads_test.py
"""

import json
import math
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom

SOURCE = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(SOURCE / "scripts/reproduce"), str(SOURCE / "scripts")]

import numpy  # noqa: E402
import torch  # noqa: E402

import cifar_resnet  # noqa: E402
import heads_features  # noqa: E402
import heads_tables  # noqa: E402

SETTINGS = {"flips": {"head": 8, "backbone": 4}, "images": {"attacked": 10}, "epochs": 30}


def arm(name, last, network, accuracy=0.9, rule="v2"):
    """What compare.json says of an arm, as far as the tables read it."""
    losses = {"delta_loss": {"value": last}}
    means = {"delta_loss": {"value": network}, "mismatch": {"value": 0.25}}
    return {
        "label": name,
        "golden_accuracy": {"rate": accuracy},
        "top2diff": {"value": 0.5},
        "nll": {"value": 0.25},
        "last_layer": {"combinations": [{"of": rule, "values": losses}]},
        "networks": [
            {"over": "layers", "weights": "bits", "values": {}},
            {"over": "layers", "weights": "equal", "values": means},
        ],
    }


class Tables(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.folder = pathlib.Path(made.name)

    def write(self, seed, *arms):
        (self.folder / f"seed{seed}").mkdir()
        (self.folder / f"seed{seed}/compare.json").write_text(json.dumps({"arms": arms}))

    def read(self):
        return heads_tables.read(self.folder, ["linear", "both", "descriptions"])

    def test_quantiles_are_students(self):
        # Abramowitz and Stegun, table 26.10.
        for p, degrees, t in ((0.975, 1, 12.706), (0.975, 4, 2.776), (0.95, 19, 1.729)):
            self.assertAlmostEqual(heads_tables.quantile_t(p, degrees), t, 3)

    def test_ratios_are_by_seed(self):
        for seed, text in ((1, 2.0), (2, 8.0), (10, 4.0)):
            self.write(
                seed, arm("linear", 8, 1, rule="v"), arm("both", 4, 1), arm("descriptions", text, 1)
            )
        seeds = self.read()
        self.assertEqual(list(seeds), [1, 2, 10])
        ratios = heads_tables.log_ratios(seeds, "both", "descriptions", "last")
        self.assertEqual([math.exp(v) for v in ratios.values()], [2, 0.5, 1])
        # SD ln 2, three seeds, t = 4.303: a factor of exp(4.303 ln 2 / sqrt 3) either way.
        mean, low, high = heads_tables.interval(list(ratios.values()), 0.95)
        self.assertAlmostEqual(mean, 0)
        self.assertAlmostEqual(math.exp(high), 5.596, 2)
        self.assertAlmostEqual(low, -high)
        self.assertEqual(heads_tables.verdict(list(ratios.values()), True), "undecided")
        text = heads_tables.tables(seeds, SETTINGS, True)
        heads_tables.write_csv(seeds, self.folder / "seeds.csv")
        self.assertEqual(heads_tables.tables(heads_tables.read_csv(self.folder / "seeds.csv"), SETTINGS, True), text)
        self.assertIn("3 seeds (1, 2, 10)", text)
        self.assertIn("| last layer | 1 [0.179, 5.59] |", text)
        heads_tables.figure(seeds, self.folder / "figure.svg")
        xml.dom.minidom.parse(str(self.folder / "figure.svg"))

    def test_verdicts_are_those_registered(self):
        for ratios, words in (
            ([0.01, -0.01, 0.02, 0.0], "within [0.90, 1.11]"),
            ([0.02, 0.03, 0.025, 0.028], "within [0.90, 1.11] and above 1"),
            ([0.5, 0.6, 0.55], "above 1"),
            ([-0.5, -0.6, -0.55], "below 1"),
            ([0.3, -0.3], "undecided"),
            ([0.0], "-"),
        ):
            self.assertEqual(heads_tables.verdict(ratios, True), words)
            self.assertEqual(heads_tables.verdict(ratios, False), "-")

    def test_what_diverged_is_named_and_unfinished_seeds_wait(self):
        good = arm("linear", 8, 1, rule="v"), arm("both", 4, 1), arm("descriptions", 4, 1)
        self.write(1, *good)
        self.write(2, *good[:2], arm("descriptions", 1, 1, accuracy=0.1))
        self.write(3, *good[:2])
        seeds = self.read()
        self.assertEqual(list(seeds), [1, 2])
        self.assertEqual(list(heads_tables.log_ratios(seeds, "both", "descriptions", "last")), [1])
        self.assertIn("diverged: seed 2: descriptions", heads_tables.tables(seeds, SETTINGS, True))
        small = heads_tables.tables(seeds, SETTINGS, False)
        self.assertIn("no verdict", small)
        self.assertEqual(heads_tables.tables({}, SETTINGS, True), "No seed is complete.\n")


class Features(unittest.TestCase):
    def test_are_what_the_last_layer_is_given(self):
        torch.manual_seed(1)
        network = torch.jit.script(cifar_resnet.cifar_resnet(20).eval())
        images = torch.rand(3, 3, 32, 32)
        features = heads_features.features_of(network, images)
        self.assertEqual(features.shape, (3, 64))
        self.assertTrue(torch.equal(network.linear(features), network(images)))

    def test_rows_are_of_the_kinds_that_their_names_say(self):
        with tempfile.TemporaryDirectory() as made:
            folder = pathlib.Path(made)
            chance = numpy.random.default_rng(5)
            text = heads_features.unit(chance.standard_normal((10, 32)) + 1)
            numpy.save(folder / "descriptions.npy", text)
            rows = {
                (seed, kind): numpy.load(heads_features.rows(folder, seed, kind))
                for seed in (1, 2)
                for kind in ("unit", "rotated", "permuted", "descriptions")
            }
        for (_, kind), of in rows.items():
            numpy.testing.assert_allclose(numpy.linalg.norm(of, axis=1), 1, atol=1e-6, err_msg=kind)
        rotated, permuted = rows[1, "rotated"], rows[1, "permuted"]
        numpy.testing.assert_allclose(rotated @ rotated.T, text @ text.T, atol=1e-5)
        self.assertLess(numpy.abs((rotated * text).sum(1)).max(), 0.9)
        self.assertEqual({tuple(r) for r in permuted}, {tuple(r) for r in text})
        self.assertFalse((permuted == text).all(1).any())
        self.assertFalse(numpy.array_equal(rows[1, "unit"], rows[2, "unit"]))


class CommandLine(unittest.TestCase):
    def heads(self, *arguments):
        script = SOURCE / "scripts/reproduce/heads.py"
        return subprocess.run(
            [sys.executable, script, *arguments], capture_output=True, text=True, check=False
        )

    def test_plan_counts_and_mistakes_are_named(self):
        with tempfile.TemporaryDirectory() as made:
            done = self.heads("--plan", "--seeds", "2", "--out", made + "/x")
            self.assertIn("26 of 26 arms are missing: 22 trainings, 26 campaigns", done.stdout)
            self.assertFalse(pathlib.Path(made, "x").exists())
            # Tables are of the settings that the results were made with, whatever is asked for now.
            self.assertEqual(self.heads("--tables", "--out", made + "/x").returncode, 0)
            pathlib.Path(made, "x/settings.json").write_text(json.dumps(SETTINGS))
            pathlib.Path(made, "x/seed1").mkdir()
            arms = {"arms": [arm("linear", 8, 1, rule="v"), arm("both", 4, 1)]}
            pathlib.Path(made, "x/seed1/compare.json").write_text(json.dumps(arms))
            done = self.heads("--tables", "--arms", "linear,both", "--out", made + "/x")
            self.assertIn("8 flips per head layer", done.stdout + done.stderr)
            self.assertIn("no verdict", done.stdout)
        for arguments, said in (
            (["--arms", "both"], "the arm linear"),
            (["--arms", "linear,matched"], "need the arms linear and both"),
            (["--arms", "linear,soft"], "there is no arm 'soft'"),
            (["--seeds", "0"], "at least 1"),
        ):
            done = self.heads(*arguments)
            self.assertEqual(done.returncode, 2)
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    unittest.main()
