#!/usr/bin/env python3
"""Formats from tables, values of sites, faults by value and heads that learn: against NumPy and eager PyTorch.

usage: values_test.py PROGRAM [unittest arguments]
"""

import csv
import io
import json
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch import nn

PROGRAM = Path(sys.argv.pop(1)).resolve()
IMAGES = 24


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5))
    return layers.eval()


class Values(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="bitfall_values_"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.network = network()
        torch.jit.script(cls.network).save(str(cls.folder / "m.pt"))
        rng = numpy.random.default_rng(0)
        cls.images = rng.standard_normal((IMAGES, 3, 8, 8)).astype(numpy.float32)
        cls.labels = numpy.arange(IMAGES) % 5
        numpy.save(cls.folder / "x.npy", cls.images)
        numpy.save(cls.folder / "labels.npy", cls.labels)

    def bitfall(self, *arguments, code=0):
        done = subprocess.run([PROGRAM, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if code == 0 else done.stderr

    def campaign(self, name, number_format='"fp32"', faults="per_site = 100", batch=5, more=""):
        (self.folder / f"{name}.toml").write_text(f"""
[campaign]
output = "{name}"
[model]
path = "m.pt"
[data]
path = "x.npy"
labels = "labels.npy"
[format]
{number_format if "=" in number_format else "id = " + number_format}
[[faults]]
{faults}
[run]
batch = {batch}
threads = 1
workers = 2
{more}
""")
        return f"{name}.toml"

    def digest(self, file, *arguments):
        return json.loads(self.bitfall("run", file, "--json", "--force", *arguments))["digest"]

    def trials(self, run):
        return list(csv.DictReader(io.StringIO(self.bitfall("export", run, "--csv"))))

    def hooked(self, layer, images=None):
        """What eager PyTorch gives at a layer."""
        with torch.inference_mode():
            return self.network[: layer + 1](torch.from_numpy(self.images if images is None else images)).numpy()

    # A format written out as a table.

    def halves(self):
        return numpy.arange(65536, dtype=numpy.uint16).view(numpy.float16).astype(numpy.float32)

    def test_a_table_is_the_format_that_it_was_written_from(self):
        words = numpy.arange(65536, dtype=numpy.uint32) << 16
        fields = {"fp16": "s eeeee mmmmmmmmmm", "bf16": "s eeeeeeee mmmmmmm"}
        for name, values in {"fp16": self.halves(), "bf16": words.view(numpy.float32)}.items():
            numpy.save(self.folder / f"{name}.npy", values)
            built_in = self.digest(self.campaign(name, f'"{name}"'))
            table = f'id = "table"\nfile = "{name}.npy"\nfields = "{fields[name]}"'
            self.assertEqual(self.digest(self.campaign(f"{name}_table", table)), built_in)
        self.assertNotEqual(built_in, self.digest(self.campaign("plain")))

    def test_a_table_rounds_to_the_nearest_number(self):
        table = numpy.sort(numpy.random.default_rng(1).standard_normal(16)).astype(numpy.float32)
        (self.folder / "own.csv").write_text("code,value\n" + "".join(f"{i},{v!r}\n" for i, v in enumerate(table.tolist())))
        file = self.campaign("own", 'id = "table"\nfile = "own.csv"')
        self.bitfall("values", file, "--site", "0", "-o", "own.npy", "--codes", "own_codes.npy")
        plain = self.hooked(0)
        nearest = numpy.abs(plain[..., None].astype(numpy.float64) - table).argmin(-1)
        self.assertTrue(numpy.array_equal(numpy.load(self.folder / "own_codes.npy"), nearest))
        self.assertTrue(numpy.array_equal(numpy.load(self.folder / "own.npy"), table[nearest]))
        self.bitfall("run", file)
        for trial in self.trials("own"):
            before, after = (int(trial[key], 16) for key in ("code_before", "code_after"))
            self.assertEqual(before ^ after, int(trial["mask"], 16))
            self.assertEqual(numpy.float32(trial["value_after"]), table[after])

    def test_a_changed_table_is_another_run(self):
        numpy.save(self.folder / "changing.npy", numpy.arange(16, dtype=numpy.float32) - 8)
        file = self.campaign("changing", 'id = "table"\nfile = "changing.npy"')
        self.bitfall("run", file)
        numpy.save(self.folder / "changing.npy", numpy.arange(16, dtype=numpy.float32) - 7)
        self.assertIn("option_files", self.bitfall("replay", "changing", "--trial", 0, code=1))

    # Values of a site.

    def test_values_are_those_of_eager_pytorch(self):
        file = self.campaign("fp32")
        shapes = {"0": self.hooked(0), "2": self.hooked(2), "5": self.hooked(5)}
        for site, expected in shapes.items():
            self.bitfall("values", file, "--site", site, "-o", "v.npy", "--codes", "c.npy")
            values, codes = (numpy.load(self.folder / f"{name}.npy") for name in "vc")
            self.assertEqual(values.dtype, numpy.float32)
            self.assertEqual(values.shape, expected.shape)
            numpy.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
            self.assertTrue(numpy.array_equal(codes, values.view(numpy.uint32)))
        self.bitfall("values", file, "--site", "2.weight", "-o", "w.npy")
        self.assertTrue(numpy.array_equal(numpy.load(self.folder / "w.npy"), self.network[2].weight.detach().numpy()))
        self.bitfall("values", file, "--site", "input", "--images", 7, "-o", "i.npy")
        self.assertTrue(numpy.array_equal(numpy.load(self.folder / "i.npy"), self.images[:7]))

    def test_values_are_those_that_faults_find(self):
        for number_format in ("fp16", "int8", "fp8_e4m3"):
            file = self.campaign("found", f'"{number_format}"')
            self.bitfall("run", file, "--force")
            found = {}
            for trial in self.trials("found"):
                site = trial["site"]
                if site not in found:
                    self.bitfall("values", file, "--site", site, "-o", "v.npy", "--codes", "c.npy", "--target", "activation")
                    found[site] = [numpy.load(self.folder / f"{name}.npy").reshape(IMAGES, -1) for name in "vc"]
                values, codes = found[site]
                place = int(trial["image"]), int(trial["element"])
                self.assertEqual(values[place], numpy.float32(trial["value_before"]))
                self.assertEqual(codes[place], int(trial["code_before"], 16))

    def test_values_of_a_model_and_its_data(self):
        self.bitfall("values", "m.pt", "x.npy", "--site", "0", "--format", "fp16", "-o", "v.npy", "--names", "names.txt")
        expected = self.hooked(0).astype(numpy.float16)
        numpy.testing.assert_allclose(numpy.load(self.folder / "v.npy"), expected, rtol=1e-3, atol=1e-4)
        self.assertEqual((self.folder / "names.txt").read_text().split(), [str(i) for i in range(IMAGES)])

    def test_what_values_refuses(self):
        file = self.campaign("refused")
        self.assertIn("did you mean", self.bitfall("values", file, "--site", "2.weihgt", "-o", "n.npy", code=2))
        self.assertIn("named twice", self.bitfall("values", file, "--site", "0", "-o", "x.npy", "--codes", "x.npy", code=2))
        self.assertIn("needs its data", self.bitfall("values", "m.pt", "--site", "0", "-o", "n.npy", code=2))
        self.assertIn("--format", self.bitfall("values", file, "--site", "0", "--format", "fp16", "-o", "n.npy", code=2))
        for kept in ("x.npy", "labels.npy", "m.pt", file):  # what the campaign reads
            before = (self.folder / kept).read_bytes()
            self.assertIn("is read as", self.bitfall("values", file, "--site", "0", "-o", kept, code=2))
            self.assertEqual((self.folder / kept).read_bytes(), before)
        self.assertFalse((self.folder / "n.npy").exists())

    def test_the_example_of_the_readme(self):
        """plugins/README.md: a fault list drawn in NumPy by a condition on the value."""
        readme = (Path(__file__).parent.parent / "plugins" / "README.md").read_text(encoding="utf-8")
        code = readme.split("```python\n# faults_by_value.py")[1].split("```")[0]
        self.campaign("campaign", '"fp16"')
        self.bitfall("values", "campaign.toml", "--site", "2", "-o", "values.npy", "--codes", "codes.npy")
        done = subprocess.run([sys.executable, "-c", code], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.bitfall("run", "campaign.toml", "--faults", "faults.csv", "-o", "by_value")
        trials = self.trials("by_value")
        self.assertEqual(len(trials), 500)
        for trial in trials:
            self.assertGreater(float(trial["value_before"]), 0)
            self.assertEqual(int(trial["code_before"], 16) & 0x4000, 0)
            self.assertEqual(trial["mask"], "0x4000")

    # Faults by value.

    def faulty_losses(self, trials, site):
        """Eager PyTorch's, with the values that the trials left."""
        for trial in trials:
            image, element = int(trial["image"]), int(trial["element"])
            with torch.inference_mode():
                values = self.network[: site + 1](torch.from_numpy(self.images[image : image + 1]))
                values.view(-1)[element] = float(numpy.float32(trial["value_after"]))
                logits = self.network[site + 1 :](values)
                yield trial, nn.functional.cross_entropy(logits, torch.tensor([self.labels[image]])).item()

    def test_faults_that_hit_some_values_only(self):
        cases = {
            "negative": ('values = "negative"', lambda value, bit: value < 0),
            "large": ("magnitude_from = 0.5", lambda value, bit: abs(value) >= 0.5),
            "small_positive": ('values = "positive", magnitude_to = 0.25', lambda value, bit: 0 < value <= 0.25),
            "zero_bits": ('bit_is = "zero"', lambda value, bit: not bit),
        }
        for name, (options, holds) in cases.items():
            with self.subTest(name):
                model = f'error_model = {{ id = "bit_flip_where", {options} }}\nsites = ["2"]\nper_site = 300'
                file = self.campaign(name, faults=model)
                self.bitfall("run", file, "--force")
                trials = self.trials(name)
                self.assertEqual(len(trials), 300)
                draws = 0
                for trial in trials:
                    bit = int(trial["code_before"], 16) & int(trial["mask"], 16)
                    self.assertTrue(holds(float(trial["value_before"]), bit), trial)
                    self.assertEqual(trial["condition_missed"], "0")
                    draws += float(trial["condition_draws"])
                # As many draws as the share of the values asks for.
                shares = []  # of the image of each trial
                for values in self.hooked(2).reshape(len(self.images), -1):
                    bits = values.view(numpy.uint32)
                    if name == "zero_bits":
                        shares.append(1 - sum(((bits >> b) & 1).mean() for b in range(32)) / 32)
                    else:
                        shares.append(numpy.mean([holds(float(value), 0) for value in values]))
                share = numpy.array(shares)[[int(trial["image"]) for trial in trials]]
                sigma = ((1 - share) / share**2).sum() ** 0.5
                self.assertLess(abs(draws - (1 / share).sum()), 5 * sigma)
                for trial, loss in self.faulty_losses(trials[:60], 2):
                    if numpy.isfinite(loss) and loss < 1e4:
                        self.assertLess(abs(loss - float(trial["faulty_loss"])), 1e-4 * max(1, loss))
                self.bitfall("replay", name, "--trial", 7)
                self.assertIn("condition_draws", self.bitfall("report", name))

    def test_a_condition_that_nothing_meets(self):
        model = 'error_model = { id = "bit_flip_where", magnitude_from = 1e30 }\nsites = ["2"]\nper_site = 20'
        self.bitfall("run", self.campaign("never", faults=model), "--force")
        for trial in self.trials("never"):
            self.assertEqual((trial["condition_missed"], trial["condition_draws"]), ("1", "4096"))
            self.assertEqual((trial["outcome"], trial["mask"]), ("masked", "0x0"))

    def test_faults_by_value_are_the_same_in_any_order(self):
        model = 'error_model = { id = "bit_flip_where", values = "negative", bit_class = "exponent" }\nper_site = 200'
        digests = {
            self.digest(self.campaign("order", '"fp16"', model, more=more))
            for more in ("", "suffix = false", "early_stop = false", "share = false", "memory_budget = 1")
        }
        self.assertEqual(len(digests), 1)

    def test_what_a_condition_refuses(self):
        model = 'error_model = { id = "bit_flip_where", values = "negative" }\n'
        told = self.bitfall("run", self.campaign("permanent", faults=model + "permanent = true\nper_site = 3"), code=2)
        self.assertIn("differ from image to image", told)
        protect = '[[protect]]\nprotection = "nan_guard"'
        told = self.bitfall("run", self.campaign("protected", faults=model, more=protect), code=2)
        self.assertIn("would meet other faults", told)
        self.bitfall("run", self.campaign("weights", faults=model + 'permanent = true\nper_site = 3\ntarget = "weight"'))
        trials = self.trials("weights")
        self.assertTrue(trials and all(float(trial["value_before"]) < 0 for trial in trials))

    # Heads that learn from training images.

    def test_a_head_of_class_means(self):
        folder = self.folder / "train"
        rng = numpy.random.default_rng(2)
        pixels, labels = [], []
        for label in range(5):
            (folder / f"class{label}").mkdir(parents=True)
            for n in range(6):
                picture = rng.integers(0, 256, (8, 8, 3), dtype=numpy.uint8)
                Image.fromarray(picture).save(folder / f"class{label}" / f"{n}.png")
                pixels.append(picture)
                labels.append(label)
        told = self.bitfall("head", "attach", "m.pt", "--init", "class_means", "--input", "3x8x8", "-o", "h.pt", code=2)
        self.assertIn("--data", told)
        told = self.bitfall("head", "attach", "m.pt", "--init", "linear", "--data", "train", "--input", "3x8x8", "-o", "h.pt", code=2)
        self.assertIn("learns from no images", told)
        self.bitfall("head", "attach", "m.pt", "--init", "class_means", "--set", "factor=2", "--data", "train", "--input", "3x8x8", "-o", "h.pt")
        images = torch.from_numpy(numpy.stack(pixels)).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            features = self.network[:5](images)
            means = torch.stack([features[torch.tensor(labels) == label].double().mean(0) for label in range(5)])
            expected = -2 * torch.cdist(features.double(), means) ** 2
            answers = torch.jit.load(str(self.folder / "h.pt"))(images).double()
        torch.testing.assert_close(answers, expected, rtol=1e-3, atol=1e-3)

    def test_a_head_with_an_activation_between_its_layers(self):
        plugin = PROGRAM.parent.parent / "tests/plugins/telling.so"
        images = torch.from_numpy(self.images)
        weights = [0.01 * (torch.arange(n) % 19 - 9).float() for n in (7 * 128, 5 * 7)]
        attach = ("head", "attach", "m.pt", "--init", "two_layers", "--plugin", plugin, "--input", "3x8x8", "-o", "t.pt")
        functions = {"relu": torch.relu, "gelu": nn.functional.gelu, "silu": nn.functional.silu,
                     "sigmoid": torch.sigmoid, "tanh": torch.tanh}
        for name, function in functions.items():
            with self.subTest(name):
                self.bitfall(*attach, "--set", f"function={name}")
                with torch.inference_mode():
                    hidden = self.network[:5](images) @ weights[0].view(7, 128).T + 0.25
                    expected = function(hidden) @ weights[1].view(5, 7).T
                    torch.testing.assert_close(torch.jit.load(str(self.folder / "t.pt"))(images), expected)
                told = self.bitfall("head", "info", "t.pt", "--input", "3x8x8")
                self.assertRegex(told, rf"5.between +activation +{name}")
        self.assertIn("known are gelu, relu, sigmoid, silu, tanh", self.bitfall(*attach, "--set", "function=swish", code=3))
        self.assertIn("computes", self.bitfall("head", "fuse", "t.pt", "-o", "f.pt", code=4))
        # Faults hit all three, and the answers are those of PyTorch.
        file = self.campaign("two_layers", faults='operations = "*"\nsites = ["5*"]\nper_site = 40', batch=5)
        text = (self.folder / file).read_text().replace('"m.pt"', '"t.pt"')
        (self.folder / file).write_text(text)
        self.bitfall("run", file, "--force", "-q")
        trials = self.trials("two_layers")
        self.assertEqual({trial["site"] for trial in trials}, {"5.hidden", "5.between", "5.last"})
        between = [t for t in trials if t["site"] == "5.between" and t["op"] == "flip"]
        with torch.inference_mode():
            for trial in between:
                number, label = int(trial["image"]), int(self.labels[int(trial["image"])])
                hidden = torch.tanh(self.network[:5](images[number : number + 1]) @ weights[0].view(7, 128).T + 0.25)
                code = hidden.numpy().view(numpy.uint32)
                code[0, int(trial["element"])] ^= int(trial["mask"], 16)
                answer = (hidden @ weights[1].view(5, 7).T).double()
                loss = nn.functional.cross_entropy(answer, torch.tensor([label])).item()
                if numpy.isfinite(loss):
                    self.assertAlmostEqual(float(trial["faulty_loss"]), loss, delta=1e-4 * max(1, loss))

    def test_what_an_error_model_is_told_of_a_place(self):
        plugin = PROGRAM.parent.parent / "tests/plugins/telling.so"

        def told(target):
            faults = f'error_model = "place"\ntarget = "{target}"\noperations = "*"\nper_site = 1'
            file = self.campaign(f"place_{target}", faults=faults)
            strata = json.loads(self.bitfall("run", file, "--plugin", plugin, "--dry-run", "--json"))["strata"]
            return {s["site"]: int(s["population"]) // IMAGES for s in strata}  # in each image

        def population(place, fan_in, axis, operation):
            return place * 10**8 + fan_in * 10**4 + (axis + 1) * 100 + len(operation)

        kinds = ("conv", "relu", "conv", "relu", "flatten", "linear")
        places = told("activation")
        for site, found in places.items():
            self.assertEqual(found % 10**8, population(0, 0, 0, kinds[int(site)]), site)
        order = [found // 10**8 for found in places.values()]
        self.assertEqual(order, sorted(order))
        self.assertEqual(len(set(order)), len(places))
        weights = told("weight")
        for site, fan_in, kind in (("0.weight", 27, "conv"), ("2.weight", 54, "conv"), ("5.weight", 128, "linear"), ("0.bias", 0, "conv")):
            self.assertEqual(weights[site] % 10**8, population(0, fan_in, 0, kind), site)
            self.assertGreater(weights[site] // 10**8, max(order))


if __name__ == "__main__":
    unittest.main()
