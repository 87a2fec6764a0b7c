"""The scripts that make embeddings and descriptions of classes, and export_model.py --text-guided.

usage: text_scripts_test.py [unittest arguments]

Encoders that are not installed (scripts/requirements-text.txt) are skipped. Where BITFALL names the
built program, what it counts in descriptions is compared with what the scripts keep.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy
import torch
from torch import nn

SOURCE = pathlib.Path(__file__).resolve().parent.parent
SHARED = SOURCE.parent / "shared" / "data" / "text"
PROGRAM = os.environ.get("BITFALL")
sys.path[:0] = [str(SOURCE / "scripts"), str(SOURCE / "scripts/quickstart")]
import cifar_resnet  # noqa: E402
import class_text  # noqa: E402
import describe_classes  # noqa: E402
import draw_shapes  # noqa: E402
import embed_text  # noqa: E402
import export_model  # noqa: E402


def run(script, *arguments):
    """(exit status, stdout, stderr) of a script's main."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = script.main([str(argument) for argument in arguments])
    return status, out.getvalue(), err.getvalue()


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="bitfall_text_")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, content):
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def refused(self, script, *arguments):
        status, _, err = run(script, *arguments)
        self.assertEqual(status, 1)
        self.assertNotIn("Traceback", err)
        return err


class Grammar(unittest.TestCase):
    def test_articles(self):
        for names, word in (
            (
                "apple Apple umbrella hourglass honest_man ox SUV X-ray eft unknown urn usher "
                "AM_radio unimproved_road unidentified_bird heirloom iPod",
                "an",
            ),
            (
                "hen unicorn unicycle uniform ukulele one-way_street European_owl ewe USB_stick "
                "used_car "
                "T-shirt UFO honeycomb utensil universe",
                "a",
            ),
        ):
            for name in names.split():
                self.assertEqual(class_text.article(name.replace("_", " ")), word, name)

    def test_templates(self):
        fill = class_text.fill
        self.assertEqual(fill("a photo of a {}", "apple_pie"), "a photo of an apple pie")
        self.assertEqual(fill("An {}, the {}.", "hen"), "A hen, the hen.")
        self.assertEqual(fill("a {} and a bee", "ant"), "an ant and a bee")


