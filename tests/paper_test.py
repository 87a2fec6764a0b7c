#!/usr/bin/env python3
"""The figures of the text-guided head's paper, and the scale of logits. The oracle is plain PyTorch, with Pillow.

usage: paper_test.py PROGRAM [unittest arguments]
"""

import copy
import io
import json
import math
import os
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import numpy
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

PROGRAM = os.path.abspath(sys.argv.pop(1))
torch.set_num_threads(1)
CLASSES, SIDE, IMAGES = 5, 12, 60


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 11, 3, padding=1, stride=2)
        self.fc = nn.Linear(11, CLASSES)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        return self.fc(x.mean((2, 3)))


def ablation_cam(network, image, target, maps_of=None):
    """Plain: the whole network for every channel of conv2's ReLU. maps_of: changes the maps, as a fault does."""
    maps = F.relu(network.conv2(F.relu(network.conv1(image[None]))))
    answer = lambda m: network.fc(m.mean((2, 3)))[0, target].double()
    y = answer(maps)
    weights = []
    for k in range(maps.shape[1]):
        ablated = maps.clone()
        ablated[:, k] = 0
        weights.append(((y - answer(ablated)) / y).item())
    cam = torch.relu((torch.tensor(weights)[:, None, None] * maps[0].double()).sum(0))
    cam = cam - cam.min()
    return (cam / cam.max() if cam.max() > 0 else cam), weights


def likeness(a, b):
    def fifth(values):
        least = values.flatten().sort(descending=True).values[math.ceil(values.numel() / 5) - 1]
        return (values > 0) & (values >= least)

    left, right = fifth(a), fifth(b)
    iou = (left & right).sum().item() / (left | right).sum().item()
    return iou, numpy.corrcoef(a.flatten(), b.flatten())[0, 1]


def enlarged(cam):
    return F.interpolate(cam[None, None].float(), (SIDE, SIDE), mode="bilinear")[0, 0]


