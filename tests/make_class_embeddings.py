"""Embeddings of classes by the rule of core/src/text/embeddings.h, in PyTorch, as float32 on stdout.

usage: make_class_embeddings.py TABLE.pth MAP.json CLASS...
"""

import json
import sys

import torch
from torch.nn.functional import normalize

table = torch.load(sys.argv[1], weights_only=True)
with open(sys.argv[2], encoding="utf-8") as source:
    rows = json.load(source)
for name in sys.argv[3:]:
    mean = normalize(table[rows[name]], dim=1).mean(dim=0)
    sys.stdout.buffer.write(normalize(mean, dim=0).numpy().tobytes())