class Descriptions(Case):
    def test_trimming_is_that_of_the_program(self):
        texts = [" A blue\nbird ", ".", "", "\n\n", "A  blue bird", ". . .", "S\u00e4ger\t\r\nx."]
        path = self.write("d.json", {"jay": texts})
        kept = class_text.read_descriptions(path)["jay"]
        self.assertEqual(kept, ["A blue bird", "A blue bird", "S\u00e4ger x."])

    @unittest.skipUnless(PROGRAM, "BITFALL does not name the program")
    @unittest.skipUnless(SHARED.is_dir(), f"{SHARED} is not there")
    def test_published_files_are_kept_as_the_program_keeps_them(self):
        for path in sorted(SHARED.glob("cupl_*.json")):
            done = subprocess.run(
                [PROGRAM, "embeddings", path, "--json"], capture_output=True, check=True
            )
            theirs = {
                c["class"]: (c["texts"], c["repeated"], c["longest"])
                for c in json.loads(done.stdout)["classes"]
            }
            ours = {
                name: (len(texts), len(texts) - len(set(texts)), max(map(len, texts)))
                for name, texts in class_text.read_descriptions(path).items()
            }
            self.assertEqual(ours, theirs, path)

    def test_questions(self):
        names = self.write("names.txt", "hen\nice_cream\n")
        status, out, _ = run(
            describe_classes, names, "-o", self.folder / "p.jsonl", "--per-question", 3
        )
        self.assertEqual((status, "30 prompts for 2 classes" in out), (0, True))
        rows = [json.loads(line) for line in (self.folder / "p.jsonl").read_text().splitlines()]
        self.assertEqual(len(rows), 2 * 5 * 3)
        self.assertEqual([row["sample"] for row in rows[:4]], [0, 1, 2, 0])
        prompts = {row["prompt"] for row in rows}
        self.assertIn("What does a hen look like?", prompts)
        self.assertIn("A caption of an image of an ice cream:", prompts)

    def collected(self, name, content):
        names = self.write("names.txt", "hen\nice_cream\n")
        answers = self.write(name, content)
        out = self.folder / "d.json"
        self.assertEqual(run(describe_classes, names, "--collect", answers, "-o", out)[0], 0)
        return json.loads(out.read_text())

    def test_answers_in_every_form(self):
        expected = {"hen": ["A bird.", "It lays eggs."], "ice_cream": ["Cold and sweet."]}
        lines = [
            {"class": "hen", "text": [" A bird.\n", ".", "It lays\neggs."], "model": "x"},
            {"class": "Ice cream", "text": "Cold and sweet."},
        ]
        self.assertEqual(self.collected("a.jsonl", "\n".join(map(json.dumps, lines))), expected)
        blocks = "# Hen\n1. A bird.\n\n2) It lays eggs.\nice cream:\n- Cold and sweet.\n.\n"
        self.assertEqual(self.collected("a.txt", blocks), expected)
        cupl = {"hen": ["A bird.", "It lays eggs."], "ice cream": ["\n\nCold and sweet."]}
        self.assertEqual(self.collected("a.json", cupl), expected)
        one = self.write("names.txt", "hen\n")
        path = self.write("one.jsonl", {"class": "hen", "text": "A bird."})
        run(describe_classes, one, "--collect", path, "-o", self.folder / "one.json")
        self.assertEqual(json.loads((self.folder / "one.json").read_text()), {"hen": ["A bird."]})

    def test_bad_answers_are_named(self):
        names = self.write("names.txt", "hen\nowl\njay\n")
        out = self.folder / "d.json"
        for content, text in (
            ({"hen": ["x"], "jay": [".", " "]}, "no answers for 2 of 3 classes: 'owl', 'jay'"),
            ({"hen": ["x"], "old": ["x"]}, "not in the list of classes: 'old' (near it: 'owl')"),
            ({"hen": "x"}, "its descriptions are a list of texts"),
            ("a line\nhen\n", ":1: a line before the first class's name"),
            ('{"class": "hen", "text": "x"}\n{"class": "owl"}', ':2: needs "class" and "text"'),
            ('{"class": "hen", "text": "x"}\n{"class" "owl"}', ":2:10: not valid JSON"),
        ):
            answers = self.write("a.txt", content)
            self.assertIn(
                text, self.refused(describe_classes, names, "--collect", answers, "-o", out)
            )
        self.assertFalse(out.exists())


