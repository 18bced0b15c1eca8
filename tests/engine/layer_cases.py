"""Networks with every layer of the menu in them, at least one each: the layers' contracts run over these."""

from engine.activations import ACTIVATIONS
from engine.initializers import XavierNormal
from engine.layers import Dense, Dropout, Layer
from engine.losses import SoftmaxCrossEntropy
from engine.network import Network

XAVIER, TANH, CLASSES = XavierNormal(), ACTIVATIONS["tanh"](), 3


def of_features(*layers: Layer) -> Network:
    """Between two dense layers, behind a tanh, on rows of 5."""
    return Network((5,), (Dense(6, XAVIER), TANH, *layers, Dense(CLASSES, XAVIER)), SoftmaxCrossEntropy())


LAYER_CASES: dict[str, tuple[Network, ...]] = {
    "dense": (of_features(Dense(4, XAVIER)),),
    "dropout": (of_features(Dropout(0.4)),),
}
