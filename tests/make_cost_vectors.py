"""Prints a line for each TorchScript model: its parameters and multiply-accumulates of one image, as torch counts them. The
oracle of model_costs_test.

usage: make_cost_vectors.py MODEL.pt CxHxW [MODEL.pt CxHxW ...]
"""

import sys
import warnings

import torch
from torch.utils.flop_counter import FlopCounterMode

warnings.filterwarnings("ignore")


def main(path, shape):
    model = torch.jit.load(path).eval()
    counter = FlopCounterMode(display=False)  # two operations a multiply-accumulate
    with torch.no_grad(), torch.jit.optimized_execution(False), counter:
        model(torch.randn(1, *map(int, shape.split("x"))))
    shared = {parameter.data_ptr(): parameter.numel() for parameter in model.parameters()}
    print(sum(shared.values()), counter.get_total_flops() // 2)


if __name__ == "__main__":
    for model, size in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        main(model, size)
