"""Lists and descriptions of classes, for embed_text.py and describe_classes.py.

What is kept of a text, and how names match, is the rule of core/src/text/descriptions.cc and
core/src/text/class_names.cc: `bitfall embeddings DESCRIPTIONS.json` counts the same.
"""

import difflib
import json
import os
import re
from pathlib import Path


class TextError(Exception):
    """What is wrong with the input and what to do; printed without a traceback."""


def trimmed(text: str) -> str:
    """Blanks and line ends become one blank, none at the ends; "" if only dots are left."""
    text = re.sub("[ \t\n\r\f\v]+", " ", text).strip(" ")
    return text if text.strip(". ") else ""


# Words whose first letter misleads about their first sound.
_A = re.compile(r"(uni(?!n|d|m[a-eg-z])|u[bkst][aeiu]|eu|ewe|one\b|once\b|u-|ufo\b)", re.IGNORECASE)
_AN = re.compile(r"(hour|honest|hono|heir|herb\b)", re.IGNORECASE)


def article(name: str) -> str:
    """The article, a or an, by the sound that the name begins with."""
    word = re.split(r"[ \-]", name.strip(), maxsplit=1)[0]
    if word.isupper() and len(word) <= 4:  # spelled: an SUV, a USB stick, an X-ray
        return "an" if word[0] in "AEFHILMNORSX" else "a"
    if _AN.match(name):
        return "an"
    if _A.match(name):
        return "a"
    return "an" if name[:1].lower() in "aeiou" else "a"


def fill(template: str, name: str) -> str:
    """The template with the name for {}, "a {}" and "an {}" with the name's own article."""
    name = name.replace("_", " ")

    def with_article(match):
        word = article(name)
        return f"{word.capitalize() if match[1] == 'A' else word} {name}"

    return re.sub(r"\b([Aa])n? \{\}", with_article, template).replace("{}", name)


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TextError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TextError(f"{path}: is not UTF-8 text (byte {error.start})") from error


def parse_json(text: str, path: Path):
    def unique(pairs):
        result = dict(pairs)
        if len(result) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise TextError(f"{path}: the key '{twice}' occurs twice")
        return result

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise TextError(
            f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}"
        ) from error


def read_classes(path: Path) -> list:
    """Names in order: a JSON array of strings if the file is named .json, else one name per line."""
    text = read_text(path)
    if path.suffix == ".json":
        names = parse_json(text, path)
        if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
            raise TextError(f"{path}: a list of classes is a JSON array of strings")
    else:
        names = [line.strip() for line in text.rstrip().split("\n")]
        if not all(names):
            raise TextError(f"{path}:{names.index('') + 1}: empty line in the class list")
    if not names:
        raise TextError(f"{path}: the list of classes is empty")
    return names


def folded(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: letter[0].lower(), re.sub("[ _-]", "", name))


def find_name(name: str, known) -> str:
    """The name in `known`, else the only one that differs in no more than case, _, - and blanks,
    else ""."""
    if name in known:
        return name
    alike = {other for other in known if folded(other) == folded(name)}
    return alike.pop() if len(alike) == 1 else ""


def listed(missing, known) -> str:
    parts = []
    for name in missing:
        near = difflib.get_close_matches(name, known, n=1)
        parts.append(f"'{name}'" + (f" (near it: '{near[0]}')" if near else ""))
    return ", ".join(parts)


def kept_texts(name: str, texts, path: Path) -> list:
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TextError(f"{path}: class '{name}': its descriptions are a list of texts")
    kept = [text for text in map(trimmed, texts) if text]
    if not kept:
        raise TextError(f"{path}: class '{name}': no description is left of {len(texts)}")
    return kept


def read_descriptions(path: Path) -> dict:
    """{class: [texts]} with what is kept of each text."""
    document = parse_json(read_text(path), path)
    if not isinstance(document, dict) or not document:
        raise TextError(f"{path}: descriptions are a JSON object {{class: [texts]}}")
    return {name: kept_texts(name, texts, path) for name, texts in document.items()}


def choose(descriptions: dict, classes: list, path: Path, warn=print) -> list:
    """(class, texts) for each class in order; several classes may share a key."""
    keys = [find_name(name, descriptions) for name in classes]
    missing = [name for name, key in zip(classes, keys) if not key]
    if missing:
        raise TextError(
            f"{path}: describes {len(classes) - len(missing)} of {len(classes)} classes; missing: "
            + listed(missing, list(descriptions))
        )
    for key in dict.fromkeys(keys):
        sharing = [name for name, own in zip(classes, keys) if own == key]
        if len(sharing) > 1:
            warn(f"classes {listed(sharing, [])} share the descriptions of '{key}'")
    return [(name, descriptions[key]) for name, key in zip(classes, keys)]


def write_whole(path: Path, write) -> None:
    """Calls write(partial path) and renames, so that what is there is complete."""
    partial = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        os.replace(partial, path)
    except OSError as error:
        raise TextError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
