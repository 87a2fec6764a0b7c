#!/usr/bin/env python3
"""Networks as people write them: right, or refused by name. The oracle is eager PyTorch, the image alone.

usage: networks_test.py PROGRAM [unittest arguments]
"""

import csv
import importlib.util
import io
import json
import math
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import warnings
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

warnings.filterwarnings("ignore")

import numpy
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
import kept_builtins

kept_builtins.keep_builtins()
PROGRAM = os.path.abspath(sys.argv.pop(1))
torch.set_num_threads(1)
CLASSES = 5


def flipped(value, mask):
    (code,) = struct.unpack("<I", struct.pack("<f", value))
    return struct.unpack("<f", struct.pack("<I", code ^ mask))[0]


def loss_of(logits, label):
    return F.cross_entropy(logits.double().reshape(1, -1), torch.tensor([label])).item()


def same(got, wanted):
    got = float(got) if got != "" else math.nan
    if not math.isfinite(wanted) or not math.isfinite(got):
        return not math.isfinite(wanted) and not math.isfinite(got)
    return abs(got - wanted) <= 1e-5 * max(1.0, abs(wanted))


class Base(nn.Module):
    """A convolution, a mean over the map, a linear layer."""

    def __init__(self, width=4, classes=CLASSES):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.fc = nn.Linear(width, classes)

    def features(self, x):
        return F.relu(self.conv(x)).mean((2, 3))

    def forward(self, x):
        return self.fc(self.features(x))


