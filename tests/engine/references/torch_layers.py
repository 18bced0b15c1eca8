"""Write torch_layers.json beside this file: results of PyTorch 2.13.0 for layers, in float64.

Run by hand, `python tests/engine/references/torch_layers.py`; the tests read the file and need no PyTorch.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

rng = np.random.default_rng(0)


def draw(*shape: int) -> Tensor:
    return torch.tensor(np.round(2 * rng.standard_normal(shape), 3), dtype=torch.float64)


def batch_norm(layer: nn.Module, *shape: int) -> dict[str, Any]:
    """Return two steps of training, the gradients of the second, and inference after them."""
    layer = layer.double()
    layer.weight.data, layer.bias.data = draw(shape[1]), draw(shape[1])
    layer(before := draw(*shape) + 1)
    case = together(layer, draw(*shape) - 0.5)
    layer.eval()
    return {
        "before": before,
        **case,
        "gamma": layer.weight,
        "beta": layer.bias,
        "grad_gamma": layer.weight.grad,
        "grad_beta": layer.bias.grad,
        "mean": layer.running_mean,
        "variance": layer.running_var,
        "inference": layer(case["x"]),
    }


def together(function: Any, x: Tensor) -> dict[str, Any]:
    """Return x, y, and a dL/dy with its dL/dx."""
    x.requires_grad_()
    y = function(x)
    dy = draw(*y.shape)
    y.backward(dy)
    return {"x": x, "y": y, "dy": dy, "dx": x.grad}


def prelu(*shape: int) -> dict[str, Any]:
    layer = nn.PReLU(shape[1]).double()
    layer.weight.data = torch.abs(draw(shape[1]))
    return {**together(layer, draw(*shape)), "slope": layer.weight, "grad_slope": layer.weight.grad}


def smoothed(smoothing: float) -> dict[str, Any]:
    logits, labels = draw(6, 4).requires_grad_(), torch.arange(6) % 4
    loss = nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)
    loss.backward()
    return {"smoothing": smoothing, "logits": logits, "labels": labels, "dx": logits.grad}


FEATURES, IMAGES = (6, 4), (5, 3, 2, 4)
cases = {
    "batch_norm_features": batch_norm(nn.BatchNorm1d(4, momentum=0.2, eps=1e-3), *FEATURES),
    "batch_norm_images": batch_norm(nn.BatchNorm2d(3), *IMAGES),
    "elu": together(nn.ELU(), draw(*FEATURES)),
    "elu_alpha": together(nn.ELU(0.7), draw(*IMAGES)),
    "softplus": together(nn.Softplus(threshold=1e9), 5 * draw(*FEATURES)),
    "softmax_features": together(nn.Softmax(1), draw(*FEATURES)),
    "softmax_images": together(nn.Softmax(1), draw(*IMAGES)),
    "leaky_relu": together(nn.LeakyReLU(0.1), draw(*IMAGES)),
    "prelu_features": prelu(*FEATURES),
    "prelu_images": prelu(*IMAGES),
    "label_smoothing": smoothed(0.1),
}
plain = {
    name: {key: value.tolist() if isinstance(value, Tensor) else value for key, value in case.items()}
    for name, case in cases.items()
}
assert torch.__version__.startswith("2.13.0"), torch.__version__
Path(__file__).with_suffix(".json").write_text(json.dumps(plain, indent=None) + "\n")
