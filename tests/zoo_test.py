"""Ten networks of other people, as scripts/zoo.sh runs them all: exported by export_model.py,
opened, hit in a campaign, and compared with eager PyTorch under the same faults.

usage: zoo_test.py [unittest arguments]; BITFALL names the program

Each stands for a kind that once could not be run, or could only be traced.
"""

import contextlib
import io
import json
import os
import pathlib
import sys
import tempfile
import time
import unittest
from unittest import mock

import torch
from torch import nn

SOURCE = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SOURCE / "scripts"))
import export_model  # noqa: E402
import zoo  # noqa: E402
import zoo_networks  # noqa: E402

NETWORKS = {
    "googlenet": "it warns when it is scripted, and answers with a tuple",
    "vit_b_32": "nn.MultiheadAttention, which PyTorch fuses; torchvision's head is zero",
    "timm:densenet121": "isinstance",
    "timm:efficientformer_l1": "caches in a dictionary, filled in the first pass",
    "timm:mixer_s32_224": "size checks that format messages; timm's head is zero",
    "timm:poolformer_s12": "GroupNorm, which loops over sizes",
    "timm:repvgg_a0": "weights that are summed before they are used",
    "timm:resnetv2_50x1_bit": "weights that are standardised before they are used; GroupNorm",
    "timm:swinv2_tiny_window8_256": "a bias that no image flows through",
    "timm:vit_tiny_patch16_224": "optional inputs with defaults",
}


class Zoo(unittest.TestCase):
    def test_ten_networks(self):
        if export_model.import_timm() is None or export_model.import_torchvision() is None:
            self.skipTest("timm or torchvision is not installed")
        with tempfile.TemporaryDirectory(prefix="bitfall_zoo_") as folder:
            only = [word for name in NETWORKS for word in ("--only", name)]
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                status = zoo.main(["-o", folder, "--jobs", str(os.cpu_count()), *only])
            self.assertEqual(status, 0, out.getvalue())
            records = zoo.read_records(pathlib.Path(folder) / "results.jsonl")
        print(zoo.summary(list(records.values())))
        self.assertEqual(sorted(records), sorted(NETWORKS))
        for name, record in records.items():
            self.assertEqual((record["agree"], record["compared"]), (3, 3), name)
            self.assertGreater(record["sites"], 50, name)
        self.assertGreater(sum(record["felt"] for record in records.values()), len(records))


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.twice = nn.Linear(4, 4)
        self.last = nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).mean((2, 3))
        return self.last(self.twice(self.twice(x)))


SITES = [
    {"name": "first", "kind": "activation", "operation": "conv", "values": 36, "refusal": None},
    {"name": "twice", "kind": "activation", "operation": "linear", "values": 4, "refusal": None},
    {"name": "last", "kind": "activation", "operation": "linear", "values": 10, "refusal": None},
]


