"""Writes tests/vectors/metric_vectors.csv: golden and faulty logits by PyTorch, the metrics' oracle.

    make_metric_vectors.py > tests/vectors/metric_vectors.csv

Logits are float32 bit patterns in hexadecimal, separated by blanks; losses and expected values are
float64.
"""

import math

import torch

GIVEN = ["golden", "faulty", "label", "golden_loss", "faulty_loss", "golden_top1", "faulty_top1"]
EXPECTED = ["delta_loss", "delta_loss_signed", "mismatch", "misclassified", "top2diff_golden",
            "top2diff_faulty", "top2diff_change", "output_error_max", "output_error_mean",
            "nonfinite"]


def bits(logits):
    return " ".join(f"{word & 0xFFFFFFFF:08x}" for word in logits.view(torch.int32).tolist())


def loss(logits, label):
    return torch.nn.functional.cross_entropy(logits.double()[None], torch.tensor([label])).item()


def top2diff(logits):
    first, second = torch.softmax(logits.double(), 0).topk(2).values.tolist()
    return first - second


def row(golden, faulty, label):
    golden_loss, faulty_loss = loss(golden, label), loss(faulty, label)
    golden_top1, faulty_top1 = golden.argmax().item(), faulty.argmax().item()
    golden_right = golden_top1 == label and not golden.isnan().any()
    faulty_right = faulty_top1 == label and not faulty.isnan().any()
    error = (golden.double() - faulty.double()).abs()
    expected = [abs(faulty_loss - golden_loss), faulty_loss - golden_loss,
                int(faulty_top1 != golden_top1
                    or (faulty.isnan().any().item() and not golden.isnan().any().item())),
                int(golden_right and not faulty_right),
                top2diff(golden), top2diff(faulty), top2diff(faulty) - top2diff(golden),
                error.max().item(), error.mean().item(), int(not faulty.isfinite().all())]
    given = [bits(golden), bits(faulty), label, golden_loss, faulty_loss, golden_top1, faulty_top1]
    return given + expected


def with_value(logits, place, value):
    changed = logits.clone()
    changed[place] = value
    return changed


def cases():
    torch.manual_seed(20231210)
    for classes in [2, 3, 10, 100]:
        for spread in [0.01, 1.0, 20.0]:
            golden = torch.randn(classes) * spread
            label = golden.argmax().item()
            yield golden, golden.clone(), label
            yield golden, torch.randn(classes) * spread, label
            yield golden, golden + torch.randn(classes) * spread / 4, label
            yield golden, golden.flip(0), (label + 1) % classes
    golden = torch.tensor([0.5, 3.0, -2.0, 2.5])
    for value in [math.inf, -math.inf, math.nan, 3.4e38, -3.4e38, 1e30, 88.0, 0.0]:
        for place in range(4):
            changed = with_value(golden, place, value)
            yield golden, changed, 1
            yield changed, golden, 1
            yield changed, changed.clone(), 1
    yield golden, torch.zeros(4), 0
    yield golden, torch.full((4,), -math.inf), 1
    yield golden, torch.full((4,), math.inf), 1
    yield golden, torch.full((4,), math.nan), 0
    yield torch.tensor([1e4, 1e4 - 1, 0.0, 0.0]), torch.tensor([-1e4, -1e4 - 1, -3e4, -3e4]), 0


def main():
    print(",".join(GIVEN + EXPECTED))
    for golden, faulty, label in cases():
        print(",".join(str(value) for value in row(golden, faulty, label)))


main()