class Networks(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.folder = Path(tempfile.mkdtemp(prefix="bitfall_networks_"))
        images = numpy.random.default_rng(0).standard_normal((16, 3, 8, 8)).astype(numpy.float32)
        self.write_images(images, numpy.arange(16) % CLASSES)

    def write_images(self, images, labels):
        numpy.save(self.folder / "x.npy", images)
        numpy.save(self.folder / "y.npy", labels.astype(numpy.int64))
        self.images = torch.from_numpy(images)
        self.labels = labels

    def save(self, network, trace=0):
        """Scripted, or traced with so many images."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if trace:
                saved = torch.jit.trace(
                    network, self.images[:trace], check_trace=False, strict=False
                )
            else:
                saved = torch.jit.script(network)
        saved.save(str(self.folder / "m.pt"))

    def bitfall(self, *arguments, rc=0):
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            env=dict(os.environ, OMP_NUM_THREADS="1"),
        )
        self.output = done.stdout + done.stderr
        if rc is not None:
            self.assertEqual(done.returncode, rc, self.output)
        return done.stdout

    def campaign(self, batch=8, model="", faults="", run="", per_site=12, extra=""):
        batch_line = f"batch = {batch}" if batch else ""
        (self.folder / "c.toml").write_text(f"""
[campaign]
seed = 3
output = "run"
[model]
path = "m.pt"
{model}
[data]
path = "x.npy"
labels = "y.npy"
[[faults]]
per_site = {per_site}
{faults}
{extra}
[run]
{batch_line}
threads = 1
workers = 1
{run}
""")

    def rows(self):
        return list(csv.DictReader(io.StringIO(self.bitfall("export", "run", "--csv"))))

    def assert_right(
        self,
        network,
        site="conv",
        logits=lambda out: out,
        trace=0,
        weight=None,
        copies=1,
        part=lambda out: out[0],
        **campaign,
    ):
        """All trials in module `site`, or in parameter `weight`, agree with eager PyTorch.

        part: of the module's result, what belongs to the first image; a view.
        """
        network = network.eval()
        self.save(network, trace)
        target = f'target = "weight"\nsites = ["{weight}"]\noperations = "*"'
        self.campaign(faults=target if weight else f'sites = ["{site}"]\noperations = "*"', **campaign)
        self.bitfall("run", "c.toml", "--force")
        trials = self.rows()
        self.assertEqual(len(trials), campaign.get("per_site", 12))
        modules = dict(network.named_modules())
        for trial in trials:
            number, mask = int(trial["element"]), int(trial["mask"], 16)
            image = self.images[int(trial["image"])].unsqueeze(0).repeat(copies, 1, 1, 1)
            label = int(trial["label"])

            def hook(module, inputs, output):
                output = output.clone()
                view = part(output)
                index = numpy.unravel_index(number, tuple(view.shape))
                view[index] = flipped(view[index].item(), mask)
                return output

            with torch.no_grad():
                golden = loss_of(logits(network(image)).reshape(copies, -1)[0], label)
                if weight:
                    parameter = network.state_dict()[weight]  # shares the memory
                    index = numpy.unravel_index(number, tuple(parameter.shape))
                    before = parameter[index].item()
                    parameter[index] = flipped(before, mask)
                    faulty = loss_of(logits(network(image)).reshape(copies, -1)[0], label)
                    parameter[index] = before
                else:
                    handle = modules[site].register_forward_hook(hook)
                    faulty = loss_of(logits(network(image)).reshape(copies, -1)[0], label)
                    handle.remove()
            self.assertTrue(same(trial["golden_loss"], golden), (trial, golden))
            self.assertTrue(same(trial["faulty_loss"], faulty), (trial, faulty))

    def assert_refused(self, network, *words, trace=0, batch=8, **campaign):
        self.save(network.eval() if not trace else network, trace)
        self.campaign(batch=batch, **campaign)
        self.bitfall("run", "c.toml", "--force", rc=4)
        for word in words:
            self.assertIn(word, self.output)

    def listing(self, *arguments):
        return json.loads(
            self.bitfall("sites", "m.pt", "--input", "3x8x8", "--all", "--json", *arguments)
        )

    def sites(self, *arguments):
        return {site["name"]: site for site in self.listing(*arguments)["sites"]}


class Tokens(nn.Module):
    """Twelve tokens of width 16 per image, the sequence first."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(16, 16)
        self.fc = nn.Linear(16, CLASSES)

    def tokens(self, x):
        return self.embed(x.reshape(x.size(0), 12, 16)).transpose(0, 1)

    def answer(self, tokens):
        return self.fc(tokens.mean(0))


class SequenceFirst(Networks):
    """Images that lie in another dimension than the first."""

    def test_a_layer_over_tokens(self):
        class Net(Tokens):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(16, 24)
                self.back = nn.Linear(24, 16)

            def forward(self, x):
                return self.answer(torch.tanh(self.back(F.relu(self.layer(self.tokens(x))))))

        for batch in (8, 5, 2):
            with self.subTest(batch=batch):
                self.assert_right(Net(), "layer", part=lambda out: out[:, 0], batch=batch, per_site=40)
        self.assertEqual(self.sites("--batch", "4")["layer"]["shape"], [12, 24])

    def test_heads_and_tokens_in_one_dimension_with_the_images(self):
        class Net(Tokens):
            def __init__(self):
                super().__init__()
                self.heads = nn.Linear(4, 4)
                self.flat = nn.Linear(16, 16)

            def forward(self, x):
                s = self.tokens(x)
                h = torch.tanh(self.heads(s.reshape(12, x.size(0) * 4, 4)))
                f = torch.tanh(self.flat(h.reshape(12 * x.size(0), 16)))
                return self.answer(f.reshape(12, x.size(0), 16))

        self.assert_right(Net(), "heads", part=lambda out: out[:, :4])
        self.assert_right(Net(), "flat", part=lambda out: out)
        shapes = {name: site["shape"] for name, site in self.sites("--batch", "4").items()}
        self.assertEqual(shapes["heads"], [12, 4, 4])
        self.assertEqual(shapes["flat"], [12, 16])

    def test_attention_as_pytorch_does_it(self):
        class Net(Tokens):
            def __init__(self):
                super().__init__()
                self.norm = nn.LayerNorm(16)
                self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

            def forward(self, x):
                t = self.norm(self.tokens(x).transpose(0, 1))
                return self.answer(self.attention(t, t, t, need_weights=False)[0].transpose(0, 1))

        torch.backends.mha.set_fastpath_enabled(False)
        self.addCleanup(torch.backends.mha.set_fastpath_enabled, True)
        self.assert_right(Net(), "norm", trace=3, copies=3)
        sites = self.sites("--batch", "4")
        self.assertEqual(sites["attention/linear#1"]["shape"], [12, 48])
        self.assertEqual(sites["attention/linear#2"]["shape"], [12, 16])
        self.assertIn("100 % of", self.bitfall("sites", "m.pt", "--input", "3x8x8"))

    def test_the_same_trials_in_every_format_and_batch(self):
        class Net(Tokens):
            def forward(self, x):
                return self.answer(torch.relu(self.tokens(x)))

        self.save(Net().eval())
        for number_format in ("fp16", "int8", "bfp", "mxfp8_e4m3"):
            with self.subTest(number_format=number_format):
                runs = []
                for batch in (1, 8):
                    self.campaign(
                        batch=batch,
                        faults='sites = ["relu*"]\noperations = "*"',
                        extra=f'[format]\nid = "{number_format}"',
                        per_site=60,
                    )
                    self.bitfall("run", "c.toml", "--force")
                    runs.append(self.rows())
                told = ("trial", "image", "element", "code_before", "code_after")
                told += ("value_before", "value_after")
                one, eight = ([[row[key] for key in told] for row in rows] for rows in runs)
                self.assertEqual(one, eight)
                for a, b in zip(*runs):
                    self.assertTrue(same(a["faulty_loss"], float(b["faulty_loss"])), (a, b))

    def test_a_maximum_over_tokens_is_an_images_own(self):
        class Net(Tokens):
            def __init__(self, dim):
                super().__init__()
                self.dim = dim

            def forward(self, x):
                t = self.tokens(x)
                return self.answer(torch.tanh(t - t.amax(self.dim, True)))

        self.assert_right(Net(0), "fc")
        self.assert_refused(Net(1), "depends on the other images")


class Types(Networks):
    """Networks that compute in other types than float32."""

    INTEGERS = {torch.float8_e4m3fn: torch.uint8, torch.float16: torch.int16,
                torch.bfloat16: torch.int16, torch.float32: torch.int32}

    def stored(self, value, number, mask, format_type):
        """A network's value as a format of another type holds it, one bit flipped where there is one."""
        codes = value.to(format_type).contiguous().view(self.INTEGERS[format_type])
        if number is not None:
            flat = codes.view(-1).numpy().view(f"uint{8 * codes.element_size()}")  # the memory
            flat[number] ^= mask
        return codes.view(format_type).to(torch.float32).to(value.dtype)

    def assert_stored(self, network, number_format, format_type, site="conv", weight=None, **campaign):
        """All trials agree with eager PyTorch, where the site's value is stored in the format."""
        network = network.eval()
        self.save(network)
        target = f'target = "weight"\nsites = ["{weight}"]' if weight else f'sites = ["{site}"]'
        self.campaign(faults=target, extra=f'[format]\nid = "{number_format}"', **campaign)
        self.bitfall("run", "c.toml", "--force")
        kind = next(network.parameters()).dtype
        module = dict(network.named_modules())[site]

        def answer(image, number, mask):
            if weight:
                parameter = network.state_dict()[weight]  # shares the memory
                before = parameter.clone()
                parameter.copy_(self.stored(parameter, number, mask, format_type))
                out = network(image)
                parameter.copy_(before)
                return out
            hook = lambda module, inputs, output: self.stored(output, number, mask, format_type)
            handle = module.register_forward_hook(hook)
            out = network(image)
            handle.remove()
            return out

        trials = self.rows()
        self.assertEqual(len(trials), campaign.get("per_site", 12))
        for trial in trials:
            image = self.images[int(trial["image"])].unsqueeze(0).to(kind)
            with torch.no_grad():
                golden = loss_of(answer(image, None, 0)[0], int(trial["label"]))
                bit = int(trial["element"]), int(trial["mask"], 16)
                faulty = loss_of(answer(image, *bit)[0], int(trial["label"]))
            self.assertTrue(same(trial["golden_loss"], golden), (trial, golden))
            self.assertTrue(same(trial["faulty_loss"], faulty), (trial, faulty))

    def test_each_in_its_own_format(self):
        for kind, number_format in ((torch.float16, "fp16"), (torch.bfloat16, "bf16")):
            with self.subTest(kind=kind):
                for batch in (1, 4):
                    self.assert_stored(Base().to(kind), number_format, kind, batch=batch, per_site=40)
                self.assert_stored(Base().to(kind), number_format, kind, weight="fc.weight")
                self.assert_stored(Base().to(kind), number_format, kind, weight="conv.weight")

    def test_in_narrower_formats(self):
        eight = torch.float8_e4m3fn
        self.assert_stored(Base().half(), "fp8_e4m3", eight, per_site=40)
        self.assert_stored(Base().bfloat16(), "fp8_e4m3", eight, weight="fc.weight")

    def test_float64(self):
        self.assert_stored(Base().double(), "fp32", torch.float32, per_site=40)
        self.assert_stored(Base().double(), "fp16", torch.float16, per_site=40)
        self.assert_stored(Base().double(), "fp32", torch.float32, weight="conv.weight")

    def test_the_image_comes_in_the_networks_type(self):
        self.save(Base().half().eval())
        self.campaign(faults='target = "input"', extra='[format]\nid = "fp16"', per_site=30)
        self.bitfall("run", "c.toml")
        for trial in self.rows():
            image = self.images[int(trial["image"])].half()
            value = image.view(-1)[int(trial["element"])].item()
            self.assertAlmostEqual(float(trial["value_before"]), value, delta=abs(value) * 1e-6)

    def test_a_network_that_casts_by_itself(self):
        class Net(Base):
            def forward(self, x):
                x = (x * 1.001 - 0.3).to(self.conv.weight.dtype)
                return self.fc(self.features(x)).float()

        network = Net().half().eval()
        self.save(network)
        self.campaign(faults='sites = ["conv"]', extra='[format]\nid = "fp16"')
        self.bitfall("run", "c.toml")
        for trial in self.rows():
            with torch.no_grad():
                wanted = loss_of(network(self.images[int(trial["image"])].unsqueeze(0))[0],
                                 int(trial["label"]))
            self.assertTrue(same(trial["golden_loss"], wanted), (trial, wanted))

    def test_what_a_type_does_not_hold(self):
        for kind, number_format, words in (
            (torch.float16, "fp32", "does not hold its 32 bits"),
            (torch.float16, "int8", "does not hold numbers times a scale"),
            (torch.float16, "bf16", "does not hold its number"),
            (torch.bfloat16, "fp16", "does not hold its number"),
        ):
            with self.subTest(kind=kind, number_format=number_format):
                self.save(Base().to(kind).eval())
                self.campaign(extra=f'[format]\nid = "{number_format}"')
                self.bitfall("run", "c.toml", "--force", rc=2)
                self.assertIn(words, self.output)
                self.assertIn("fp16" if kind == torch.float16 else "bf16", self.output)
                self.assertIn("model.float()", self.output)

    def test_a_part_in_another_type(self):
        class Net(Base):
            def __init__(self):
                super().__init__()
                self.narrow = nn.Linear(4, 4).half()

            def forward(self, x):
                return self.fc(self.narrow(self.features(x).half()).float())

        network = Net().eval()
        self.save(network)
        self.assertEqual(self.sites()["narrow"]["type"], "float16")
        self.campaign()
        self.bitfall("run", "c.toml", rc=2)
        self.assertIn("narrow", self.output)
        self.campaign(extra='[[formats]]\nformat = "fp16"\nsites = ["narrow"]')
        self.bitfall("run", "c.toml")
        for trial in self.rows():
            if trial["site"] != "narrow":
                continue

            def hook(module, inputs, output):
                return self.stored(output, int(trial["element"]), int(trial["mask"], 16), torch.float16)

            handle = network.narrow.register_forward_hook(hook)
            with torch.no_grad():
                faulty = loss_of(network(self.images[int(trial["image"])].unsqueeze(0))[0],
                                 int(trial["label"]))
            handle.remove()
            self.assertTrue(same(trial["faulty_loss"], faulty), (trial, faulty))


class Interpreted(Networks):
    """What only LibTorch's interpreter knows."""

    def test_forks_in_a_list(self):
        class Net(Base):
            def __init__(self):
                super().__init__()
                self.side = nn.Linear(4, CLASSES)

            def forward(self, x):
                y = self.features(x)
                futures = [torch.jit.fork(self.side, y), torch.jit.fork(self.fc, y * 0.5)]
                total = self.fc(y)
                for future in futures:
                    total = total + torch.jit.wait(future)
                return total

        self.assert_right(Net(), "side")

    def test_a_traced_fork(self):
        class Net(Base):
            def forward(self, x):
                future = torch.jit.fork(torch.tanh, self.features(x))
                return self.fc(torch.jit.wait(future))

        self.assert_right(Net(), trace=3, copies=3)

    def test_blocks_without_effect(self):
        class Net(Base):
            def forward(self, x):
                with torch.no_grad():
                    with torch.autograd.profiler.record_function("features"):
                        y = self.features(x)
                return self.fc(y)

        self.assert_right(Net())

    def test_autocast_around_a_layer_that_is_not_hit(self):
        class Net(Base):
            def forward(self, x):
                y = self.features(x)
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    z = self.fc(y)
                return z.float()

        class Off(Base):
            def forward(self, x):
                y = self.features(x)
                with torch.autocast("cpu", enabled=False):
                    z = self.fc(y)
                return z

        self.assert_right(Net())
        self.assert_right(Off())

    def test_words(self):
        class Net(Base):
            def forward(self, x):
                y = self.features(x)
                print("mean", y.mean(), f"{x.size(0)} images", "%d" % x.dim())
                if not self.training:
                    warnings.warn("not in training")
                assert x.size(1) == 3, f"3 channels, not {x.size(1)}"
                return self.fc(y)

        self.assert_right(Net())

    def test_attributes_that_are_set(self):
        class Net(Base):
            calls: int
            last: Optional[torch.Tensor]

            def __init__(self):
                super().__init__()
                self.calls = 0
                self.last = None

            def forward(self, x):
                self.calls += 1
                y = self.features(x)
                if x.size(0) > 1:
                    self.last = y
                return self.fc(y)

        self.assert_right(Net())

    def test_a_cache_in_a_dictionary(self):
        class Net(Base):
            cache: Dict[str, torch.Tensor]

            def __init__(self):
                super().__init__()
                self.cache = {}

            def bias(self, device: str):
                if device not in self.cache:
                    self.cache[device] = torch.arange(4.0)
                return self.cache[device]

            def forward(self, x):
                return self.fc(self.features(x) + self.bias("cpu") + self.bias("cpu"))

        self.assert_right(Net())

    def test_a_state_from_call_to_call(self):
        class Net(Base):
            calls: int

            def __init__(self):
                super().__init__()
                self.calls = 0

            def forward(self, x):
                self.calls += 1
                return self.fc(self.features(x)) * float(self.calls)

        self.assert_refused(Net(), "keeps a state")

    def test_loops_on_sizes(self):
        class Net(Base):
            def __init__(self):
                super().__init__()
                self.mix = nn.Linear(4, 4)

            def forward(self, x):
                y = self.features(x)
                for _ in range(x.size(2) // 4):
                    y = torch.tanh(self.mix(y))
                n = 1
                while n < x.size(3):
                    n *= 2
                return self.fc(y * float(n))

        self.assert_right(Net())
        self.assertIn("mix/linear#2", self.sites())

    def test_normalisations_that_check_sizes(self):
        class Net(Base):
            def __init__(self):
                super().__init__()
                self.group = nn.GroupNorm(2, 4)
                self.instance = nn.InstanceNorm2d(4, affine=True)

            def forward(self, x):
                return self.fc(self.instance(self.group(self.conv(x))).relu().amax((2, 3)))

        self.assert_right(Net(), "group")

    def test_attention_as_a_module(self):
        class Net(Base):
            def __init__(self):
                super().__init__(width=8)
                self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

            def forward(self, x):
                y = self.conv(x).flatten(2).transpose(1, 2)
                y, _ = self.attention(y, y, y, need_weights=True)
                return self.fc(y.mean(1))

        self.assert_right(Net())

    def test_further_inputs(self):
        class Net(Base):
            def forward(self, x, scale: float = 2.0, mask: Optional[torch.Tensor] = None, flip: bool = False):
                y = self.features(x) * scale
                if mask is not None:
                    y = y * mask
                if flip:
                    y = -y
                return self.fc(y)

        self.assert_right(Net())

    def test_types_are_asked_for(self):
        class Net(Base):
            def pick(self, values: List[Optional[torch.Tensor]]):
                for value in values:
                    if isinstance(value, torch.Tensor):
                        return value
                return torch.zeros(1)

            def forward(self, x):
                picked = self.pick([None, self.features(x)])
                assert picked is not None
                return self.fc(picked)

        self.assert_right(Net())


class Answers(Networks):
    def test_a_named_tuple(self):
        class Out(NamedTuple):
            hidden: torch.Tensor
            scores: torch.Tensor

        class Net(Base):
            def forward(self, x):
                y = self.conv(x)
                return Out(y, self.fc(F.relu(y).mean((2, 3))))

        self.assert_right(Net(), logits=lambda out: out[1])

    def test_a_list_by_number_and_a_dictionary_by_key(self):
        class Listed(Base):
            def forward(self, x):
                y = self.fc(self.features(x))
                return [y * 2.0, y]

        class Keyed(Base):
            def forward(self, x) -> Dict[str, torch.Tensor]:
                y = self.fc(self.features(x))
                return {"a": y, "b": y * 3.0}

        self.assert_right(Listed(), logits=lambda out: out[1], model="output = 1")
        self.assertIn("1", self.output + self.bitfall("report", "run"))
        self.assert_right(Keyed(), logits=lambda out: out["b"], model='output = "b"')
        self.save(Keyed().eval())
        self.campaign()
        self.bitfall("run", "c.toml", "--force", rc=4)
        self.assertIn("several tensors that can be its answer", self.output)
        self.campaign(model='output = "c"')
        self.bitfall("run", "c.toml", "--force", rc=4)
        self.assertIn('"c" is not among', self.output)

    def test_trailing_ones_and_a_single_row(self):
        class Map(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, CLASSES, 3, padding=1)

            def forward(self, x):
                return F.adaptive_max_pool2d(self.conv(x), 1)

        class Row(Base):
            def forward(self, x):
                return self.fc(self.features(x))[0]

        self.assert_right(Map())
        self.assert_right(Row(), batch=1)

    def test_one_logit(self):
        self.write_images(self.images.numpy(), numpy.zeros(16))
        self.assert_refused(Base(classes=1), "[0, z]")

    def test_probabilities(self):
        class Net(Base):
            def forward(self, x):
                return self.fc(self.features(x)).softmax(1)

        network = Net().eval()
        self.save(network)
        self.campaign()
        self.bitfall("run", "c.toml")
        self.assertIn("look like probabilities", self.output)
        self.campaign(model='answer = "probabilities"')
        self.bitfall("run", "c.toml", "--force")
        self.assertNotIn("look like", self.output)
        with torch.no_grad():
            shares = network(self.images).double()
        for trial in self.rows():
            wanted = -math.log(shares[int(trial["image"]), int(trial["label"])])
            self.assertTrue(same(trial["golden_loss"], wanted), trial)


class Batches(Networks):
    """Answers that depend on the rest of the batch, and ones that only look so."""

    def one(self, code):
        class Net(Base):
            def forward(self, x):
                return self.fc(code(self.features(x)))

        return Net()

    def test_reductions_over_the_batch(self):
        for code in (
            lambda y: y / y.abs().amax(),
            lambda y: y.clamp(max=y.flatten().quantile(0.99)),
            lambda y: torch.where(y.isnan().any(), torch.zeros_like(y), y),
            lambda y: y - y.sort(0)[0][:1],
            lambda y: y * (y == y.median()).float().sum() + y,
            lambda y: torch.fake_quantize_per_tensor_affine(
                y, y.detach().max() / 127, torch.zeros(1, dtype=torch.int32), -128, 127
            ),
        ):
            with self.subTest(code=code):
                self.assert_refused(self.one(code), "batch = 1", trace=3)

    def test_dynamic_quantisation(self):
        network = torch.ao.quantization.quantize_dynamic(Base().eval(), {nn.Linear}, torch.qint8)
        self.assert_refused(network, "batch = 1")
        self.campaign(batch=1, faults='sites = ["conv"]')
        self.bitfall("run", "c.toml", "--force")

    def test_a_saturated_maximum(self):
        self.assert_refused(self.one(lambda y: y + (y * 1e6).sigmoid().amax()), "batch = 1", trace=3)

    def test_the_same_of_each_image_is_right(self):
        self.assert_right(self.one(lambda y: y / y.abs().amax(1, keepdim=True)), trace=3, copies=3)

    def test_a_batch_that_is_not_given_becomes_one(self):
        class Net(Base):
            def forward(self, x):
                y = self.features(x)
                return self.fc(y / y.abs().amax())

        self.save(Net().eval())
        self.campaign(batch=0)
        self.bitfall("run", "c.toml")
        self.assertIn("[run] batch = 1", self.output)
        self.assertIsNone(self.listing()["unfit"])
        self.assertIn("the sites are those of [run] batch = 1", self.output)
        self.assertIn("batch = 1", self.listing("--batch", "3")["unfit"])

    def test_sites_of_a_network_that_needs_two_images(self):
        class Net(Base):
            def forward(self, x):
                y = self.features(x)
                return self.fc(y) + y[1].sum()

        self.save(Net().eval())
        self.assertIn("depends on the other images", self.listing()["unfit"])

    def test_what_a_network_says_is_no_output(self):
        class Net(Base):
            def forward(self, x):
                print("of shape", x.shape)
                warnings.warn("of a network")
                return self.fc(self.features(x))

        self.save(Net().eval())
        self.listing()
        self.assertNotIn("of ", self.output)

    def test_random_but_rarely(self):
        class Net(Base):
            def forward(self, x):
                y = self.features(x)
                return self.fc(torch.where(torch.rand(1) < 1e-4, y * 2, y))

        class Leaky(Base):
            def forward(self, x):
                return self.fc(F.rrelu(self.features(x), training=True))

        self.assert_refused(Net(), "draws random numbers", batch=1)
        self.assert_refused(Leaky(), "draws random numbers")
        self.assertIn("draws random numbers", self.listing()["unfit"])
        self.bitfall("sites", "m.pt", "--input", "3x8x8")
        self.assertIn("warning: no campaign runs on it: it draws random numbers", self.output)

    def test_dropout_in_evaluation_is_not_random(self):
        class Net(Base):
            def forward(self, x):
                y = F.dropout(self.features(x), 0.5, self.training)
                return self.fc(F.scaled_dot_product_attention(y[:, None], y[:, None], y[:, None])[:, 0])

        self.assert_right(Net())


class Decided(Networks):
    """Conditionals and loops that values decide, in a batch of one."""

    class Net(Base):
        """A branch reads what is made ahead of it, and a loop without a turn hands its value back."""

        def __init__(self):
            super().__init__()
            self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
            self.conv3 = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            y = self.conv(x)
            z = self.conv2(y)
            if float(y.mean()) > 0.05:
                w = y * 0.9
            else:
                w = z + 0.1
            v = z * 1.0
            u = v
            while float(u.abs().mean()) > 0.3:
                u = u * 0.7
            w = w + self.conv3(torch.relu_(u))
            return self.fc((w + v).mean((2, 3)))

    def test_are_those_of_pytorch(self):
        for site in ("conv", "conv2", "conv3"):
            with self.subTest(site=site):
                self.assert_right(self.Net(), site, batch=1)

    def test_shortcuts_change_nothing(self):
        self.save(self.Net().eval())
        numpy.save(self.folder / "learn.npy", self.images[:4].numpy())
        numpy.save(self.folder / "learned.npy", self.labels[:4])
        protection = """
[[protect]]
protection = { id = "range", percentile = 60 }
name = "guarded"
operations = "*"
[learn]
path = "learn.npy"
labels = "learned.npy"
"""
        stored = []
        for run in ("", "suffix = false", "regions = false", "memory_budget = 0"):
            self.campaign(batch=1, faults='operations = "*"', run=run, extra=protection)
            self.bitfall("run", "c.toml", "--force")
            guarded = self.bitfall("export", "run/protected/guarded", "--csv")
            stored.append((self.rows(), guarded))
        for other in stored[1:]:
            self.assertEqual(stored[0], other)

    class Path(Base):
        """A damaged value takes another path, and comes out as large but lying otherwise."""

        def __init__(self, kind: str):
            super().__init__()
            self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
            self.kind = kind

        def forward(self, x):
            y = self.conv(x) * 1.0
            z = y[:, :2] if self.kind == "part" else y
            if float(y.abs().max()) > 6.0:
                if self.kind == "strides":
                    z = y.transpose(2, 3)
                if self.kind == "type":
                    z = y.double() / 3.0
                if self.kind == "part":
                    z = y[:, 2:]
                if self.kind == "memory":
                    z = y * 0.5
            w = self.conv2(self.conv2(x[:, :1].expand(-1, 4, -1, -1)))
            if self.kind == "strides":
                w = w + z.view(z.size(0), -1, z.size(3) * z.size(2)).reshape(w.shape)
            if self.kind == "type":
                w = w + (z * 1.1).float()
            if self.kind == "part" or self.kind == "memory":
                y.relu_()
                w = w + self.conv2(torch.cat([z[:, :2], y[:, :2]], 1))
            return self.fc(w.mean((2, 3)))

    def test_another_path_leaves_other_tensors(self):
        for kind in ("strides", "type", "part", "memory"):
            with self.subTest(kind=kind):
                self.save(self.Path(kind).eval())
                stored = []
                for run in ("", "early_stop = false"):
                    self.campaign(batch=1, faults='operations = "*"', run=run,
                                  per_site=100)
                    self.bitfall("run", "c.toml", "--force")
                    stored.append(self.rows())
                self.assertEqual(*stored)


class Sizes(Networks):
    """Sizes and row orders that depend on values."""

    class Experts(Base):
        def __init__(self, rows_of=lambda chosen: chosen.nonzero().squeeze(1)):
            super().__init__()
            self.expert = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
            self.rows_of = rows_of

        def forward(self, x):
            y = self.features(x)
            chosen = (x.mean((1, 2, 3)) > 0).long()
            z = torch.zeros_like(y)
            for i, expert in enumerate(self.expert):
                rows = self.rows_of(chosen == i)
                z[rows] = expert(y[rows])
            return self.fc(z)

    def test_experts(self):
        network = self.Experts().eval()
        self.save(network, trace=4)
        found = self.sites()
        for name in ("expert.0", "expert.1"):
            self.assertIn("size depends on the images' values", found[name]["refusal"])
        for name in ("conv", "fc"):
            self.assert_right(network, name, trace=4, batch=1)
        # Batches of other sizes give an expert's matrix product other last bits.
        self.assert_refused(network, "batch = 1", trace=4)

    def test_experts_by_operators_that_say_nothing_of_sizes(self):
        for rows_of in (lambda c: torch.where(c)[0], lambda c: c.nonzero(as_tuple=True)[0]):
            network = self.Experts(rows_of).eval()
            self.save(network, trace=4)
            for batch in ("1", "8"):
                found = self.sites("--batch", batch)
                for name in ("expert.0", "expert.1"):
                    self.assertIn("size depends on the images' values", found[name]["refusal"])
            self.assert_right(network, "conv", trace=4, batch=1)
            self.assert_right(network, weight="expert.0.weight", trace=4, batch=1)
            self.assert_refused(network, "batch = 1", trace=4)

    def test_masked_tokens(self):
        class Net(Base):
            def forward(self, x):
                y = self.features(x)
                kept = torch.masked_select(y, y > 0.1)
                return self.fc(y) + 0.0 * kept.tanh().numel()

        self.save(Net().eval())
        self.assertIn("size depends", self.sites("--batch", "1")["tanh"]["refusal"])

    def test_rows_in_another_order(self):
        class Net(Base):
            def __init__(self):
                super().__init__()
                self.middle = nn.Linear(4, 4)

            def forward(self, x):
                y = self.features(x)
                order = y[:, 0].argsort()
                z = torch.zeros_like(y)
                z[order] = self.middle(y[order])
                return self.fc(z)

        network = Net().eval()
        self.save(network, trace=4)
        self.assertIsNotNone(self.sites("--batch", "8")["middle"]["refusal"])
        self.assert_right(network, "fc", trace=4, copies=4)
        self.assert_right(network, "middle", trace=1, batch=1)


class Weights(Networks):
    """Parameters that share memory, and ones that are computed with before a layer reads them."""

    def reached(self, network, name, trace=3):
        """A fault in the parameter agrees with PyTorch, and default operations select it."""
        self.assert_right(network, weight=name, trace=trace, copies=trace)
        self.assertIn(self.sites()[name]["operation"], ("conv", "linear"))

    def test_normed(self):
        network = Base()
        network.fc = nn.utils.parametrizations.weight_norm(network.fc)
        self.reached(network, "fc.parametrizations.weight.original1")

    def test_spectral(self):
        network = Base()
        network.conv = nn.utils.spectral_norm(network.conv)
        self.reached(network.eval(), "conv.weight_orig")

    def test_masked(self):
        class Net(Base):
            def __init__(self):
                super().__init__()
                self.register_buffer("mask", (torch.rand(4, 3, 3, 3) > 0.3).float())

            def forward(self, x):
                y = F.conv2d(x, self.conv.weight * self.mask, self.conv.bias, padding=1)
                return self.fc(y.relu().mean((2, 3)))

        self.reached(Net(), "conv.weight")

    def test_low_rank(self):
        class Net(Base):
            def __init__(self):
                super().__init__()
                self.a = nn.Parameter(torch.randn(CLASSES, 2))
                self.b = nn.Parameter(torch.randn(2, 4))

            def forward(self, x):
                return F.linear(self.features(x), self.fc.weight + self.a @ self.b, self.fc.bias)

        for name in ("a", "b", "fc.weight"):
            self.reached(Net(), name)

    def test_fake_quantised(self):
        class Net(Base):
            def forward(self, x):
                w = torch.fake_quantize_per_tensor_affine(self.conv.weight, 0.01, 0, -128, 127)
                return self.fc(F.conv2d(x, w, self.conv.bias, padding=1).relu().mean((2, 3)))

        self.reached(Net(), "conv.weight")

    def test_views_of_one_memory(self):
        class Net(Base):
            def __init__(self, first):
                super().__init__()
                memory = torch.randn(6, 4)
                self.whole = nn.Parameter(memory)
                self.rows = nn.Parameter(memory[1 : 1 + CLASSES])
                self.turned = nn.Parameter(memory.t())

            def forward(self, x):
                y = self.features(x)
                y = F.linear(F.linear(y, self.whole), self.turned)
                return F.linear(y, self.rows)

        # TorchScript saves one memory once; the oracle edits the loaded module's.
        for name in ("whole", "rows", "turned"):
            network = Net(name).eval()
            self.save(network)
            self.campaign(faults=f'target = "weight"\nsites = ["{name}"]')
            self.bitfall("run", "c.toml", "--force")
            for trial in self.rows():
                loaded = torch.jit.load(str(self.folder / "m.pt"))
                parameter = dict(loaded.named_parameters())[name]
                index = numpy.unravel_index(int(trial["element"]), tuple(parameter.shape))
                with torch.no_grad():
                    parameter[index] = flipped(parameter[index].item(), int(trial["mask"], 16))
                    logits = loaded(self.images[int(trial["image"])].unsqueeze(0))
                wanted = loss_of(logits[0], int(trial["label"]))
                self.assertTrue(same(trial["faulty_loss"], wanted), (trial, wanted))

    def test_views_in_a_format(self):
        class Net(Base):
            def __init__(self):
                super().__init__(width=CLASSES)
                self.turned = nn.Parameter(self.fc.weight.t())

            def forward(self, x):
                return self.fc(self.features(x)) @ self.turned

        network = Net().eval()
        self.save(network)
        entry = '[[formats]]\nformat = "fp8_e4m3"\ntarget = "weight"\nsites = ["fc.weight", "turned"]\noperations = "*"'
        self.campaign(faults='sites = ["conv"]', extra=entry)
        self.bitfall("run", "c.toml")
        with torch.no_grad():
            rounded = network.fc.weight.to(torch.float8_e4m3fn).float()
            network.fc.weight.copy_(rounded)  # turned shares the memory
            answers = network(self.images)
        for trial in self.rows():
            wanted = loss_of(answers[int(trial["image"])], int(trial["label"]))
            self.assertTrue(same(trial["golden_loss"], wanted), (trial, wanted))
        self.campaign(faults='sites = ["conv"]', extra=entry.replace("fp8_e4m3", "int8"))
        self.bitfall("run", "c.toml", "--force", rc=4)
        self.assertIn("shares a part of its memory", self.output)

    def test_recurrent_layers(self):
        for layer in (nn.LSTM, nn.GRU):
            for trace in (0, 3):

                class Net(nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.cells = layer(24, 16, 2, batch_first=True)
                        self.fc = nn.Linear(16, CLASSES)

                    def forward(self, x):
                        y, _ = self.cells(x.reshape(x.size(0), -1, 24))
                        return self.fc(y[:, -1])

                with self.subTest(layer=layer, trace=trace):
                    weight = "cells.weight_hh_l0"
                    self.assert_right(Net(), weight=weight, trace=trace, copies=max(trace, 1))
                    text = self.bitfall("sites", "m.pt", "--input", "3x8x8")
                    self.assertIn("sites cover 100 % of", text)
                    self.assertIn("and 100 % of", text)

    def test_what_lies_in_no_site_is_said(self):
        class Net(Base):
            def forward(self, x):
                y = self.features(x)
                z = y
                while bool(z.abs().max() > 0.01):
                    z = torch.mm(z, self.fc.weight.t() @ self.fc.weight) * 0.1
                return self.fc(y + z)

        self.save(Net().eval())
        text = self.bitfall("sites", "m.pt", "--input", "3x8x8", "--batch", "1")
        self.assertIn("multiplications in no site: ", text)
        self.campaign(batch=1)
        self.bitfall("run", "c.toml")
        facts = json.loads(self.bitfall("report", "run", "--json"))
        self.assertIn("mm", json.dumps(facts))

    def test_names_are_unique(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.relu = nn.Linear(192, 6)
                self.softmax = nn.Linear(6, CLASSES)

            def forward(self, x):
                y = F.relu(self.relu(x.flatten(1)))
                return self.softmax(y) + F.softmax(y, 1)[:, :5]

        self.assert_right(Net(), "softmax")
        text = self.bitfall("sites", "m.pt", "--input", "3x8x8", "--all", "--json")
        names = [site["name"] for site in json.loads(text)["sites"]]
        self.assertEqual(len(names), len(set(names)), names)
        self.assertIn("/relu", names)


class Outcomes(Networks):
    """Faults that make the model raise, or never end."""

    def crashes(self, network, batch, site="conv", per_site=60):
        """By trial: whether eager PyTorch raises under the same edit, and the outcome here."""
        network = network.eval()
        self.save(network)
        self.campaign(batch=batch, faults=f'sites = ["{site}"]', per_site=per_site)
        self.bitfall("run", "c.toml", "--force")
        raised = 0
        for trial in self.rows():

            def hook(module, inputs, output):
                output = output.clone()
                view = output[0].view(-1)
                number = int(trial["element"])
                view[number] = flipped(view[number].item(), int(trial["mask"], 16))
                return output

            image = self.images[int(trial["image"])].unsqueeze(0)
            handle = dict(network.named_modules())[site].register_forward_hook(hook)
            try:
                with torch.no_grad():
                    wanted = loss_of(network(image)[0], int(trial["label"]))
                self.assertNotEqual(trial["outcome"], "crashed", trial)
                self.assertTrue(same(trial["faulty_loss"], wanted), (trial, wanted))
            except (RuntimeError, IndexError, ValueError):
                raised += 1
                self.assertEqual(trial["outcome"], "crashed", trial)
            finally:
                handle.remove()
        self.assertGreater(raised, 0)
        digest = self.digest()
        for shortcut in ("suffix", "early_stop", "share", "regions"):  # the same trials without it
            self.campaign(
                batch=batch, faults=f'sites = ["{site}"]', per_site=per_site, run=f"{shortcut} = false"
            )
            self.bitfall("run", "c.toml", "--force")
            self.assertEqual(self.digest(), digest, shortcut)
        return raised

    def digest(self):
        status = self.bitfall("status", "run")
        return next(line for line in status.splitlines() if line.startswith("digest"))

    def test_indices_out_of_a_table(self):
        class Net(Base):
            def __init__(self):
                super().__init__()
                self.table = nn.Embedding(64, 4)

            def forward(self, x):
                codes = (self.conv(x).mean((2, 3)) * 4 + 32).long()
                return self.fc(self.table(codes).mean(1) + self.table.weight[codes[:, 0]])

        self.assertEqual(self.crashes(Net(), 8), self.crashes(Net(), 1))
        self.assertIn("crashed", self.bitfall("report", "run"))

    def test_weights_that_make_the_model_raise_for_some_images(self):
        class Net(Base):
            def __init__(self):
                super().__init__()
                self.table = nn.Embedding(64, 4)

            def forward(self, x):
                codes = (self.conv(x).mean((2, 3)) * 4 + 32).long()
                return self.fc(self.table(codes).mean(1))

        network = Net().eval()
        self.save(network)
        found = {}
        for batch in (1, 8):
            self.campaign(
                batch=batch, per_site=60, faults='target = "weight"\nsites = ["conv.weight"]'
            )
            self.bitfall("run", "c.toml", "--force")
            found[batch] = [(t["outcome"], t["faulty_top1"]) for t in self.rows()]
        self.assertEqual(found[1], found[8])
        self.assertIn("crashed", [outcome for outcome, _ in found[1]])
        parameter = network.state_dict()["conv.weight"]
        for trial in self.rows():
            index = numpy.unravel_index(int(trial["element"]), tuple(parameter.shape))
            before = parameter[index].item()
            parameter[index] = flipped(before, int(trial["mask"], 16))
            try:
                with torch.no_grad():
                    network(self.images[int(trial["image"])].unsqueeze(0))
                self.assertNotEqual(trial["outcome"], "crashed", trial)
            except (RuntimeError, IndexError):
                self.assertEqual(trial["outcome"], "crashed", trial)
            parameter[index] = before

    def test_the_models_own_check(self):
        class Net(Base):
            def forward(self, x):
                y = self.conv(x)
                if bool((y.abs() > 100).any()):
                    raise ValueError("activations beyond 100")
                return self.fc(F.relu(y).mean((2, 3)))

        self.crashes(Net(), 8)

    def test_a_replay_of_a_crash(self):
        class Net(Base):
            def forward(self, x):
                y = self.features(x)
                gram = torch.einsum("ni,nj->nij", y, y) + torch.eye(4)
                return self.fc(torch.linalg.cholesky(gram).sum(2))

        self.crashes(Net(), 4)
        crashed = next(trial for trial in self.rows() if trial["outcome"] == "crashed")
        self.bitfall("replay", "run", "--trial", crashed["trial"])
        self.assertIn("crashed", self.output)

    def test_a_loop_that_does_not_end(self):
        class Net(Base):
            def forward(self, x):
                y = self.features(x)
                z = y
                for _ in range(int(y.abs().max() * 10)):
                    z = z * 0.5
                return self.fc(y + z)

        self.save(Net().eval())
        # The sign of the largest exponent bit: values near 1 become 1e38.
        self.campaign(
            batch=1,
            per_site=30,
            faults='sites = ["conv"]\nerror_model = { id = "bit_flip", bit_class = "exponent" }',
            run="pass_limit = 0.5",
        )
        self.bitfall("run", "c.toml")
        outcomes = {trial["outcome"] for trial in self.rows()}
        self.assertTrue({"hung", "crashed"} & outcomes, outcomes)


class Written(Networks):
    """Random networks full of views, of lists that grow, and of steps that write in place."""

    CHANNELS = 8

    def setUp(self):
        super().setUp()
        images = numpy.random.default_rng(1).standard_normal((8, 3, 24, 24))
        self.write_images(images.astype(numpy.float32), numpy.arange(8) % CLASSES)

    def network(self, seed):
        """The network and the names of its convolutions."""
        choose, width = random.Random(seed), self.CHANNELS
        layers = {"stem": f"nn.Conv2d(3, {width}, 3, padding=1)"}
        lines, maps, lists = ["v0 = self.stem(x)", "l0 = [v0]"], ["v0"], ["l0"]

        def layer(name, code):
            layers[name] = code
            return f"self.{name}"

        for n in range(1, choose.randint(8, 18)):
            a, b, held, v = choose.choice(maps), choose.choice(maps), choose.choice(lists), f"v{n}"
            size, here = choose.choice([1, 3, 5]), choose.choice(["True", "False"])
            convolution = f"nn.Conv2d({width}, {width}, {size}, padding={size // 2})"
            kind = choose.randrange(20)
            if kind < 3:
                lines.append(f"{v} = {layer(f'conv{n}', convolution)}({a})")
            elif kind == 3:
                norm = layer(f"norm{n}", f"nn.BatchNorm2d({width})")
                lines.append(f"{v} = torch.relu_({norm}({a}))")
            elif kind == 4:
                lines.append(f"{v} = F.silu({a}, inplace={here})")
            elif kind == 5:
                lines.append(f"{v} = {a}.add_({b} * 0.5)")
            elif kind == 6:
                lines.append(f"{v} = {a} + {b}")
            elif kind == 7:  # GhostNet
                lines += [f"p{n} = torch.cat([{a}, {b}], 1)[:, 3:{width + 3}]", f"p{n} *= 0.5"]
                lines.append(f"{v} = {layer(f'conv{n}', convolution)}(p{n})")
            elif kind == 8:  # the whole is read by another name
                lines += [f"{v} = {a} * 1.0", f"{v}[:, ::2] = {v}[:, 1::2] * 2.0"]
            elif kind == 9:
                lines += [f"{held}.append({a})", f"{v} = {b}"]
            elif kind == 10:
                lines += [f"l{n} = [{a}, {b}]", f"{v} = torch.stack({held}).mean(0)"]
                lists.append(f"l{n}")
            elif kind == 11:
                lines += [f"a{n}, b{n} = {a}.chunk(2, 1)", f"{v} = torch.cat([b{n}.relu_(), a{n}], 1)"]
            elif kind == 12:
                lines.append(f"{v} = {a} * torch.sigmoid({b}.mean((2, 3), keepdim=True))")
            elif kind == 13:
                lines.append(f"{v} = F.dropout({a}, 0.5, self.training, inplace={here})")
            elif kind == 14:
                lines.append(f'd{n} = {{"a": [{a}, {b}]}}')
                lines += [f'd{n}["a"][0].mul_(0.9)', f'{v} = d{n}["a"][1] * 0.5 + d{n}["a"][0]']
            elif kind == 15:
                lines += [f"t{n} = (({a}, {b}), {a})", f"t{n}[0][1].relu_()"]
                lines.append(f"{v} = t{n}[1] + t{n}[0][0] * 0.5")
            elif kind == 16:  # hands its operand back
                lines += [f"{v} = {a}.type_as({b})", f"{v}[:, 0].add_(0.1)"]
            elif kind == 17:
                lines += [f"{v} = {a} if x.size(2) > 40 else {b}", f"{v}.mul_(0.9)"]
            elif kind == 18:
                lines += [f"for one in {held}:", "    one.mul_(0.95)"]
                lines.append(f"{v} = torch.stack({held}).mean(0)")
            else:
                lines.append(f"{v} = torch.stack({held}).sum(0) * 0.5")
            maps.append(v)
        lines.append(f"return self.fc(torch.relu({' + '.join(maps)}).mean((2, 3)))")
        code = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n\n\n"
        code += "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        code += f"        self.fc = nn.Linear({width}, {CLASSES})\n"
        code += "".join(f"        self.{name} = {made}\n" for name, made in layers.items())
        code += "\n    def forward(self, x):\n" + "".join(f"        {line}\n" for line in lines)
        file = self.folder / f"net{seed}.py"  # torch.jit.script reads it
        file.write_text(code)
        spec = importlib.util.spec_from_file_location(f"net{seed}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        torch.manual_seed(seed)
        network = module.Net().eval().requires_grad_(False)
        return network, [name for name in layers if not name.startswith("norm")]

    def test_are_those_of_pytorch(self):
        carried = 0
        for seed in range(10):
            network, convolutions = self.network(seed)
            with self.subTest(seed=seed):
                site = random.Random(seed).choice(convolutions)
                self.assert_right(network, site, batch=4)
                stored = []
                for suffix in ("true", "false"):  # from the fault on, or all of it
                    self.campaign(batch=4, per_site=3, faults='operations = "*"', run=f"suffix = {suffix}")
                    told = self.bitfall("run", "c.toml", "--force", "--explain")
                    carried += int(re.search(r"(\d+) were carried", told)[1])
                    stored.append(self.rows())
                self.assertEqual(*stored)
        self.assertGreater(carried, 150)

    def test_a_view_of_what_is_written_later(self):
        """A fault in it alone would not be one in what shares its memory."""

        class Net(Base):
            def __init__(self):
                super().__init__()
                self.conv2 = nn.Conv2d(4, 4, 3, padding=1)

            def forward(self, x):
                y = self.conv(x)
                z = torch.einsum("bchw->bcwh", y)
                z.mul_(2.0)
                return self.fc((y + self.conv2(z)).mean((2, 3)))

        self.assert_right(Net(), "conv")
        self.assert_right(Net(), "conv2")
        sites = json.loads(self.bitfall("sites", "m.pt", "--input", "3x24x24", "--all", "--json"))
        told = [site["refusal"] for site in sites["sites"] if site["refusal"]]
        self.assertTrue(any("in the memory of another value" in one for one in told), told)


class ByExport:
    """The same networks as archives of torch.export, which are told by what the file holds."""

    def save(self, network, trace=0):
        batch = torch.export.Dim("batch", min=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(network, (self.images[:2],), dynamic_shapes=({0: batch},))
        with open(self.folder / "m.pt", "wb") as file:
            torch.export.save(program, file)


class Repeated(Networks):
    """One layer called several times on the same values: a fault hits one of the calls."""

    class Median(Base):
        """Triple redundancy, written out."""

        def forward(self, x):
            y = torch.stack([self.conv(x), self.conv(x), self.conv(x)]).median(0)[0]
            return self.fc(F.relu(y).mean((2, 3)))

    class Turns(Base):
        """The same in a loop, whose turns an attribute tells."""

        def __init__(self):
            super().__init__()
            self.turns = 3

        def forward(self, x):
            made = [self.conv(x)]
            for _ in range(self.turns - 1):
                made.append(self.conv(x))
            return self.fc(F.relu(torch.stack(made).median(0)[0]).mean((2, 3)))

    class Names(Base):
        """The same by three names of one layer."""

        def __init__(self):
            super().__init__()
            self.again, self.oncemore = self.conv, self.conv

        def forward(self, x):
            y = torch.stack([self.conv(x), self.again(x), self.oncemore(x)]).median(0)[0]
            return self.fc(F.relu(y).mean((2, 3)))

    class Branches(Base):
        """An activation written once for each of two branches."""

        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            y = self.conv(x)
            return self.fc((self.left(F.relu(y)) + self.right(F.relu(y))).mean((2, 3)))

    def faulty_loss(self, network, trial, function, call):
        """function: of `call` the one that the fault hits, counted from 0."""
        number, mask = int(trial["element"]), int(trial["mask"], 16)
        image = self.images[int(trial["image"])].unsqueeze(0)

        class Hit(torch.overrides.TorchFunctionMode):
            calls = 0

            def __torch_function__(self, called, types, arguments=(), keywords=None):
                result = called(*arguments, **(keywords or {}))
                if called is function:
                    if Hit.calls == call:
                        value = result.view(-1)[number].item()
                        result = result.clone()
                        result.view(-1)[number] = flipped(value, mask)
                    Hit.calls += 1
                return result

        with torch.no_grad(), Hit():
            return loss_of(network(image)[0], int(trial["label"]))

    def test_each_call_is_a_site(self):
        three = ["conv/conv#1", "conv/conv#2", "conv/conv#3"]
        for make, function, names in (
            (self.Median, torch.conv2d, three),
            (self.Turns, torch.conv2d, three),
            (self.Names, torch.conv2d, None),
            (self.Branches, F.relu, ["relu#1", "relu#2"]),
        ):
            network = make().eval()
            for form, save in (
                ("script", self.save),
                ("trace", lambda one: self.save(one, trace=8)),
                ("export", lambda one: ByExport.save(self, one)),
            ):
                with self.subTest(network=make.__name__, form=form):
                    save(network)
                    kind = "relu" if function is F.relu else "conv"
                    found = [
                        name for name, site in self.sites().items()
                        if site["kind"] == "activation" and site["operation"] == kind and not site.get("refusal")
                    ]
                    if make is not self.Branches:
                        self.assertEqual(len(found), 3)
                    if names:
                        self.assertEqual([name for name in found if name in names], names)
                    call = 1
                    site = (names or found)[call]
                    self.campaign(faults=f'sites = ["{site}"]\noperations = "*"', per_site=20)
                    self.bitfall("run", "c.toml", "--force")
                    for trial in self.rows():
                        wanted = self.faulty_loss(network, trial, function, call)
                        self.assertTrue(same(trial["faulty_loss"], wanted), (trial, wanted))


class WrittenAndExported(ByExport, Written):
    pass


class Exported(ByExport, Weights, Batches, Sizes, Outcomes):
    """All that torch.export takes of those classes, and what is its own."""

    # Not for torch.export: loops on values, packed weights, sizes that fix the batch.
    test_a_loop_that_does_not_end = test_dynamic_quantisation = None
    test_what_lies_in_no_site_is_said = None

    def test_masked_tokens(self):
        class Net(Base):
            def forward(self, x):
                y = self.features(x)
                return self.fc(y) + torch.masked_select(y, y > 0.1).tanh().sum()

        self.save(Net().eval())
        self.assertIn("size depends", self.sites("--batch", "1")["tanh"]["refusal"])

    def test_reductions_over_the_batch(self):
        for code in (
            lambda y: y / y.abs().amax(),
            lambda y: torch.where(y.isnan().any(), torch.zeros_like(y), y),
            lambda y: y * (y == y.median()).float().sum() + y,
        ):
            with self.subTest(code=code):
                self.assert_refused(self.one(code), "batch = 1")

    def test_views_of_one_memory(self):
        class Net(Base):
            def __init__(self):
                super().__init__()
                memory = torch.randn(6, 4)
                self.whole = nn.Parameter(memory)
                self.rows = nn.Parameter(memory[1 : 1 + CLASSES])
                self.turned = nn.Parameter(memory.t())

            def forward(self, x):
                y = F.linear(F.linear(self.features(x), self.whole), self.turned)
                return F.linear(y, self.rows)

        for name in ("whole", "rows", "turned"):
            self.assert_right(Net(), weight=name)

    def test_the_models_own_check(self):
        class Net(Base):
            def forward(self, x):
                y = self.conv(x)
                count = (y.abs() > 100).sum().item()
                torch._check(count < 1)
                return self.fc(F.relu(y).mean((2, 3)))

        self.crashes(Net(), 8)

    def test_regions(self):
        class Net(Base):
            def forward(self, x):
                with torch.no_grad():
                    y = F.relu(self.conv(x))
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    z = F.relu(self.conv(x))
                return self.fc(y.mean((2, 3)) + z.float().mean((2, 3)))

        self.assert_right(Net(), weight="fc.weight")
        self.assertEqual(self.sites()["conv/conv#2"]["type"], "bfloat16")

    def test_one_network_in_both_forms(self):
        network, listed, digests = Base().eval(), [], []
        for save in (self.save, super(ByExport, self).save):
            save(network)
            listed.append(self.sites())
            self.campaign(faults='operations = "*"', extra='[[faults]]\ntarget = "weight"\nper_site = 7')
            self.bitfall("run", "c.toml", "--force")
            digests.append(self.digest())
        self.assertEqual(*listed)
        self.assertEqual(*digests)

    def test_what_takes_torchscript_says_so(self):
        self.save(Base().eval())
        self.bitfall("head", "attach", "m.pt", "--input", "3x8x8", "--init", "linear", "-o", "n.pt", rc=4)
        self.assertIn("is a torch.export archive", self.output)
        self.assertIn("--format torchscript", self.output)
        (self.folder / "t.toml").write_text(
            '[model]\npath = "m.pt"\n[data]\npath = "x.npy"\nlabels = "y.npy"\n[training]\nbatch = 4\n'
        )
        self.bitfall("train", "t.toml", rc=4)
        self.assertIn("is a torch.export archive", self.output)


class Files(Networks):
    """What is not a network says what it is."""

    def refusal(self, *words):
        self.bitfall("sites", "m.pt", "--input", "3x8x8", rc=4)
        for word in words:
            self.assertIn(word, self.output)
        self.assertNotIn('save("m.pt")', self.output)

    def test_kinds(self):
        path = self.folder / "m.pt"
        network = Base().eval()
        torch.save(network.state_dict(), path)
        self.refusal("weights saved by torch.save")
        torch.save({"epoch": 3, "state_dict": network.state_dict()}, path)
        self.refusal("weights saved by torch.save")
        torch.save(network, path)
        self.refusal("module pickled by torch.save")
        torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)
        self.refusal("weights saved by torch.save")
        path.write_bytes(b"")
        self.refusal("is empty")
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
        self.refusal("Git LFS", "git lfs pull")
        path.write_text("<!DOCTYPE html><html></html>")
        self.refusal("page")
        header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
        self.refusal("safetensors")
        path.write_bytes(b"\x08\x07\x12\x07pytorch\x1a\x05")
        self.refusal("ONNX")

    def test_fixed_batches(self):
        class Net(Base):
            def forward(self, x):
                y = F.relu(self.conv(x))
                return self.fc(y.reshape(int(x.shape[0]), 4, 64).mean(2))

        self.save(Net().eval(), trace=4)
        self.bitfall("sites", "m.pt", "--input", "3x8x8")
        self.assertIn("holds a batch of 4", self.output)
        self.campaign(batch=8)
        self.bitfall("run", "c.toml", rc=4)
        self.assertIn("[run] batch = 4", self.output)
        self.assert_right(Net(), trace=4, copies=4, batch=0)

    def test_an_operator_without_a_deterministic_kernel_is_named(self):
        class Net(Base):
            def forward(self, x):
                if x.size(0) > 1:  # as LibTorch says it of a kernel for CUDA
                    raise RuntimeError("put_ does not have a deterministic implementation")
                return self.fc(self.features(x))

        self.save(Net().eval())
        self.campaign()
        self.bitfall("run", "c.toml", rc=4)
        self.assertIn("put_ does not have", self.output)
        self.assertIn("must give the same bits each time", self.output)

    def test_pixels_as_indices(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.table = nn.Embedding(16, 4)
                self.conv = nn.Linear(4, CLASSES)

            def forward(self, x):
                return self.conv(self.table(x.long()).mean((1, 2, 3)))

        images = numpy.random.default_rng(1).integers(0, 16, (16, 3, 8, 8)).astype(numpy.float32)
        self.write_images(images, numpy.arange(16) % CLASSES)
        self.assert_right(Net())


class Gated(nn.Module):
    """A gate of eight values, whose sigmoids end in what fills no vector."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.squeeze = nn.Linear(8, 4)
        self.excite = nn.Linear(4, 8)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.conv(x)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3))))))
        x = nn.functional.silu(x * gate[:, :, None, None])
        return self.fc(x.amax((2, 3)))


class LastBits(Networks):
    """One digest, however a campaign is run, where LibTorch's last bits hang on more than values."""

    def digests(self, *runs, workers=(None,), **campaign):
        digests = set()
        environment = {name: value for name, value in os.environ.items() if "_NUM_THREADS" not in name}
        for run in runs:
            for count in workers:
                self.campaign(run=run, **campaign)
                text = (self.folder / "c.toml").read_text()
                if count:
                    text = text.replace("workers = 1", f"workers = {count}")
                (self.folder / "c.toml").write_text(text)
                done = subprocess.run(
                    [PROGRAM, "run", "c.toml", "--force", "--json"],
                    cwd=self.folder,
                    capture_output=True,
                    text=True,
                    env=environment,
                )
                self.assertEqual(done.returncode, 0, done.stderr)
                digests.add(json.loads(done.stdout)["digest"])
        return digests

    def test_products_are_of_one_thread_in_every_worker(self):
        torch.manual_seed(1)
        network = nn.Sequential(nn.Flatten(), nn.Linear(192, 300), nn.ReLU(), nn.Linear(300, 128), nn.ReLU(),
                                nn.Linear(128, CLASSES))
        self.save(network.eval())
        digests = self.digests("", "suffix = false", workers=(1, 2, 3, 4, 2, 3), batch=7, per_site=1200,
                               model='[format]\nid = "fp16"', faults='target = "input"')
        self.assertEqual(len(digests), 1)

    def test_rows_of_uneven_sigmoids(self):
        for seed in range(4):
            torch.manual_seed(seed)
            self.save(Gated().eval())
            for batch in (7, 9):
                with self.subTest(seed=seed, batch=batch):
                    digests = self.digests("", "share = false", "suffix = false", "regions = false", batch=batch,
                                           per_site=400, faults='target = "input"')
                    self.assertEqual(len(digests), 1)

    def test_the_largest_number_of_a_block_format(self):
        self.save(Gated().eval())
        for number_format in ("mxfp4", "mxint8", "bfp"):
            for fault in ('{ id = "fixed_value", value = "largest" }', '"random_value"'):
                self.campaign(model=f'[format]\nid = "{number_format}"', faults=f"error_model = {fault}")
                self.bitfall("run", "c.toml", "--force")
                values = [abs(float(row["value_after"])) for row in self.rows()]
                self.assertGreater(min(values) if "largest" in fault else max(values), 1e38, number_format)


class Guarded(nn.Module):
    """Two convolutions with activations that can be guarded."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.act = nn.ReLU()
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.act2 = nn.ReLU()
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.act2(self.conv2(self.act(self.conv(x))))
        return self.fc(x.mean((2, 3)))


class Protected(Networks):
    """Runs with protections: every trial, and whether it was noticed, against eager PyTorch."""

    def setUp(self):
        super().setUp()
        # Learned from a part of the values that images have, so that there are false alarms.
        learn = numpy.random.default_rng(1).standard_normal((9, 3, 8, 8)).astype(numpy.float32)
        self.learn = torch.from_numpy(0.9 * learn)
        numpy.save(self.folder / "lx.npy", self.learn.numpy())
        numpy.save(self.folder / "ly.npy", numpy.zeros(9, numpy.int64))
        self.network = Guarded().eval()
        self.save(self.network)

    def protect(self, *entries, learn=True, rc=0, **campaign):
        extra = "".join(f"[[protect]]\n{entry}\n" for entry in entries)
        if learn:
            extra += '[learn]\npath = "lx.npy"\nlabels = "ly.npy"\n'
        self.campaign(extra=extra, **campaign)
        self.bitfall("run", "c.toml", "--force", rc=rc)

    def digest_of(self, run):
        status = self.bitfall("status", run)
        return next(line for line in status.splitlines() if line.startswith("digest"))

    def learned(self, module):
        kept = []
        handle = module.register_forward_hook(lambda m, i, out: kept.append(out.detach().clone()))
        with torch.no_grad():
            self.network(self.learn)
        handle.remove()
        return kept[0].numpy()

    def protected_rows(self, name):
        return list(csv.DictReader(io.StringIO(self.bitfall("export", f"run/protected/{name}", "--csv"))))

    def test_a_margin_only_widens(self):
        """Bounds of both signs: a lower one above 0, times 3, would cut off what was learned."""
        images = torch.from_numpy(numpy.load(self.folder / "x.npy"))
        numpy.save(self.folder / "lx.npy", images.numpy())
        numpy.save(self.folder / "ly.npy", numpy.zeros(len(images), numpy.int64))
        with torch.no_grad():
            self.network.fc.bias += 3 * torch.sign(self.network.fc.bias)
            answers = self.network(images)
        self.save(self.network)
        self.assertTrue((answers.amin(0) > 0).any() and (answers.amax(0) < 0).any())
        for margin in (1, 3):
            self.protect(
                f'protection = {{ id = "logit_bound", scope = "class", margin = {margin} }}',
                f'protection = {{ id = "range", scope = "neuron", margin = {margin} }}\noperations = "*"',
            )
            for name in ("logit_bound", "range"):
                alarms = {row["protect_false_alarm"] for row in self.protected_rows(name)}
                self.assertEqual(alarms, {"0"}, f"{name}, margin {margin}")

    def test_infinities_that_were_learned_stay(self):
        """A mask ahead of a softmax is -Inf in every image."""

        class Masked(Base):
            def forward(self, x):
                y = self.features(x)
                mask = torch.arange(4) == 2
                weights = torch.softmax(y.masked_fill(mask, -float("inf")), 1)
                return self.fc(weights * y)

        numpy.save(self.folder / "lx.npy", self.images.numpy())
        numpy.save(self.folder / "ly.npy", numpy.zeros(len(self.images), numpy.int64))
        self.save(Masked().eval())
        scopes = ("layer", "channel", "neuron")
        # Of a quarter of the values a percentile within it is -Inf, too.
        chosen = [f'scope = "{scope}"{margin}' for scope in scopes for margin in ("", ", margin = 0")]
        chosen += ['percentile = 80']
        self.protect(*[f'protection = {{ id = "range", {one} }}\nname = "r{i}"\nsites = ["masked_fill"]\noperations = "*"'
                       for i, one in enumerate(chosen)], faults='sites = ["fc"]')
        base = {row["trial"]: row["golden_loss"] for row in self.rows()}
        for i, one in enumerate(chosen):
            if "margin" in one:
                continue  # its other bounds are all 0
            for row in self.protected_rows(f"r{i}"):
                if one == "percentile = 80":
                    self.assertNotEqual(row["golden_loss"], "nan")
                    continue
                self.assertEqual(row["golden_loss"], base[row["trial"]], one)
                self.assertEqual(row["protect_false_alarm"], "0", one)
        # What a fault makes finite there becomes -Inf again.
        self.protect('protection = { id = "range", scope = "neuron" }\nsites = ["masked_fill"]\noperations = "*"',
                     faults='sites = ["masked_fill"]\noperations = "*"', per_site=200)
        hit = [row for row in self.protected_rows("range")
               if row["element"] == "2" and row["value_after"] == "-inf"]
        self.assertTrue(any(row["mask"] == "0x80000000" for row in hit))
        for row in hit:
            self.assertEqual((row["faulty_loss"], row["protect_detected"]), (row["golden_loss"], "1"), row)

    def test_images_to_learn_from_are_numbers(self):
        images = self.learn.numpy().copy()
        images[4, 1, 2, 3] = numpy.nan
        numpy.save(self.folder / "lx.npy", images)
        self.protect('protection = "logit_bound"', rc=4)
        self.assertIn("[learn]: image '4' holds NaN or Inf", self.output)

    def test_what_is_computed_twice_by_default_are_operations_that_cost(self):
        self.protect('protection = "duplicate"', learn=False)
        facts = json.loads(self.bitfall("report", "run/protected/duplicate", "--json"))
        self.assertIn("3 sites computed twice", json.dumps(facts))

    def test_trials_that_change_the_same_are_noticed_one_by_one(self):
        """A guard may have clamped the one at its site and not the other, which is run for both."""
        for target, place, trials in (
            ("activation", 'operations = ["relu"]', 4000),
            ("weight", 'operations = "*"', 150),
        ):
            stored = []
            for run in ("suffix = false\nshare = false", "share = false", "", "early_stop = false"):
                self.protect(
                    'protection = { id = "range", scope = "channel" }\noperations = "*"\nname = "guarded"',
                    model='[format]\nid = "fp4_e2m1"',
                    faults='error_model = { id = "random_value", mode = "code" }\n'
                    f'{place}\ntarget = "{target}"',
                    per_site=trials,
                    batch=2,
                    run=run,
                )
                stored.append(self.protected_rows("guarded"))
            noticed = {}
            for row in stored[0]:
                same_value = tuple(row[key] for key in ("site", "image", "element", "faulty_loss"))
                noticed.setdefault(same_value, set()).add(row["protect_detected"])
            self.assertGreater(len(stored[0]), len(noticed))
            if target == "activation":
                self.assertGreater(sum(len(said) > 1 for said in noticed.values()), 20)
            for other in stored[1:]:
                self.assertTrue(stored[0] == other, target)

    def protection_row(self, name):
        rows = json.loads(self.bitfall("report", "run", "--json"))["protections"]
        return next(row for row in rows if row["name"] == name)

    def oracle(self, trial, site, guards, half=False):
        """(loss, golden loss, noticed, false alarm); guards: {module: values -> values}. half: the
        site's values are float16."""
        number, mask = int(trial["element"]), int(trial["mask"], 16)
        image = self.images[int(trial["image"])].unsqueeze(0)
        label = int(trial["label"])

        def hit(value):
            if not half:
                return flipped(value, mask)
            return (numpy.array([value], numpy.float16).view(numpy.uint16) ^ numpy.uint16(mask)).view(numpy.float16)[0]

        def run(fault):
            changed, handles = {}, []

            def guard(name, values):
                after = guards[name](values)
                changed.setdefault(name, numpy.zeros(values.shape, bool))
                changed[name] |= after.view(numpy.uint32) != values.view(numpy.uint32)
                return after

            def hook(name):
                def call(module, inputs, output):
                    values = output[0].detach().numpy().copy()
                    if half and name == site:
                        values = values.astype(numpy.float16).astype(numpy.float32)
                    if name in guards:
                        values = guard(name, values)
                    if fault and name == site:
                        values.ravel()[number] = hit(values.ravel()[number])
                        if name in guards:
                            values = guard(name, values)
                    return torch.from_numpy(values).unsqueeze(0)

                return call

            modules = dict(self.network.named_modules())
            for name in {site, *guards}:
                handles.append(modules[name].register_forward_hook(hook(name)))
            with torch.no_grad():
                loss = loss_of(self.network(image), label)
            for handle in handles:
                handle.remove()
            return loss, changed

        golden, before = run(False)
        faulty, after = run(True)
        noticed = any((after[name] & ~before[name]).any() for name in guards)
        return faulty, golden, noticed, any(before[name].any() for name in guards)

    def assert_guarded(self, name, site, guards, half=False):
        trials = self.protected_rows(name)
        self.assertGreater(len(trials), 0)
        noticed = 0
        for trial in trials:
            faulty, golden, detected, alarm = self.oracle(trial, site, guards, half)
            self.assertTrue(same(trial["golden_loss"], golden), (trial, golden))
            self.assertTrue(same(trial["faulty_loss"], faulty), (trial, faulty))
            self.assertEqual(float(trial["protect_detected"]), detected, trial)
            self.assertEqual(float(trial["protect_false_alarm"]), alarm, trial)
            noticed += detected
        self.assertGreater(noticed, 0)
        return trials

    @staticmethod
    def clamp(low, high, zero=False):
        def call(values):
            inside = (values >= low) & (values <= high)
            outside = numpy.zeros_like(values) if zero else numpy.clip(values, low, high)
            return numpy.where(inside, values, numpy.nan_to_num(outside, nan=0.0)).astype(numpy.float32)

        return call

    def test_ranges_of_layers_and_channels(self):
        self.protect(
            'protection = "range"',
            'protection = {id = "range", scope = "channel", action = "zero"}\nname = "zero"',
            'protection = {id = "range", scope = "neuron"}\nsites = ["act2"]\nname = "neuron"',
            faults='sites = ["conv"]',
            per_site=200,
        )
        acts = {name: self.learned(getattr(self.network, name)) for name in ("act", "act2")}
        self.assert_guarded("range", "conv", {n: self.clamp(v.min(), v.max()) for n, v in acts.items()})
        ends = {
            n: (v.min((0, 2, 3))[:, None, None], v.max((0, 2, 3))[:, None, None]) for n, v in acts.items()
        }
        self.assert_guarded("zero", "conv", {n: self.clamp(*e, zero=True) for n, e in ends.items()})
        self.assert_guarded("neuron", "conv", {"act2": self.clamp(acts["act2"].min(0), acts["act2"].max(0))})
        base = {row["trial"]: row for row in self.rows()}
        for name in ("range", "zero", "neuron"):  # the same faults
            for row in self.protected_rows(name):
                for column in ("image", "element", "mask"):
                    self.assertEqual(row[column], base[row["trial"]][column])

    def test_guards_do_not_round(self):
        """Values that the campaign stores in no format stay what they are under a guard."""
        self.protect(
            'protection = "range"',
            'protection = "nan_guard"',
            'protection = {id = "range", scope = "neuron", action = "zero"}\nsites = ["act2"]\nname = "neuron"',
            'protection = "range"\noperations = ["conv"]\nsites = ["conv"]\nname = "stored"',
            faults='sites = ["conv"]\n[format]\nid = "fp16"',
            per_site=200,
        )
        acts = {name: self.learned(getattr(self.network, name)) for name in ("conv", "act", "act2")}
        ends = {name: self.clamp(v.min(), v.max()) for name, v in acts.items()}
        finite = self.clamp(-numpy.finfo(numpy.float32).max, numpy.finfo(numpy.float32).max, zero=True)
        self.assert_guarded("range", "conv", {name: ends[name] for name in ("act", "act2")}, half=True)
        self.assert_guarded("nan_guard", "conv", {"act": finite, "act2": finite}, half=True)
        neurons = self.clamp(acts["act2"].min(0), acts["act2"].max(0), zero=True)
        self.assert_guarded("neuron", "conv", {"act2": neurons}, half=True)
        self.assert_guarded("stored", "conv", {"conv": ends["conv"]}, half=True)
        base = {row["trial"]: row["golden_loss"] for row in self.rows()}
        for row in self.protected_rows("nan_guard"):  # which has nothing to do without a fault
            self.assertEqual(row["golden_loss"], base[row["trial"]])
        told = self.bitfall("run", "c.toml", "--force", "--explain")
        for name in ("range", "nan_guard", "neuron", "stored"):
            self.assertEqual(told.count(f"With the protection '{name}':"), 1, told)

    def test_guards_leave_wide_numbers_as_they_are(self):
        """What a guard does not change keeps all of its 64 bits, golden and faulty alike."""
        self.network.double()
        self.save(self.network)
        self.protect('protection = "nan_guard"', faults='sites = ["conv"]', per_site=100, learn=False)
        base = {row["trial"]: row for row in self.rows()}
        for row in self.protected_rows("nan_guard"):
            plain = base[row["trial"]]
            self.assertEqual(row["golden_loss"], plain["golden_loss"])
            if plain["outcome"] != "nonfinite" and float(row["protect_detected"]) == 0:
                self.assertEqual(row["faulty_loss"], plain["faulty_loss"], row)

    def test_guarded_parameters(self):
        """What is noticed of them without a fault is no detection, and concerns every image."""
        guard = 'protection = {id = "range", scope = "neuron", margin = %s}\ntarget = "weight"\noperations = "*"\nname = "%s"'
        self.protect(guard % (0.9, "tight"), guard % (1.0, "exact"),
                     faults='target = "weight"\nsites = ["conv.weight"]', per_site=150)
        weight = self.network.conv.weight.detach().numpy().ravel()
        for row in self.protected_rows("tight"):
            self.assertEqual((float(row["protect_detected"]), float(row["protect_false_alarm"])), (0, 1), row)
        seen = 0
        for row in self.protected_rows("exact"):  # each number's range is itself
            number = int(row["element"])
            changed = flipped(weight[number], int(row["mask"], 16)) != weight[number]
            self.assertEqual((float(row["protect_detected"]), float(row["protect_false_alarm"])), (changed, 0), row)
            self.assertEqual(row["faulty_loss"], row["golden_loss"])
            seen += changed
        self.assertGreater(seen, 100)

    def test_entries_of_one_name_are_one_run(self):
        def mixture(*more):
            return [f'{entry}\nname = "mixture"' for entry in (
                'protection = "range"\nsites = ["act"]',
                'protection = {id = "range", scope = "neuron", action = "zero"}\nsites = ["act2"]', *more)]

        self.protect(*mixture(), 'protection = "range"', faults='sites = ["conv"]', per_site=200)
        acts = {name: self.learned(getattr(self.network, name)) for name in ("act", "act2")}
        guards = {"act": self.clamp(acts["act"].min(), acts["act"].max()),
                  "act2": self.clamp(acts["act2"].min(0), acts["act2"].max(0), zero=True)}
        self.assert_guarded("mixture", "conv", guards)
        rows = json.loads(self.bitfall("report", "run", "--json"))["protections"]
        self.assertEqual([row["name"] for row in rows[-2:]], ["mixture", "range"])
        detail = self.protection_row("mixture")["detail"]
        self.assertEqual(detail.count("1 site guarded"), 2, detail)
        # The answer by one, sites by another.
        self.protect(*mixture('protection = "logit_bound"', 'protection = "duplicate"\noperations = ["linear"]'),
                     faults='sites = ["fc"]', per_site=20)
        detail = self.protection_row("mixture")["detail"]
        self.assertRegex(detail, "logit_bound.*: the answer guarded; duplicate.*: 1 site computed twice")
        self.assertIn('"detected"', self.bitfall("report", "run", "--json"))
        for entries, words in (
            (mixture('protection = "nan_guard"\nsites = ["act"]'), "site 'act' is guarded by another"),
            (mixture('protection = "logit_bound"', 'protection = "rerun"'), "the answer is guarded by another"),
            (mixture('protection = "nan_guard"\nsites = ["conv"]\noperations = "*"\nexposed = true'), "must be alike"),
        ):
            with self.subTest(words):
                self.protect(*entries, rc=2, per_site=20)
                self.assertRegex(self.output, rf"c.toml:\d+:\d+: .*{words}")

    def test_faults_in_guarded_values(self):
        self.protect('protection = "range"', faults='sites = ["act"]\noperations = "*"', per_site=200)
        acts = {name: self.learned(getattr(self.network, name)) for name in ("act", "act2")}
        self.assert_guarded("range", "act", {n: self.clamp(v.min(), v.max()) for n, v in acts.items()})
        without, guarded = csv.DictReader(io.StringIO(self.bitfall("export", "run", "--csv"))), self.protected_rows("range")
        pairs = list(zip(without, guarded, strict=True))
        both = [(float(a["mismatch"]), float(b["mismatch"])) for a, b in pairs]
        row = self.protection_row("range")
        self.assertEqual((row["prevented"], row["caused"]), (both.count((1, 0)), both.count((0, 1))))
        self.assertGreater(row["prevented"], 0)
        damaging = [b for a, b in pairs if float(a["mismatch"])]
        noticed = [b for b in damaging if not float(b["mismatch"]) or float(b["protect_detected"])]
        for share, events in ((row["corrected"], row["prevented"]), (row["covered"], len(noticed))):
            self.assertEqual((share["events"], share["trials"]), (events, len(damaging)))
        self.assertIn("corrected [99 %]", self.bitfall("report", "run"))
        compared = self.bitfall("compare", "run", "run/protected/range", "--markdown")
        self.assertRegex(compared, rf"\| {row['prevented']} \| {row['caused']} \|")
        self.assertIn(row["cost"], compared.replace("\\", ""))

    def test_learning_from_the_attacked_images_is_told_of(self):
        for images, told in (("x", True), ("lx", False)):
            learn = f'[[protect]]\nprotection = "range"\n[learn]\npath = "{images}.npy"\nlabels = "{images[:-1]}y.npy"\n'
            self.campaign(extra=learn)
            self.bitfall("run", "c.toml", "--force")
            self.assertEqual("these are the images that are attacked" in self.output, told, self.output)
            self.assertEqual(", the images that are attacked" in self.bitfall("report", "run"), told)

    def test_the_way_of_running_changes_nothing(self):
        digests = set()
        for run in ("", "suffix = false", "regions = false", "early_stop = false\nshare = false"):
            for batch in (3, 8):
                self.protect(
                    'protection = {id = "range", percentile = 95}',
                    'protection = "rerun"',
                    faults='sites = ["conv", "act"]\noperations = "*"',
                    run=run,
                    batch=batch,
                    per_site=150,
                )
                for name in ("range", "rerun"):
                    digests.add((name, batch, self.digest_of(f"run/protected/{name}")))
        self.assertEqual(len(digests), 4)

    def test_formats_and_their_scales(self):
        for form in ('id = "fp16"', 'id = "int8"', 'id = "mxfp8_e4m3"'):
            with self.subTest(form):
                self.protect(
                    'protection = "range"',
                    faults='sites = ["act"]\noperations = "*"',
                    per_site=60,
                    model=f"[format]\n{form}",
                )
                bound = {n: self.learned(getattr(self.network, n)).max() for n in ("act",)}
                for row in self.protected_rows("range"):
                    if row["value_after"] not in ("nan", ""):
                        self.assertLessEqual(float(row["value_after"]), bound["act"])

    def test_bounds_that_are_hit(self):
        self.protect(
            'protection = "range"\nexposed = true',
            faults='error_model = {id = "bit_flip", registers = "metadata"}\nsites = ["act"]\noperations = "*"',
            per_site=64,
            learn=True,
            model='[format]\nid = "int8"',
        )
        registers = {row["register"] for row in self.protected_rows("range")}
        self.assertEqual(registers, {"scale", "bound"})
        self.assertNotIn("prevented", self.protection_row("range"))  # its trials have other faults

    def test_an_answer_that_is_not_trusted(self):
        self.protect(
            'protection = {id = "rerun", threshold = 0.5}',
            'protection = "logit_bound"',
            faults='sites = ["conv"]',
            per_site=200,
        )
        base = {row["trial"]: row for row in self.rows()}
        again = 0
        for row in self.protected_rows("rerun"):
            plain = base[row["trial"]]
            unsure = not float(plain["top2diff_faulty"]) >= 0.5
            self.assertEqual(float(row["protect_recomputed"]), unsure, (row, plain))
            again += unsure
            wanted = plain["golden_loss"] if unsure else plain["faulty_loss"]
            self.assertEqual(row["faulty_loss"], wanted)
        self.assertGreater(again, 0)
        with torch.no_grad():
            logits = self.network(self.learn).numpy()
        seen = 0
        for row in self.protected_rows("logit_bound"):
            plain = base[row["trial"]]
            image = self.images[int(row["image"])].unsqueeze(0)
            with torch.no_grad():
                golden = self.network(image).numpy()
            bounded = torch.from_numpy(numpy.clip(golden, logits.min(), logits.max()))
            self.assertTrue(same(row["golden_loss"], loss_of(bounded, int(row["label"]))))
            seen += float(row["protect_detected"])
        self.assertGreater(seen, 0)

    def test_operations_computed_twice(self):
        self.protect(
            'protection = "duplicate"\noperations = ["conv"]\nsites = ["conv"]',
            faults='sites = ["conv", "conv2"]',
            learn=False,
            per_site=40,
        )
        for row in self.protected_rows("duplicate"):
            hit = row["site"] == "conv"
            if hit:
                self.assertEqual(row["faulty_loss"], row["golden_loss"])
            if row["activated"] in ("1", "true"):
                self.assertEqual(float(row["protect_detected"]), hit)
        self.protect(
            'protection = "duplicate"\noperations = ["conv"]',
            faults='sites = ["conv.weight"]\ntarget = "weight"\noperations = "*"',
            learn=False,
        )
        for row in self.protected_rows("duplicate"):  # both computations meet it
            self.assertEqual(float(row["protect_detected"]), 0)

    def test_resume_and_replay(self):
        self.protect('protection = "range"', 'protection = "logit_bound"', faults='sites = ["conv"]')
        for name in ("range", "logit_bound"):
            self.bitfall("replay", f"run/protected/{name}", "--trial", "3")
            self.assertIn("equal", self.output)
        whole = self.digest_of("run/protected/range")
        shutil.rmtree(self.folder / "run/protected/range")
        self.bitfall("resume", "run")
        self.assertEqual(self.digest_of("run/protected/range"), whole)
        text = self.bitfall("report", "run")
        self.assertIn("prevented", text)
        rows = json.loads(self.bitfall("report", "run", "--json"))["protections"]
        self.assertEqual([row["name"] for row in rows], ["", "logit_bound", "range"])

    def test_bounds_of_the_answer_that_are_not_finite(self):
        last = list(self.network.modules())[-1]
        last.weight.data *= 1e37
        self.save(self.network)
        self.protect('protection = {id = "logit_bound", margin = 1000}', faults='sites = ["conv"]')
        self.assertIn("inf", json.loads(self.bitfall("report", "run/protected/logit_bound", "--json"))
                      ["facts"]["answer_state"])  # fmt: skip
        self.bitfall("replay", "run/protected/logit_bound", "--trial", "3")
        self.assertIn("equal", self.output)

    def test_the_table_is_of_the_images_and_confidence_that_are_asked_for(self):
        self.protect('protection = "range"', faults='sites = ["conv"]', per_site=100)
        wide = json.loads(self.bitfall("report", "run", "--json"))
        narrow = json.loads(self.bitfall("report", "run", "--confidence", "0.8", "--only", "correct", "--json"))
        self.assertNotEqual(wide["network"]["mismatch"], narrow["network"]["mismatch"])
        for report in (wide, narrow):
            self.assertEqual(report["protections"][0]["mismatch"], report["network"]["mismatch"])

    def test_codes_in_memory(self):
        weights = 'target = "weight"\nsites = ["conv2.weight"]\noperations = "*"\n'
        form = '[format]\nid = "secded"\nbase = "fp16"\n'
        flips = 'error_model = {id = "bit_flip", bits = %d, registers = "all"}\n'
        self.campaign(model=form, faults=weights + flips % 1, per_site=200)
        self.bitfall("run", "c.toml", "--force")
        trials = self.rows()
        self.assertEqual({row["register"] for row in trials}, {"payload", "check"})
        for row in trials:
            self.assertEqual((float(row["memory_corrected"]), float(row["memory_detected"])), (1, 0))
            self.assertEqual(row["outcome"], "masked")
            self.assertEqual(row["faulty_loss"], row["golden_loss"])
        self.campaign(model=form, faults=weights + flips % 2, per_site=200)
        self.bitfall("run", "c.toml", "--force")
        for row in self.rows():  # both in one register
            self.assertEqual((float(row["memory_corrected"]), float(row["memory_detected"])), (0, 1))
        self.assertIn("memory_detected", self.bitfall("report", "run"))

    def test_what_cannot_be(self):
        self.protect_refused('protection = "range"', "learns from images", learn=False, rc=2)
        self.protect_refused('protection = "rnage"', "did you mean 'range'", rc=2)
        self.protect_refused('protection = "range"\noperations = ["gelu"]', "gelu", rc=2)
        self.protect_refused('protection = {id = "range", scope = "image"}', "layer, channel, neuron", rc=2)
        self.protect_refused('protection = "range"\nname = "../x"', "names a folder", rc=2)
        self.protect_refused('protection = "range"\nname = "none"', "run without a protection", rc=2)
        for target in ("input", "weight"):  # which no operation makes
            self.protect_refused(f'protection = "duplicate"\ntarget = "{target}"\noperations = "*"',
                                 "guards none of the selected sites", learn=False, rc=2)
        for chosen in ('target = "weight"\noperations = "*"', 'operations = ["conv"]', 'sites = ["act"]'):
            self.protect_refused(f'protection = "logit_bound"\n{chosen}', "guards the answer, and none of the sites", rc=2)
        numpy.save(self.folder / "lx.npy", numpy.zeros((4, 3, 9, 9), numpy.float32))
        numpy.save(self.folder / "ly.npy", numpy.zeros(4, numpy.int64))
        self.protect_refused('protection = "range"', "another shape", rc=4)

    def protect_refused(self, entry, word, learn=True, rc=2):
        self.protect(entry, learn=learn, rc=rc, faults='sites = ["conv"]')
        self.assertIn(word, self.output)


if __name__ == "__main__":
    unittest.main(verbosity=2)