class Comparison(unittest.TestCase):
    """What the zoo calls agreement can fail."""

    def setUp(self):
        torch.manual_seed(1)
        self.model = Small().eval()
        self.images, self.labels = torch.randn(4, 3, 5, 5), torch.arange(4)

    def test_layers_that_run_once(self):
        self.assertEqual(
            list(zoo.layer_values(self.model, self.images[0], SITES)), ["first", "last"]
        )
        refused = [{**site, "refusal": "why"} for site in SITES]
        self.assertEqual(zoo.layer_values(self.model, self.images[0], refused), {})

    def test_a_wrong_loss_or_value_is_found(self):
        faults, settled = zoo.choose_faults(self.model, self.images, self.labels, SITES)
        self.assertTrue(settled)
        self.assertEqual([fault[1] for fault in faults], ["first", "last", "last"])
        self.assertEqual(faults[2][3], 1 << 31)
        rows = []
        for image, name, element, mask in faults:
            layer, label = dict(self.model.named_modules())[name], int(self.labels[image])
            with torch.no_grad():
                golden = self.model(self.images[image : image + 1])
                handle = layer.register_forward_hook(self.hook(element, mask))
                faulty = self.model(self.images[image : image + 1])
                handle.remove()
            losses = [
                -logits.double().log_softmax(1)[0, label].item() for logits in (golden, faulty)
            ]
            rows.append(dict(zip(("golden_loss", "faulty_loss"), losses), value_before=self.before))
        found = zoo.compare(self.model, self.images, self.labels, faults, rows)
        self.assertEqual((found["agree"], found["wrong"], found["felt"]), (3, [], 3))
        for key in rows[0]:
            worse = [dict(row) for row in rows]
            worse[1][key] *= 1.001
            found = zoo.compare(self.model, self.images, self.labels, faults, worse)
            self.assertEqual(found["agree"], 2, key)
            self.assertIn("differs by", found["wrong"][0])

    def test_chaotic_faults_are_not_chosen(self):
        class Chaotic(nn.Module):
            def __init__(self):
                super().__init__()
                self.first = nn.Conv2d(3, 4, 3)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                y = self.first(x).flatten(1)
                # Rounding decides on the sine of large values, and on no other.
                return torch.where(y.abs() > 1.6, torch.sin(1e6 * y), y)

        model, image = Chaotic().eval(), self.images[0] / self.images[0].abs().max()
        values = zoo.layer_values(model, image, SITES[:1])["first"]
        self.assertLess(abs(values).max(), 1.6)
        self.assertTrue(zoo.is_settled(model, image, 1))
        large = zoo.exponent_flip(values, 1000)
        self.assertFalse(zoo.is_settled(model, image, 1, ("first", *large)))
        (name, element, mask), told = zoo.choose_fault(model, image, 1, "first", values, sign=False)
        self.assertTrue(told)
        hit = values[element : element + 1].view("uint32") ^ mask
        self.assertLess(abs(hit.view("float32")[0]), 1.6)
        # A network that is so everywhere is compared at a batch of one.
        images = self.images * 100
        self.assertFalse(zoo.choose_faults(model, images, self.labels, SITES[:1])[1])

    def hook(self, element, mask):
        def change(module, inputs, output):
            values = output.numpy().copy()
            self.before = float(values.flat[element])
            values.reshape(-1).view("uint32")[element] ^= mask
            return torch.from_numpy(values)

        return change

    def test_numbers_and_what_is_none(self):
        self.assertEqual(zoo.difference(float("nan"), float("inf")), 0)
        self.assertEqual(zoo.difference(1.0, float("nan")), float("inf"))
        self.assertEqual(zoo.difference(0.5, 0.25), 0.25)
        self.assertEqual(zoo.difference(50.0, 40.0), 0.25)


class Bookkeeping(unittest.TestCase):
    def test_a_network_without_end_is_stopped_and_the_others_go_on(self):
        def one(network, work, program, connection):
            os.setsid()
            if network.name == "slow":
                time.sleep(60)
            if network.name == "dead":
                os.abort()
            connection.send({"family": "f", "name": network.name, "failed": None, "seconds": 1,
                             "way": "script", "sites": 1, "agree": 3, "compared": 3, "felt": 3,
                             "worst": 0.0})  # fmt: skip

        networks = [zoo.Network("f", name, 96) for name in ("slow", "dead", "good")]
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(zoo, "run_one", one):
            options = zoo.parse_arguments(["-o", folder, "--seconds", "1", "--jobs", "2"])
            options.output = pathlib.Path(folder)
            records = {}
            with contextlib.redirect_stdout(io.StringIO()):
                zoo.run_all(networks, options, None, records)
            stored = zoo.read_records(options.output / "results.jsonl")
        self.assertEqual(stored, json.loads(json.dumps(records)))
        self.assertIn("not done after 1 s", records["slow"]["failed"]["message"])
        self.assertIn("ended with -6", records["dead"]["failed"]["message"])
        self.assertIsNone(records["good"]["failed"])
        self.assertIn("3 networks of 1 families: 1 exported", zoo.summary(list(records.values())))
        self.assertIn(
            "| f | good | - | script | 1 | - | 3 of 3 |", zoo.markdown_table(list(records.values()))
        )

    def test_families_are_those_of_timm(self):
        if export_model.import_timm() is None:
            self.skipTest("timm is not installed")
        families = zoo_networks.timm_families()
        self.assertGreaterEqual(len(families), 100)
        self.assertIn("resnet18", families["timm resnet/resnet"])
        self.assertIn("vit_tiny_patch16_224", families["timm vision_transformer/vit"])
        names = [name for members in families.values() for name in members]
        self.assertEqual(len(names), len(set(names)))
        with tempfile.TemporaryDirectory() as folder:
            sizes = pathlib.Path(folder) / "sizes.json"
            (found,) = zoo_networks.find_networks(sizes, ["timm mlp_mixer/gmlp"])
            known = json.loads(sizes.read_text())
        self.assertEqual(found.name, "timm:gmlp_ti16_224")
        self.assertEqual(min(known.keys() - {"timm"}, key=known.get), "gmlp_ti16_224")


if __name__ == "__main__":
    unittest.main()
