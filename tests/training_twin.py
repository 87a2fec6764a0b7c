"""The training of tests/train/trainer_test.cc in plain PyTorch, without TorchScript.

usage: training_twin.py MODEL IMAGES LABELS BATCH EPOCHS RECIPE [EMA]

MODEL is make_models.py's Residual with a text-guided head; IMAGES [N, 3, 8, 8] and LABELS are .npy
files in the order in which the steps meet them. RECIPE: sgd or adamw. Prints the mean loss of each
epoch; with EMA, a decay, then of every averaged tensor of floats its name, sum and sum of squares.
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from make_models import Residual


class Head(nn.Module):
    """As the published code computes it."""

    def __init__(self, features, width, classes):
        super().__init__()
        self.latent = nn.Linear(features, width)
        self.projection = nn.Linear(width, classes, bias=False)
        self.log_factor = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        x = self.latent(x)
        x = x / x.norm(dim=-1, keepdim=True)
        return self.log_factor.exp() * self.projection(x)


def main():
    path, images, labels, batch, epochs, recipe = sys.argv[1:7]
    batch, epochs = int(batch), int(epochs)
    weights = torch.jit.load(path).state_dict()
    model = Residual()
    width, features = weights["fc.latent.weight"].shape
    model.fc = Head(features, width, weights["fc.projection.weight"].shape[0])
    renamed = {key.replace("fc.scale.log_factor", "fc.log_factor"): v for key, v in weights.items()}
    model.load_state_dict(renamed)
    model.train()
    images, labels = torch.from_numpy(np.load(images)), torch.from_numpy(np.load(labels))
    steps = len(images) // batch
    if recipe == "sgd":
        optimiser = torch.optim.SGD(
            model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=0.1, total_steps=steps, cycle_momentum=False
        )
        smoothing = 0.1
    else:
        matrices = [p for p in model.parameters() if p.dim() > 1]
        vectors = [p for p in model.parameters() if p.dim() <= 1]
        optimiser = torch.optim.AdamW(
            [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}],
            lr=0.01,
            weight_decay=0.05,
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
        smoothing = 0.0
    averaged = None
    if len(sys.argv) > 7:
        average = torch.optim.swa_utils.get_ema_multi_avg_fn(float(sys.argv[7]))
        averaged = torch.optim.swa_utils.AveragedModel(
            model, multi_avg_fn=average, use_buffers=True
        )
        averaged.update_parameters(model)  # the first update copies: the average starts there
    losses = []
    for part, wanted in zip(images.split(batch), labels.split(batch), strict=True):
        loss = F.cross_entropy(model(part), wanted, label_smoothing=smoothing)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if averaged:
            averaged.update_parameters(model)
        losses.append(loss.item())
    for part in np.array(losses).reshape(epochs, -1):
        print(float(part.mean()))
    if averaged:
        for name, value in averaged.module.state_dict().items():
            if value.is_floating_point():
                name = name.replace("fc.log_factor", "fc.scale.log_factor")
                print(name, value.double().sum().item(), value.double().square().sum().item())


if __name__ == "__main__":
    main()