class Embedding(Case):
    def test_rule(self):
        """Each text over its length, the mean, over its length."""
        table = {"a": (3.0, 4.0), "b": (0.0, 2.0), "c": (-5.0, 0.0)}
        rows = embed_text.embed(
            lambda texts: numpy.array([table[text] for text in texts], numpy.float32),
            [["a", "b"], ["c"], ["b", "b", "c"]],
        )
        mean = (0.3, 0.9)  # of (0.6, 0.8) and (0, 1)
        length = math.hypot(*mean)
        third = math.hypot(1 / 3, 2 / 3)
        expected = [[mean[0] / length, mean[1] / length], [-1, 0], [-1 / 3 / third, 2 / 3 / third]]
        numpy.testing.assert_allclose(rows, expected, atol=1e-7)
        self.assertEqual(rows.dtype, numpy.float32)
        with self.assertRaisesRegex(class_text.TextError, "zero or non-finite"):
            embed_text.embed(lambda texts: numpy.zeros((len(texts), 2)), [["a"]])

    def test_batches_change_nothing(self):
        encoder = lambda texts: numpy.array([[len(text), 1.0] for text in texts])
        texts = ["x" * n for n in range(100)]
        expected = numpy.array([[n, 1] for n in range(100)]) / numpy.hypot(range(100), 1)[:, None]
        mean = expected.mean(axis=0)
        numpy.testing.assert_allclose(
            embed_text.embed(encoder, [texts])[0], mean / numpy.linalg.norm(mean), atol=1e-7
        )

    @unittest.skipUnless(importlib.util.find_spec("safetensors"), "safetensors is not installed (it comes with timm, by scripts/setup.sh)")
    def test_files(self):
        rows = numpy.eye(2, 3, dtype=numpy.float32)
        for ending in (".npy", ".safetensors"):
            path = self.folder / f"rows{ending}"
            names = embed_text.write_embeddings(path, rows, ["hen", "\u00e9t\u00e9"], "fake")
            self.assertEqual(names.read_text(encoding="utf-8"), "hen\n\u00e9t\u00e9\n")
        numpy.testing.assert_array_equal(numpy.load(self.folder / "rows.npy"), rows)
        from safetensors.numpy import load_file

        stored = load_file(self.folder / "rows.safetensors")
        numpy.testing.assert_array_equal(stored["embeddings"], rows)
        self.assertEqual(len(list(self.folder.iterdir())), 3)

    def test_bad_input_is_named(self):
        out = self.folder / "x.npy"
        path = self.write("d.json", {"hen": ["x"], "owl": ["y"]})
        names = self.write("names.txt", "hen\nowk\n")
        arguments = (path, "--encoder", "minilm", "-o", out)
        self.assertIn(
            "missing: 'owk' (near it: 'owl')",
            self.refused(embed_text, *arguments, "--classes", names),
        )
        self.write("d.json", '{"hen": ["x"],\n "hen" ["y"]}')
        self.assertIn("d.json:2:8: not valid JSON", self.refused(embed_text, *arguments))
        self.write("d.json", '{"hen": ["x"], "hen": ["y"]}')
        self.assertIn("'hen' occurs twice", self.refused(embed_text, *arguments))
        self.write("d.json", {"hen": ["."]})
        self.assertIn("no description is left of 1", self.refused(embed_text, *arguments))
        self.write("d.json", {"hen": ["x"]})
        for choice, text in (
            ("bert", "give minilm or clip:FOLDER"),
            (f"clip:{self.folder}", "holds no CLIP"),
        ):
            self.assertIn(text, self.refused(embed_text, path, "--encoder", choice, "-o", out))

    def test_quick_start_files_belong_together(self):
        stem = SOURCE / "scripts/quickstart/embeddings"
        names = class_text.read_classes(stem.with_suffix(".classes.txt"))
        self.assertEqual(names, draw_shapes.CLASSES)
        described = class_text.read_descriptions(
            SOURCE / "scripts/quickstart/descriptions.json"
        )
        self.assertEqual(list(described), names)
        rows = numpy.load(stem.with_suffix(".npy"))
        self.assertEqual((rows.shape, rows.dtype), ((12, 384), numpy.float32))
        numpy.testing.assert_allclose(numpy.linalg.norm(rows, axis=1), 1, atol=1e-6)

    def encoder(self, choice):
        try:
            return embed_text.make_encoder(choice)
        except class_text.TextError as error:
            if "could not be imported" in str(error):
                self.skipTest(str(error))
            raise

    def test_minilm(self):
        encoder = self.encoder("minilm")
        texts = ["A red circle.", "A round red disc.", "The stock market fell on Monday."]
        with torch.inference_mode():
            rows = embed_text.unit(encoder(texts))
            alone = embed_text.unit(encoder(texts[:1]))
        self.assertEqual(rows.shape, (3, 384))
        self.assertGreater(rows[0] @ rows[1], 0.6)
        self.assertLess(rows[0] @ rows[2], 0.3)
        # Padding to a longer text is not seen.
        numpy.testing.assert_allclose(rows[0], alone[0], atol=1e-5)
        # The committed file is what the script makes.
        out = self.folder / "q.npy"
        source = SOURCE / "scripts/quickstart/descriptions.json"
        self.assertEqual(run(embed_text, source, "--encoder", "minilm", "-o", out)[0], 0)
        committed = numpy.load(SOURCE / "scripts/quickstart/embeddings.npy")
        numpy.testing.assert_allclose(numpy.load(out), committed, atol=1e-5)

    def test_clip_of_transformers(self):
        with contextlib.suppress(class_text.TextError):
            embed_text.import_or_refuse("transformers")
        transformers = sys.modules.get("transformers")
        if not transformers:
            self.skipTest("transformers is not installed")
        letters = "abcdefghijklmnopqrstuvwxyz"
        words = [*letters, *(c + "</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
        (self.folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
        (self.folder / "merges.txt").write_text("#version: 0.2\n")
        tokenizer = transformers.CLIPTokenizer(
            str(self.folder / "vocab.json"), str(self.folder / "merges.txt")
        )
        clip = self.folder / "clip"
        tokenizer.save_pretrained(clip)
        config = transformers.CLIPConfig(
            text_config={
                "vocab_size": len(words),
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "max_position_embeddings": 12,
                "projection_dim": 6,
                "eos_token_id": len(words) - 1,
                "bos_token_id": len(words) - 2,
                "pad_token_id": len(words) - 1,
            },
            vision_config={
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 8,
                "patch_size": 4,
            },
            projection_dim=6,
        )
        torch.manual_seed(1)
        model = transformers.CLIPModel(config).eval()
        model.save_pretrained(clip)
        texts = ["a hen", "an owl with a very long name"]
        with torch.inference_mode():
            found = self.encoder(f"clip:{clip}")(texts)
            for text, row in zip(texts, found):  # the whole model, a text at a time
                tokens = tokenizer([text], truncation=True, max_length=12, return_tensors="pt")
                expected = model.get_text_features(**tokens)
                expected = getattr(expected, "pooler_output", expected)[0].numpy()
                numpy.testing.assert_allclose(row, expected, atol=1e-5)
        self.assertGreater(numpy.abs(found[0] - found[1]).max(), 1e-3)

    def test_clip_of_open_clip(self):
        with contextlib.suppress(class_text.TextError):
            embed_text.import_or_refuse("open_clip")
        open_clip = sys.modules.get("open_clip")
        if not open_clip:
            self.skipTest("open_clip is not installed")
        config = {
            "embed_dim": 6,
            "vision_cfg": {
                "image_size": 8,
                "layers": 1,
                "width": 16,
                "patch_size": 4,
                "head_width": 8,
            },
            "text_cfg": {
                "context_length": 12,
                "vocab_size": 49408,
                "width": 16,
                "heads": 2,
                "layers": 1,
            },
        }
        (self.folder / "open_clip_config.json").write_text(
            json.dumps(
                {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
            )
        )
        torch.manual_seed(1)
        parts = {
            "vision_cfg": open_clip.CLIPVisionCfg(**config["vision_cfg"]),
            "text_cfg": open_clip.CLIPTextCfg(**config["text_cfg"]),
        }
        model = open_clip.CLIP(config["embed_dim"], **parts).eval()
        torch.save(model.state_dict(), self.folder / "open_clip_pytorch_model.bin")
        texts = ["a hen", "an owl with a very long name that is cut"]
        with torch.inference_mode():
            found = self.encoder(f"clip:{self.folder}")(texts)
            expected = model.encode_text(open_clip.tokenize(texts, context_length=12)).numpy()
        numpy.testing.assert_allclose(found, expected, atol=1e-5)


class Eager(nn.Module):
    """The published CLIPGuidedClassifier's forward, as it is there."""

    def __init__(self, backbone, width, classes):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(width, classes, bias=False)
        self.logit_scale = nn.Parameter(torch.ones([]) * math.log(1 / 0.07))

    def forward(self, x):
        features = self.backbone(x)
        features = features / features.norm(dim=1, keepdim=True)
        return self.logit_scale.exp() * self.head(features)


class TextGuided(Case):
    def twin(self, name, width, classes):
        torch.manual_seed(3)
        model = Eager(export_model.find_source(name).build(width, None), width, classes)
        for module in model.modules():  # statistics that an exchange of layers would show in
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.1, 0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        nn.init.constant_(model.logit_scale, 3.1)
        return model.eval()

    def export(self, model, name, content, *more):
        path, out = self.folder / "checkpoint.pth", self.folder / "x.pt"
        torch.save(content, path)
        status, said, err = run(
            export_model, name, "--text-guided", path, "-o", out, "--script", *more
        )
        self.assertEqual(status, 0, err)
        files = {"bitfall.json": ""}
        return torch.jit.load(out, _extra_files=files), json.loads(files["bitfall.json"])

    def check(self, name, width, classes, wrap, size, last):
        model = self.twin(name, width, classes)
        exported, card = self.export(model, name, wrap(model))
        images = torch.randn(3, *size, generator=torch.Generator().manual_seed(4))
        with torch.no_grad():
            expected = model(images)
            found = exported(images)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5)
        self.assertGreater(expected.std().item(), 0.1)
        layers = [name for name, _ in getattr(exported, last).named_children()]
        self.assertEqual(layers, ["latent", "normalise", "projection", "scale"])
        self.assertEqual(
            card["head"],
            {
                "module": last,
                "init": "text_guided",
                "options": "",
                "published": True,
                "replaced_bias": True,
            },
        )
        self.assertEqual(card["method"], "script")
        self.assertEqual(
            len(card["classes"]) if isinstance(card["classes"], list) else card["classes"], classes
        )

    def test_cifar_resnet_of_a_training_script(self):
        arguments = argparse.Namespace(lr=0.1, model="x", nested={"a": [1, None]})
        wrap = lambda model: {
            "model": {f"module.{key}": value for key, value in model.state_dict().items()},
            "args": arguments,
            "epoch": 3,
        }
        self.check("cifar_resnet20", 48, 10, wrap, [3, 32, 32], "linear")

    def test_resnet18(self):
        if export_model.import_torchvision() is None:
            self.skipTest("torchvision is not installed")
        wrap = lambda model: {"state_dict": model.state_dict()}
        self.check("resnet18", 512, 20, wrap, [3, 224, 224], "fc")

    def test_features_of_zero_give_no_nan(self):
        model = self.twin("cifar_resnet20", 8, 4)
        nn.init.zeros_(model.backbone.linear.weight)
        nn.init.zeros_(model.backbone.linear.bias)
        exported, _ = self.export(model, "cifar_resnet20", model.state_dict())
        with torch.no_grad():
            self.assertTrue(torch.equal(exported(torch.randn(2, 3, 32, 32)), torch.zeros(2, 4)))

    def test_other_checkpoints_are_refused(self):
        model = self.twin("cifar_resnet20", 8, 4)
        state = model.state_dict()
        path, out = self.folder / "checkpoint.pth", self.folder / "x.pt"

        def refusal(content, *more, name="cifar_resnet20"):
            torch.save(content, path)
            return self.refused(export_model, name, "--text-guided", path, "-o", out, *more)

        err = refusal(state, name="cifar_resnet32")
        self.assertIn("does not fit a text-guided cifar_resnet32", err)
        self.assertIn("missing in the file:\n    backbone.layer1.3.conv1.weight", err)
        err = refusal({**state, "backbone.linear.bias": torch.zeros(9)})
        self.assertIn("backbone.linear.bias: [9] in the file, [8] in the model", err)
        plain = cifar_resnet.cifar_resnet(20).state_dict()
        self.assertIn("is not a text-guided checkpoint", refusal(plain))
        self.assertIn("it has conv1.weight", refusal(plain))
        self.assertIn("is more than one number", refusal({**state, "logit_scale": torch.zeros(2)}))
        self.assertIn("--classes gives 5 classes", refusal(state, "--classes", "5"))
        self.assertIn("2 parts of it fit: 'a', 'b'", refusal({"a": state, "b": {**state, "logit_scale": torch.ones(())}}))
        self.assertFalse(out.exists())


if __name__ == "__main__":
    unittest.main()
