"""NoisePrint++ as its published file numbers it, with random weights whose statistics are like the published ones'."""

from __future__ import annotations

import torch
from torch import nn

from qmanet_benco.model.noiseprint import DEPTH, WIDTH


def published_form() -> nn.Sequential:
    """The layers in the order that the published file numbers them, in float64."""
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTH, 3, padding=1), nn.ReLU()]
    for _ in range(DEPTH - 2):
        layers += [nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()]
    layers.append(nn.Conv2d(WIDTH, 1, 3, padding=1))
    return nn.Sequential(*layers).double().eval()


@torch.no_grad()
def random_published_form(offset: float) -> nn.Sequential:
    """Random weights; in layers 7 to 10 the means are ``offset`` times the spread, as in the published file.

    The BatchNorm statistics fit the inside of an image: at its border, zero padding meets the large means.
    """
    network = published_form()
    x = torch.rand(1, 3, 48, 48, dtype=torch.float64)
    for index, layer in enumerate(network):
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            inside = x[..., DEPTH:-DEPTH, DEPTH:-DEPTH]
            layer.running_mean.copy_(inside.mean(dim=(0, 2, 3)))
            layer.running_var.copy_(inside.var(dim=(0, 2, 3)))
            layer.weight.uniform_(0.5, 1.5)
            layer.bias.normal_()
            if index in (21, 24, 27, 30):  # layers 7, 8, 9 and 10
                layer.bias.add_(offset)
        x = layer(x)
    return network
