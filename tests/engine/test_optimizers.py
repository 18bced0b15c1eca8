"""Optimizers against PyTorch, on a function with hills, 25 steps, float64.

The references are what PyTorch 2.13.0 gives after steps 5, 10, …, 25 for

    torch.set_default_dtype(torch.float64)
    w = torch.tensor([-0.5, 0.8, 0.3], requires_grad=True)
    o = torch.optim.SGD([w], lr=0.02)                                         # "sgd"
    o = torch.optim.SGD([w], lr=0.02, momentum=0.9)                           # "momentum"
    o = torch.optim.Adam([w], lr=0.05, betas=(0.9, 0.999), eps=1e-8)          # "adam"
    for _ in range(25):
        f = (1 - w[0])**2 + 2*(w[1] - w[0]**2)**2 + torch.sin(3*w[0])*torch.cos(2*w[2]) + 0.1*w[2]**2
        o.zero_grad(); f.backward(); o.step()
"""

import numpy as np
import pytest
from engine_cases import varied

from engine.optimizers import OPTIMIZERS, SGD, Adam, Matrices, Momentum, Optimizer

START = (-0.5, 0.8, 0.3)
REFERENCES: dict[str, tuple[Optimizer, float, list[tuple[float, float, float]]]] = {
    "sgd": (
        SGD(),
        0.02,
        [
            (-0.43194454042043906, 0.6030774389290596, 0.19825224908721312),
            (-0.37046771739419654, 0.4532401705489574, 0.13243176454411795),
            (-0.324378454622074, 0.34037541822154466, 0.09073858010868716),
            (-0.2911424791693189, 0.2569302054260637, 0.06385519326839041),
            (-0.26744409805109015, 0.19612113675389342, 0.04597431637489793),
        ],
    ),
    "momentum": (
        Momentum(0.9, classical=True),
        0.02,
        [
            (-0.3222004877172788, 0.29553421618266457, 0.042196241237460325),
            (-0.07430488450762268, -0.2668161303314355, -0.18961759734810263),
            (-0.06696104740249123, -0.21425609741603388, -0.24866700253774887),
            (-0.19348708053970437, 0.12356678429488444, -0.17550513123062847),
            (-0.2918741848538128, 0.21034974076211485, 0.009962314000925093),
        ],
    ),
    "adam": (
        Adam(0.9, 0.999, 1e-8),
        0.05,
        [
            (-0.3187914732453495, 0.5505356257249315, 0.060883546366451186),
            (-0.3042003282294937, 0.3124380032769643, -0.09314859697636611),
            (-0.2055744034710347, 0.11113003160280945, -0.10872811111939025),
            (-0.18125913850356687, -0.03214434981308155, -0.05268007438962534),
            (-0.19836313047585827, -0.09716999122298568, 0.010832092556538588),
        ],
    ),
}


def slope(w: np.ndarray) -> np.ndarray:
    """∇f, `(trials, 3)`, by hand."""
    x, y, z = w.T
    bowl = 4 * (y - x**2)
    return np.stack(
        [
            -2 * (1 - x) - 2 * x * bowl + 3 * np.cos(3 * x) * np.cos(2 * z),
            bowl,
            -2 * np.sin(3 * x) * np.sin(2 * z) + 0.2 * z,
        ],
        axis=1,
    )


def descend(optimizers: list[Optimizer], rates: list[float], steps: int = 25) -> np.ndarray:
    """Where each trial is after 5, 10, … steps, `(steps / 5, trials, 3)`."""
    theta = np.tile(np.array(START), (len(optimizers), 1))
    grad, scratch = np.empty_like(theta), np.empty_like(theta)
    kind = type(optimizers[0])
    matrices = Matrices(theta, grad, {name: np.zeros_like(theta) for name in kind.slots}, scratch)
    update = kind.bind(optimizers, rates, matrices)
    path = []
    for step in range(1, steps + 1):
        grad[:] = slope(theta)
        update(step)
        path.append(theta.copy())
    return np.array(path[4::5])


def test_every_optimizer_has_a_reference() -> None:
    assert REFERENCES.keys() == OPTIMIZERS.keys()


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("company", [0, 2])
def test_path_is_the_references(name: str, company: int) -> None:
    optimizer, rate, reference = REFERENCES[name]
    others = [varied(optimizer, 5 + k) for k in range(company)]
    path = descend([optimizer, *others], [rate, *(rate / 2 for _ in others)])
    np.testing.assert_allclose(path[:, 0], reference, rtol=0, atol=1e-9)


def test_momentum_is_an_average_unless_classical() -> None:
    """v = βv + (1−β)g with α walks the path of v = βv + g with α(1−β)."""
    average = descend([Momentum(0.9)], [0.2])
    np.testing.assert_allclose(average[:, 0], REFERENCES["momentum"][2], rtol=0, atol=1e-9)
    assert not Momentum().classical and Momentum().beta == 0.9


def test_trials_keep_their_own_numbers() -> None:
    betas, rates = [0.5, 0.9, 0.99], [0.3, 0.1, 0.02]
    together = descend([Momentum(b) for b in betas], rates)
    for k, (beta, rate) in enumerate(zip(betas, rates, strict=True)):
        np.testing.assert_array_equal(together[:, k], descend([Momentum(beta)], [rate])[:, 0])
    mixed = descend([Momentum(0.9, classical=True), Momentum(0.9)], [0.02, 0.2])
    np.testing.assert_allclose(mixed[:, 0], mixed[:, 1], rtol=0, atol=1e-12)


def test_first_steps_by_hand() -> None:
    """After one step: SGD αg, momentum α(1−β)g, Adam α·sign(g)."""
    g = slope(np.array([START]))
    for optimizer, rate, expected in (
        (SGD(), 0.1, 0.1 * g),
        (Momentum(0.8), 0.1, 0.02 * g),
        (Momentum(0.8, classical=True), 0.1, 0.1 * g),
        (Adam(), 0.1, 0.1 * np.sign(g)),
    ):
        theta = np.array([START])
        slots = {name: np.zeros_like(theta) for name in optimizer.slots}
        type(optimizer).bind([optimizer], [rate], Matrices(theta, g.copy(), slots, np.empty_like(theta)))(1)
        np.testing.assert_allclose(theta, np.array([START]) - expected, rtol=1e-7)
