"""Reads an exported run as a stranger would, and prints the bits of its numbers.

    python read_export.py rows.csv (or .jsonl, .parquet)

A line a row: trial, site, image, element, mask, codes, outcome, faulty top-1, message, then value_before and value_after as float32 bits, losses and
metric columns as float64 bits, all in hexadecimal; "nan" for every NaN, "null" for JSON's null.
"""
import csv
import json
import math
import struct
import sys


def bits(text, kind):
    if text is None:
        return 'null'
    value = float(text)
    return 'nan' if math.isnan(value) else struct.pack('>' + kind, value).hex()


def rows(path):
    if path.endswith('.parquet'):
        import pyarrow.parquet
        for row in pyarrow.parquet.read_table(path).to_pylist():
            for name in ('mask', 'code_before', 'code_after'):  # whole numbers there
                row[name] = hex(row[name])
            yield row
        return
    with open(path, newline='', encoding='utf-8') as file:
        if path.endswith('.csv'):
            yield from csv.DictReader(file)
        else:
            for line in file:
                yield json.loads(line)


for row in rows(sys.argv[1]):
    names = list(row)
    metrics = names[names.index('message') + 1:]
    print('|'.join([str(row['trial']), row['site'], row['image'], str(row['element']),
                    str(int(row['mask'], 16)), str(int(row['code_before'], 16)),
                    str(int(row['code_after'], 16)), row['outcome'], str(row['faulty_top1']), row['message'] or '',
                    bits(row['value_before'], 'f'), bits(row['value_after'], 'f')] +
                   [bits(row[name], 'd') for name in ['golden_loss', 'faulty_loss'] + metrics]))
