#!/usr/bin/env python3
"""Reads what `bitfall` prints as JSON, for study_formats.sh.

format_table.py < REPORTS             one markdown row per report (bitfall report --json, one after
                                      the other): accuracy, mismatch in all and by bit class
format_table.py --formats < FORMATS          the ids of formats that need no options
format_table.py --has-metadata ID < FORMATS  exit status 0 if the format has metadata registers
"""

import argparse
import json
import sys

CLASSES = ["sign", "exponent", "regime", "mantissa", "metadata"]


def documents(text):
    decoder, at = json.JSONDecoder(), 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        document, at = decoder.raw_decode(text, at)
        yield document


def rate(group):
    return f"{100 * group['mismatch']['rate']:.2f}" if group["trials"] else "-"


def table(reports):
    print("| format | accuracy, % | trials | mismatch, % | " + " | ".join(CLASSES) + " |")
    print("| --- " * (4 + len(CLASSES)) + "|")
    for report in reports:
        classes = {group["name"]: group for group in report["bit_classes"]}
        payload = [group for name, group in classes.items() if name != "metadata"]
        events = sum(group["mismatch"]["events"] for group in payload)
        trials = sum(group["trials"] for group in payload)
        cells = [rate(classes[name]) if name in classes else "-" for name in CLASSES]
        print(f"| `{report['facts']['format']}` | {100 * report['golden_accuracy']['rate']:.2f} | {report['done']} | "
              f"{100 * events / trials:.2f} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", action="store_true")
    parser.add_argument("--has-metadata", metavar="ID")
    arguments = parser.parse_args()
    text = sys.stdin.read()
    if arguments.formats or arguments.has_metadata:
        formats = json.loads(text)["formats"]
        if arguments.formats:
            print("\n".join(form["id"] for form in formats if form["bits"] not in (None, "-")))
            return 0
        return 0 if any(form["id"] == arguments.has_metadata and form["metadata"] for form in formats) else 1
    table(documents(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
