"""Write torch_convolution.json beside this file: results of PyTorch 2.13.0 for images, in float64.

Run by hand, `python tests/engine/references/torch_convolution.py`; the tests read the file and need no PyTorch.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

rng = np.random.default_rng(0)


def draw(*shape: int, digits: int = 3) -> Tensor:
    return torch.tensor(np.round(2 * rng.standard_normal(shape), digits), dtype=torch.float64)


def case(kind: str, module: nn.Module, settings: dict[str, Any], *shape: int, digits: int = 3) -> dict[str, Any]:
    """Return layer and settings as the engine calls them; x, y, and a dL/dy with its gradients."""
    module = module.double()
    for parameter in module.parameters():
        parameter.data = draw(*parameter.shape)
    x = draw(*shape, digits=digits).requires_grad_()
    y = module(x)
    dy = draw(*y.shape)
    y.backward(dy)
    arrays = {"x": x, "y": y, "dy": dy, "dx": x.grad}
    if kind.startswith("conv"):
        arrays |= {"W": module.weight, "b": module.bias, "dW": module.weight.grad, "db": module.bias.grad}
    return {"layer": kind, "settings": settings, **{name: array.tolist() for name, array in arrays.items()}}


def convolution(kind: str, channels: int, kernel: Any, stride: int, padding: int, *shape: int) -> dict[str, Any]:
    module = {"conv2d": nn.Conv2d, "conv_transpose2d": nn.ConvTranspose2d}[kind]
    settings = {"channels": channels, "kernel": kernel, "stride": stride, "padding": padding}
    return case(kind, module(shape[1], channels, kernel, stride, padding), settings, *shape)


def pooling(size: int, stride: int | None, *shape: int, digits: int = 3) -> list[dict[str, Any]]:
    settings = {"size": size, "stride": stride}
    return [
        case("max_pool2d", nn.MaxPool2d(size, stride), settings, *shape, digits=digits),
        case("mean_pool2d", nn.AvgPool2d(size, stride), settings, *shape, digits=digits),
    ]


cases = [
    convolution("conv2d", 3, 2, 1, 0, 3, 2, 4, 3),
    convolution("conv2d", 2, (3, 2), 2, 1, 3, 2, 5, 4),
    convolution("conv2d", 3, (1, 3), 3, 2, 2, 1, 3, 6),
    convolution("conv2d", 2, (3, 5), 1, 0, 2, 2, 3, 5),  # as large as the image
    convolution("conv2d", 1, 2, 3, 0, 2, 2, 6, 5),  # unused lines and columns between and after the windows
    convolution("conv_transpose2d", 3, 2, 1, 0, 3, 2, 4, 3),
    convolution("conv_transpose2d", 2, (3, 2), 2, 1, 3, 2, 3, 4),
    convolution("conv_transpose2d", 1, (1, 2), 3, 0, 2, 2, 2, 3),  # pixels outside of every window
    convolution("conv_transpose2d", 2, 5, 2, 2, 2, 3, 1, 2),
    *pooling(2, None, 2, 3, 4, 6),
    *pooling(2, None, 2, 2, 5, 7),  # an unused line and column
    *pooling(3, 2, 2, 1, 6, 7),  # windows overlap
    *pooling(2, 3, 2, 1, 6, 5),  # windows with gaps
    *pooling(3, 1, 3, 2, 5, 4, digits=0),  # equal maxima
    *pooling(2, None, 3, 2, 4, 4, digits=0),
]
assert torch.__version__.startswith("2.13.0"), torch.__version__
Path(__file__).with_suffix(".json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