class Paper(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.manual_seed(4)
        cls.folder = Path(tempfile.mkdtemp(prefix="bitfall_paper_"))
        cls.network = Small().eval()
        cls.network.fc.weight.data *= 6  # so that answers differ
        torch.jit.script(cls.network).save(str(cls.folder / "m.pt"))
        generator = numpy.random.default_rng(1)
        cls.images = torch.from_numpy(
            generator.standard_normal((IMAGES, 3, SIDE, SIDE)).astype(numpy.float32)
        )
        with torch.no_grad():
            cls.logits = cls.network(cls.images)
        # A third of the labels is wrong.
        cls.labels = cls.logits.argmax(1).numpy().copy()
        cls.labels[::3] = (cls.labels[::3] + 1 + generator.integers(0, 3, len(cls.labels[::3]))) % CLASSES
        numpy.save(cls.folder / "x.npy", cls.images.numpy())
        numpy.save(cls.folder / "y.npy", cls.labels.astype(numpy.int64))
        (cls.folder / "data.toml").write_text(
            '[model]\npath = "m.pt"\n[data]\npath = "x.npy"\nlabels = "y.npy"\n'
        )
        cls.run_campaign("base")

    @classmethod
    def bitfall(cls, *arguments, rc=0):
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)],
            cwd=cls.folder,
            capture_output=True,
            text=True,
            timeout=120,
            env=dict(os.environ, OMP_NUM_THREADS="1"),
        )
        if done.returncode != rc:
            raise AssertionError(f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
        cls.stderr = done.stderr
        return done.stdout

    @classmethod
    def run_campaign(cls, name, model="m.pt", faults="per_site = 40", data="", extra=""):
        (cls.folder / f"{name}.toml").write_text(
            f"""[campaign]
output = "{name}"
{extra}
[model]
path = "{model}"
[data]
path = "x.npy"
labels = "y.npy"
{data}
[[faults]]
{faults}
[run]
batch = 4
threads = 1
workers = 1
"""
        )
        cls.bitfall("run", f"{name}.toml")

    # -- The published set-up -----------------------------------------------------------------------

    def test_bounds_are_those_of_training_images_in_fp16(self):
        others = torch.randn(24, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(8)) * 0.4
        numpy.save(self.folder / "train_x.npy", others.numpy())
        numpy.save(self.folder / "train_y.npy", numpy.arange(24) % CLASSES)
        calibration = '[calibration]\npath = "train_x.npy"\nlabels = "train_y.npy"\nround = "fp16"\n'
        self.run_campaign("bounded", data=calibration, extra='hit_value = "clamped"')
        seen = {}
        for name in ("conv1", "conv2", "fc"):
            handle = getattr(self.network, name).register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out.detach()))
            self.addCleanup(handle.remove)
        with torch.no_grad():
            self.network(others)
        database = sqlite3.connect(self.folder / "bounded" / "campaign.sqlite")
        ends = {name: (low, high) for name, low, high in database.execute("SELECT name, golden_minimum, golden_maximum FROM sites WHERE metadata IS NOT NULL AND target = 0")}
        cut = 0
        for name, value in seen.items():
            self.assertEqual(ends[name], (value.min().half().item(), value.max().half().item()), name)
            bound = max(abs(end) for end in ends[name])
            after = [v for v, in database.execute("SELECT e.value_after FROM v_edits e JOIN v_trials t USING (trial) WHERE t.site = ?", (name,))]
            self.assertLessEqual(max(map(abs, after)), bound)
            cut += sum(abs(v) == bound for v in after)
        self.assertGreater(cut, 5)
        fact, = database.execute("SELECT value FROM facts WHERE key = 'calibration'").fetchone()
        self.assertRegex(fact, "^absmax over 24 other images, [0-9a-f]{64}, bounds rounded to FP16$")
        self.bitfall("resume", "bounded")
        # Other images of that name: it is told of.
        numpy.save(self.folder / "train_x.npy", others.numpy() * 2)
        done = subprocess.run([PROGRAM, "replay", "bounded", "--trial", "3"], cwd=self.folder, capture_output=True, text=True)
        self.assertIn("bounds rounded to FP16 then", done.stderr)
        self.assertIn("calibration", done.stderr)
        for line, told in (("images = 5", "path names others"), ('round = "fp8"', "'none', 'fp16'")):
            (self.folder / "bad.toml").write_text((self.folder / "bounded.toml").read_text().replace('round = "fp16"', line))
            self.bitfall("run", "bad.toml", rc=2)
            self.assertIn(told, self.stderr)

    # -- Figure 3 ---------------------------------------------------------------------------------

    def test_profile_is_pytorchs(self):
        torch.jit.script(self.network).save(str(self.folder / "other.pt"))
        document = json.loads(
            self.bitfall("profile", "base", "other.pt", "--data", "data.toml", "--operations", "*",
                         "--weights", "--json")
        )
        self.assertEqual([n["label"] for n in document["networks"]], ["base", "other"])
        values = {}
        for name in ("conv1", "conv2", "fc"):
            handle = getattr(self.network, name).register_forward_hook(
                lambda _m, _i, out, name=name: values.__setitem__(name, out.detach().double())
            )
            self.addCleanup(handle.remove)
        self.network(self.images)
        for network in document["networks"]:
            sites = {site["site"]: site for site in network["sites"]}
            for name, value in values.items():
                self.assertAlmostEqual(sites[name]["maximum"] / value.abs().max().item(), 1, 5)
                self.assertAlmostEqual(sites[name]["mean"] / value.abs().mean().item(), 1, 6)
                self.assertEqual(sites[name]["values"], value.numel())
            weight = self.network.conv2.weight.detach().double().abs()
            self.assertEqual(sites["conv2.weight"]["maximum"], weight.max().item())
            self.assertAlmostEqual(sites["conv2.weight"]["mean"], weight.mean().item(), 12)
        text = self.bitfall("profile", "base", "--html", "profile.html")
        self.assertIn("conv2", text)
        self.assertIn("60 images", text)
        self.assertIn("chart-maximum", (self.folder / "profile.html").read_text())

    def test_profile_counts_what_is_not_finite(self):
        broken = copy.deepcopy(self.network)
        broken.conv2.bias.data[0] = float("nan")
        torch.jit.script(broken).save(str(self.folder / "nan.pt"))
        document = json.loads(self.bitfall("profile", "nan.pt", "--data", "data.toml", "--limit", "5", "--json"))
        site = [s for s in document["networks"][0]["sites"] if s["site"] == "conv2"][0]
        self.assertEqual(site["nonfinite"], 5 * 36)
        self.assertEqual(site["values"], 5 * 36 * 10)
        self.assertTrue(math.isfinite(site["maximum"]))

    def test_profile_says_what_is_missing(self):
        self.bitfall("profile", "m.pt", rc=2)
        self.assertIn("--data", self.stderr)
        self.bitfall("profile", "base", "--operations", "softmax", rc=2)
        self.assertIn("softmax", self.stderr)

    # -- Figure 2 ---------------------------------------------------------------------------------

    def save_picture(self, name, seed):
        pixels = numpy.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=numpy.uint8)
        Image.fromarray(pixels).save(self.folder / name)
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255

    def test_cam_is_a_plain_ablation_cam(self):
        pictures = [self.save_picture("a.png", 1), self.save_picture("b.png", 2)]
        document = json.loads(
            self.bitfall("cam", "data.toml", "a.png", "b.png", "-o", "maps", "--class", 2, "--json")
        )
        self.assertEqual(len(document["cases"]), 2)
        for case, image in zip(document["cases"], pictures):
            with torch.no_grad():
                cam, weights = ablation_cam(self.network, image, 2)
            self.assertEqual(case["before"]["target"], 2)
            numpy.testing.assert_allclose(case["before"]["weights"], weights, atol=1e-5)
            numpy.testing.assert_allclose(case["before"]["map"], cam, atol=1e-5)
        with Image.open(self.folder / "maps" / "a.png_before.png") as picture:
            self.assertEqual(picture.size, (19 * SIDE, 19 * SIDE))
            self.assertGreater(numpy.asarray(picture).std(), 1)
        page = (self.folder / "maps" / "cam.html").read_text()
        self.assertEqual(page.count("<img src=\"data:image/png;base64,"), 2)

    def faulty(self, trial):
        """The network after the trial's flip in FP32, with PyTorch alone: its maps and answers."""
        database = sqlite3.connect(self.folder / "base" / "campaign.sqlite")
        site, image = database.execute(
            "SELECT s.name, t.image FROM trials t JOIN sites s ON s.id = t.site WHERE t.trial = ?", (trial,)
        ).fetchone()
        element, mask = database.execute("SELECT element, mask FROM v_edits WHERE trial = ?", (trial,)).fetchone()

        def flip(_module, _inputs, output):
            out = output.clone().contiguous()
            bits = out.view(out.shape[0], -1).view(torch.int32)
            bits[:, element] ^= int(numpy.uint32(mask).view(numpy.int32))
            return out

        network = copy.deepcopy(self.network)
        getattr(network, site).register_forward_hook(flip)
        return site, image, network

    def test_cam_after_a_fault_is_that_of_the_faulty_network(self):
        seen = set()
        trials = [t for t in range(120) if t % 13 == 0]
        arguments = [a for t in trials for a in ("--trial", f"base:{t}")]
        document = json.loads(self.bitfall("cam", "base", *arguments, "-o", "faults", "--json"))
        for case in document["cases"]:
            site, image, network = self.faulty(case["trial"])
            self.assertEqual(case["layer"], site)
            self.assertEqual(case["image"], str(image))
            with torch.no_grad():
                target = self.network(self.images[image : image + 1]).argmax().item()
                before, _ = ablation_cam(self.network, self.images[image], target)
                answer = network(self.images[image : image + 1])[0, target].item()
                after, _ = ablation_cam(network, self.images[image], target)
            self.assertEqual(case["before"]["target"], target)
            numpy.testing.assert_allclose(case["before"]["map"], before, atol=2e-5)
            if not math.isfinite(answer) or not torch.isfinite(after).all():
                self.assertIsNotNone(case["after"]["failure"])
                continue
            seen.add(site)
            self.assertAlmostEqual(case["after"]["logit"] / answer, 1, 4)
            numpy.testing.assert_allclose(case["after"]["map"], after, atol=1e-4)
            iou, correlation = likeness(enlarged(before), enlarged(after))
            self.assertAlmostEqual(case["iou"], iou, 6)
            if math.isfinite(correlation):
                self.assertAlmostEqual(case["correlation"], correlation, 4)
            self.assertTrue((self.folder / "faults" / f"{case['name']}_after.png").is_file())
        self.assertEqual(seen, {"conv1", "conv2", "fc"})

    def test_cam_of_a_weight_fault(self):
        self.run_campaign("weights", faults='target = "weight"\nsites = "conv*.weight"\nper_site = 30')
        database = sqlite3.connect(self.folder / "weights" / "campaign.sqlite")
        document = json.loads(
            self.bitfall("cam", "weights", "--trial", "weights:3", "--trial", "weights:40", "-o", "w", "--json")
        )
        for case in document["cases"]:
            name, image, element, mask = database.execute(
                "SELECT s.name, t.image, e.element, e.mask FROM trials t JOIN sites s ON s.id = t.site "
                "JOIN v_edits e ON e.trial = t.trial WHERE t.trial = ?", (case["trial"],)).fetchone()
            network = copy.deepcopy(self.network)
            bits = dict(network.named_parameters())[name].data.view(-1).view(torch.int32)
            bits[element] ^= int(numpy.uint32(mask).view(numpy.int32))
            with torch.no_grad():
                target = self.network(self.images[image : image + 1]).argmax().item()
                after, _ = ablation_cam(network, self.images[image], target)
            if case["after"]["failure"] is None:
                numpy.testing.assert_allclose(case["after"]["map"], after, atol=1e-4)

    def test_cam_of_images_of_one_name(self):
        """Files of one name in two folders are two images, each with maps and pictures of its own."""
        pictures = []
        for seed, folder in enumerate(("left", "right")):
            (self.folder / folder).mkdir()
            pictures.append(self.save_picture(f"{folder}/a.png", seed + 5))
        document = json.loads(self.bitfall(
            "cam", "base", "left/a.png", "right/a.png", "--trial", "base:13", "-o", "two", "--json"))
        cases = document["cases"]
        self.assertEqual(len({case["name"] for case in cases}), 2)
        for case, image in zip(cases, pictures, strict=True):
            with torch.no_grad():
                before, _ = ablation_cam(self.network, image, case["before"]["target"])
            numpy.testing.assert_allclose(case["before"]["map"], before, atol=2e-5)
            self.assertTrue((self.folder / "two" / f"{case['name']}_after.png").is_file())

    def test_cam_of_many_faults_is_a_table(self):
        document = json.loads(
            self.bitfall("cam", "base", "--faults", "base", "--most", 30, "-o", "many", "--json")
        )
        self.assertEqual(sum(layer["faults"] for layer in document["layers"]), 30)
        for layer in document["layers"]:
            self.assertEqual(len(layer["iou"]) + layer["no_map"], layer["faults"])
            self.assertTrue(all(0 <= iou <= 1 for iou in layer["iou"]))
        self.assertLessEqual(len(document["cases"]), 6)
        text = self.bitfall("cam", "base", "--faults", "base", "--most", 10, "-o", "many")
        self.assertRegex(text, r"layer +faults +IoU +least +correlation")
        # The same faults in another network of the same sites.
        other = copy.deepcopy(self.network)
        other.fc.weight.data += 0.1
        torch.jit.script(other).save(str(self.folder / "other2.pt"))
        elsewhere = json.loads(
            self.bitfall("cam", "other2.pt", "--trial", "base:13", "-o", "many", "--json")
        )
        self.assertIn("other2.pt", elsewhere["model"])

    def test_cam_says_what_is_wrong(self):
        self.save_picture("small.png", 1)
        Image.new("RGB", (7, 9)).save(self.folder / "odd.png")
        (self.folder / "text.png").write_text("no picture")
        for arguments, rc, said in (
            (["m.pt"], 2, "image files"),
            (["m.pt", "absent.png"], 4, "absent.png"),
            (["data.toml", "text.png"], 4, "text.png"),
            (["data.toml", "small.png", "--class", "5"], 2, "0 to 4"),
            (["data.toml", "small.png", "--site", "nothing"], 2, "no such site"),
            (["data.toml", "small.png", "--site", "fc"], 4, "holds no maps"),
            (["base", "--trial", "base"], 2, "RUN:17"),
            (["base", "--trial", "base:9999"], 4, "9999"),
            (["base", "--trial", "nowhere:1"], 4, "nowhere"),
        ):
            self.bitfall("cam", *arguments, "-o", "none", rc=rc)
            self.assertIn(said, self.stderr, arguments)

    # -- images that are right --------------------------------------------------------------------

    def test_only_correct_keeps_the_right_images(self):
        self.run_campaign("right", data='only = "correct"')
        database = sqlite3.connect(self.folder / "right" / "campaign.sqlite")
        names = [name for (name,) in database.execute("SELECT name FROM images ORDER BY id")]
        right = [str(i) for i in range(IMAGES) if self.logits[i].argmax().item() == self.labels[i]]
        self.assertEqual(names, right)
        (wrong,) = database.execute(
            "SELECT count(*) FROM golden g JOIN images i ON i.id = g.image WHERE g.top1 != i.label"
        ).fetchone()
        self.assertEqual(wrong, 0)
        self.assertIn(f"correct, {len(right)} of {IMAGES}", json.dumps(json.loads(
            self.bitfall("report", "right", "--json"))["facts"]))
        # Each trial is that of the same image and fault in PyTorch, and is run again as it was.
        self.bitfall("replay", "right", "--trial", 7)
        self.bitfall("resume", "right")
        self.bitfall("compare", "base", "right", rc=4)

    def test_reports_of_right_images_alone(self):
        database = sqlite3.connect(self.folder / "base" / "campaign.sqlite")
        expected = database.execute(
            "SELECT count(*), sum(faulty_top1 != golden_top1) FROM v_trials WHERE golden_top1 = label").fetchone()
        report = json.loads(self.bitfall("report", "base", "--only", "correct", "--json"))
        self.assertEqual(report["network"]["trials"], expected[0])
        self.assertGreater(report["network"]["mismatch"]["events"], 0)
        self.assertEqual(report["images_counted"], sum(
            self.logits[i].argmax().item() == self.labels[i] for i in range(IMAGES)))
        comparison = json.loads(self.bitfall("compare", "base", "base", "--only", "correct", "--json"))
        self.assertEqual(comparison["arms"][1]["pooled"]["trials"], expected[0])

    # -- figure 4, FIT, scale ---------------------------------------------------------------------

    def test_report_has_the_curve_and_failures_in_time(self):
        report = json.loads(self.bitfall("report", "base", "--fit", "1e-4", "--json"))
        top = self.logits.double().softmax(1).sort(1, descending=True).values
        margin, right = (top[:, 0] - top[:, 1]).numpy(), self.logits.argmax(1).numpy() == self.labels
        for point in report["accuracy_kept"]:
            if abs(margin - point["top2diff"]).min() > 1e-6:
                self.assertEqual(point["kept"]["events"], int((right & (margin >= point["top2diff"])).sum()))
        nll = F.cross_entropy(self.logits.double(), torch.tensor(self.labels)).item()
        self.assertAlmostEqual(report["golden_nll"]["value"], nll, 6)
        bits = {"conv1": 8 * 144 * 32, "conv2": 11 * 36 * 32, "fc": 5 * 32}
        total = 0
        for layer, row in zip(report["layers"], report["fit"]["layers"]):
            wanted = 1e-4 * bits[layer["name"]] * layer["mismatch"]["events"] / layer["trials"]
            self.assertAlmostEqual(row["mismatch"]["value"], wanted, 12)
            total += wanted
        self.assertAlmostEqual(report["fit"]["totals"][0]["mismatch"]["value"], total, 10)
        self.bitfall("report", "base", "--fit", "-3", rc=2)
        self.bitfall("report", "base", "--fit", "often", rc=2)
        self.assertIn("no rate", self.stderr)

    def test_rescaling_divides_the_logits(self):
        self.bitfall("head", "rescale", "m.pt", "--by", 4, "-o", "m4.pt")
        with torch.no_grad():
            divided = torch.jit.load(str(self.folder / "m4.pt"))(self.images)
        self.assertTrue(torch.equal(divided, self.logits / 4))  # a power of two: no bit is lost
        document = json.loads(self.bitfall(
            "head", "rescale", "m.pt", "--by", 3, "--data", "data.toml", "-o", "m3.pt", "--json"))
        with torch.no_grad():
            divided = torch.jit.load(str(self.folder / "m3.pt"))(self.images)
        torch.testing.assert_close(divided, self.logits / 3)
        self.assertEqual(document["changed_answers"], 0)
        labels = torch.tensor(self.labels)
        self.assertAlmostEqual(document["nll"][1], F.cross_entropy(self.logits.double() / 3, labels).item(), 6)

    def test_a_temperature_is_pytorchs(self):
        log = torch.zeros((), dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([log], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-14,
                                      line_search_fn="strong_wolfe")

        def loss():
            optimiser.zero_grad()
            value = F.cross_entropy(self.logits.double() / log.exp(), torch.tensor(self.labels))
            value.backward()
            return value

        optimiser.step(loss)
        best = math.exp(log.item())
        document = json.loads(self.bitfall(
            "head", "rescale", "m.pt", "--fit", "nll", "--data", "data.toml", "-o", "fit.pt", "--json"))
        self.assertAlmostEqual(document["temperature"] / best, 1, 5)
        self.assertLessEqual(document["nll"][1], document["nll"][0])
        # At the scale of another network's run.
        self.bitfall("head", "rescale", "m.pt", "--by", 8, "-o", "m8.pt")
        self.run_campaign("eighth", model="m8.pt")
        document = json.loads(self.bitfall(
            "head", "rescale", "m.pt", "--match", "top2diff", "eighth", "--data", "data.toml", "-o", "as8.pt",
            "--json"))
        self.assertAlmostEqual(document["temperature"], 8, 4)

    def test_equal_scale_is_a_row_of_compare(self):
        other = copy.deepcopy(self.network)
        other.fc.weight.data *= 0.25
        other.fc.bias.data *= 0.25
        torch.jit.script(other).save(str(self.folder / "quarter.pt"))
        self.run_campaign("arm", model="quarter.pt", extra='hit_value = "clamped"')
        self.run_campaign("first", extra='hit_value = "clamped"')
        self.assertIn("is not at the scale of first", self.bitfall("compare", "first", "arm"))
        self.bitfall("head", "rescale", "m.pt", "--match", "top2diff", "arm", "--data", "data.toml", "-o", "same.pt")
        self.run_campaign("same", model="same.pt", extra='hit_value = "clamped"')
        comparison = json.loads(self.bitfall("compare", "first", "arm", "same", "--json"))
        (row,) = comparison["equal_scale"]
        self.assertAlmostEqual(row["temperature"], 4, 3)
        self.assertTrue(row["same_top2diff"] and row["same_nll"])
        # The same network twice: nothing is left of the ratio.
        self.assertGreater(comparison["arms"][1]["networks"][0]["improvement"]["delta_loss"]["value"], 1.3)
        self.assertAlmostEqual(row["network"]["delta_loss"]["value"], 1, 2)

    def test_rescale_says_what_is_wrong(self):
        numpy.save(self.folder / "right.npy", self.logits.argmax(1).numpy())
        (self.folder / "all_right.toml").write_text(
            '[model]\npath = "m.pt"\n[data]\npath = "x.npy"\nlabels = "right.npy"\n')
        for arguments, rc, said in (
            (["m.pt", "-o", "n.pt"], 2, "--by T"),
            (["m.pt", "--by", "0", "-o", "n.pt"], 2, "--by"),
            (["m.pt", "--fit", "nll", "-o", "n.pt"], 2, "--data is needed"),
            (["m.pt", "--fit", "nll", "--data", "all_right.toml", "-o", "n.pt"], 4, "images are right"),
            (["m.pt", "--match", "loss", "base", "--data", "data.toml", "-o", "n.pt"], 2, "nll or top2diff"),
            (["m.pt", "--by", "2", "-o", "m.pt"], 2, "m.pt"),
        ):
            self.bitfall("head", "rescale", *arguments, rc=rc)
            self.assertIn(said, self.stderr, arguments)
        self.assertFalse((self.folder / "n.pt").exists())


if __name__ == "__main__":
    unittest.main()
