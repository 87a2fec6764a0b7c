#!/usr/bin/env python3
"""Questions about classes for a language model, and its answers as descriptions.

  describe_classes.py names.txt -o prompts.jsonl --per-question 10
  (ask any language model, elsewhere)
  describe_classes.py names.txt --collect answers.jsonl -o descriptions.json

The first writes the five questions of CuPL for every class, one JSON object per line:
{"class", "question", "sample", "prompt"}. The second reads the answers: JSON lines with
"class" and "text" (a text or a list; further keys do not matter), a JSON object {class: [texts]},
or a text file with each class's name on a line of its own (a # before it or a colon after it is allowed),
followed by its descriptions, one per line. It writes {class: [texts]} for embed_text.py. No network is used.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from class_text import (
    TextError,
    fill,
    find_name,
    folded,
    listed,
    parse_json,
    read_classes,
    read_text,
    trimmed,
    write_whole,
)

# The five of CuPL (Pratt et al., ICCV 2023), which the text-guided paper takes over.
QUESTIONS = {
    "describe": "Describe what a {} looks like.",
    "identify": "How can you identify a {}?",
    "look": "What does a {} look like?",
    "internet": "Describe an image from the internet of a {}.",
    "caption": "A caption of an image of a {}:",
}


def prompts(classes: list, per_question: int) -> list:
    return [
        {"class": name, "question": key, "sample": sample, "prompt": fill(question, name)}
        for name in dict.fromkeys(classes)
        for key, question in QUESTIONS.items()
        for sample in range(per_question)
    ]


def from_lines(text: str, path: Path) -> list:
    """(class, text) out of JSON lines."""
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise TextError(
                f"{path}:{number}:{error.colno}: not valid JSON: {error.msg}"
            ) from error
        answers = row.get("text") if isinstance(row, dict) else None
        answers = [answers] if isinstance(answers, str) else answers
        if (
            not isinstance(answers, list)
            or not isinstance(row.get("class"), str)
            or not all(isinstance(answer, str) for answer in answers)
        ):
            raise TextError(f'{path}:{number}: needs "class" and "text"')
        pairs += [(row["class"], answer) for answer in answers]
    return pairs


def from_blocks(text: str, path: Path, classes: list) -> list:
    """(class, text) out of lines below their class's name."""
    pairs, current = [], None
    headings = set(map(folded, classes))
    for number, line in enumerate(text.splitlines(), 1):
        heading = re.sub(r"^[#\s]+|[:\s]+$", "", line)
        if folded(heading) in headings:
            current = heading
            continue
        line = re.sub(r"^\s*([-*\u2022]|\d+[.)])\s+", "", line)  # bullets and numbers of a list
        if not line.strip():
            continue
        if current is None:
            raise TextError(f"{path}:{number}: a line before the first class's name")
        pairs.append((current, line))
    return pairs


def read_answers(path: Path, classes: list) -> list:
    text = read_text(path)
    if not text.lstrip().startswith("{"):
        return from_blocks(text, path, classes)
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        whole = None
    # One line of JSON lines is an object too.
    if path.suffix == ".json" or (whole is not None and "text" not in whole):
        document = parse_json(text, path)
        for name, texts in document.items():
            if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
                raise TextError(f"{path}: class '{name}': its descriptions are a list of texts")
        return [(name, answer) for name, texts in document.items() for answer in texts]
    return from_lines(text, path)


def collect(answers: list, classes: list, path: Path) -> dict:
    """{class: [texts]} in the order of the classes; dropped texts are counted by the caller."""
    names = {name: find_name(name, classes) for name, _ in answers}
    unknown = [name for name, found in names.items() if not found]
    if unknown:
        raise TextError(f"{path}: not in the list of classes: {listed(unknown, classes)}")
    result = {name: [] for name in classes}
    for name, answer in answers:
        if text := trimmed(answer):
            result[names[name]].append(text)
    silent = [name for name, texts in result.items() if not texts]
    if silent:
        raise TextError(
            f"{path}: no answers for {len(silent)} of {len(result)} classes: {listed(silent, [])}"
        )
    return result


def run(options) -> None:
    classes = read_classes(options.classes)
    if not options.collect:
        rows = prompts(classes, options.per_question)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_whole(options.output, lambda p: p.write_text(text, encoding="utf-8"))
        print(f"{options.output}: {len(rows)} prompts for {len(set(classes))} classes")
        return
    answers = read_answers(options.collect, classes)
    result = collect(answers, classes, options.collect)
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    write_whole(options.output, lambda p: p.write_text(text, encoding="utf-8"))
    kept = sum(map(len, result.values()))
    print(
        f"{options.output}: {kept} descriptions of {len(result)} classes, "
        f"{len(answers) - kept} empty ones dropped"
    )


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "classes", type=Path, help="the classes: a JSON array (.json), or a text file with one name per line"
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE")
    parser.add_argument(
        "--per-question", type=int, default=10, metavar="N", help="prompts per question (default 10)"
    )
    parser.add_argument("--collect", type=Path, metavar="FILE", help="answers to read")
    options = parser.parse_args(arguments)
    if options.per_question < 1:
        parser.error("--per-question must be at least 1")
    try:
        run(options)
    except TextError as error:
        print(f"describe_classes.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
