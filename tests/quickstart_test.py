"""Trains the quick start's networks by the commands that made those in scripts/quickstart, and compares.

usage: quickstart_test.py BUILD

On another machine sums are taken in another order, and twelve epochs carry that far. What must hold
everywhere: the same recipe and tensors, an accuracy within three percentage points, and weights
that went the same way: trained on two threads in place of one, the least cosine of a tensor was 0.50;
of weights drawn with another seed it is around 0.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile

import torch

SOURCE = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(sys.argv.pop())
COMMITTED = SOURCE / "scripts/quickstart"


def state(path):
    return torch.jit.load(path).state_dict()


def card(path):
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("bitfall.json")]
        return json.loads(archive.read(name))


class QuickStart(unittest.TestCase):
    def test_the_same_commands_made_the_networks(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [COMMITTED / "train_networks.sh", folder, BUILD / "bin/bitfall"], check=True
            )
            for arm in ("baseline", "text_guided"):
                with self.subTest(arm):
                    self.compare(
                        COMMITTED / f"{arm}.pt", pathlib.Path(folder) / f"trained/{arm}/model.pt"
                    )

    def compare(self, committed, made):
        old, new = card(committed), card(made)
        for key in ("epochs", "seed", "images", "batch"):
            self.assertEqual(old["trained"][key], new["trained"][key], key)
        accuracy = [facts["trained"]["validation_accuracy"] for facts in (old, new)]
        self.assertLess(abs(accuracy[0] - accuracy[1]), 0.03)
        old, new = state(committed), state(made)
        self.assertEqual(list(old), list(new))
        equal = all(torch.equal(old[name], new[name]) for name in old)
        closest = 1.0
        for name, value in old.items():
            if value.dim() > 1:  # weights; the other tensors are small
                cosine = torch.nn.functional.cosine_similarity(value.flatten(), new[name].flatten(), dim=0)
                closest = min(closest, float(cosine))
        print(f"{committed.name}: {'equal bit for bit' if equal else f'smallest cosine {closest:.3f}'}")
        self.assertGreater(closest, 0.3)


if __name__ == "__main__":
    unittest.main()
