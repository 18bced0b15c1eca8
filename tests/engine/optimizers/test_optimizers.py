"""Optimizers against PyTorch, on a function with hills, 50 steps, float64; and the contract of the registry.

The references are what PyTorch 2.13.0 gives after steps 10, 20, …, 50 for

    torch.set_default_dtype(torch.float64)
    w = torch.tensor([-0.5, 0.8, 0.3], requires_grad=True)
    o = torch.optim.SGD([w], lr=0.02)                                                           # "sgd"
    o = torch.optim.SGD([w], lr=0.02, momentum=0.9)                                             # "momentum"
    o = torch.optim.SGD([w], lr=0.02, momentum=0.9, nesterov=True)                              # "nesterov"
    o = torch.optim.Adagrad([w], lr=0.05, eps=0.1)                                              # "adagrad"
    o = torch.optim.Adadelta([w], lr=1, rho=0.9, eps=1e-3)                                      # "adadelta"
    o = torch.optim.RMSprop([w], lr=0.02, alpha=0.9, eps=0.1)                                   # "rmsprop"
    o = torch.optim.Adam([w], lr=0.05, betas=(0.9, 0.999), eps=1e-8)                            # "adam"
    o = torch.optim.AdamW([w], lr=0.05, betas=(0.8, 0.99), eps=0.1, weight_decay=0.5)           # "adamw"
    for i in range(50):
        f = (1 - w[0])**2 + 2*(w[1] - w[0]**2)**2 + torch.sin(3*w[0])*torch.cos(2*w[2]) + 0.1*w[2]**2
        o.zero_grad(); f.backward(); o.step()

The falling ones have a rate of 0.02 / (1 + 0.5·⌊i/5⌋) in step i: `o.param_groups[0]["lr"]` is set before the step.
With the rate inside they are scikit-learn 1.9.1's, as PyTorch has no such form: p = [w.detach().numpy()],
o = sklearn.neural_network._stochastic_optimizers.SGDOptimizer(p, 0.02, momentum=0.9, nesterov=False or True), and in
each step `o.learning_rate` set, `w.grad = None; f.backward(); o.update_params(p, [w.grad.numpy()])`.
"""

from typing import Any

import numpy as np
import pytest
from engine_cases import F32, F64, varied

from engine.optimizers import (
    OPTIMIZERS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Matrices,
    Momentum,
    Nesterov,
    Optimizer,
    RMSprop,
)
from engine.types import EngineError

pytestmark = pytest.mark.usefixtures("kernel")

START = (-0.5, 0.8, 0.3)
Reference = tuple[Optimizer, float, list[tuple[float, float, float]]]
REFERENCES: dict[str, Reference] = {
    "sgd": (
        SGD(),
        0.02,
        [
            (-0.37046771739419654, 0.4532401705489574, 0.13243176454411795),
            (-0.2911424791693189, 0.2569302054260637, 0.06385519326839041),
            (-0.25064165796339494, 0.15225782209738709, 0.033698057466006605),
            (-0.23040864203840608, 0.09846029894730698, 0.01878049950417967),
            (-0.22038256707728066, 0.07131357466625818, 0.010775174936526728),
        ],
    ),
    "momentum": (
        Momentum(0.9, classical=True),
        0.02,
        [
            (-0.07430488450762268, -0.2668161303314355, -0.18961759734810263),
            (-0.19348708053970437, 0.12356678429488444, -0.17550513123062847),
            (-0.22502570924079648, 0.0768023216355226, 0.10640126328859303),
            (-0.20187279375015135, -0.01617290229610564, -0.01250310303032397),
            (-0.21488706148419248, 0.09422326848282066, -0.018927308186752468),
        ],
    ),
    "nesterov": (
        Nesterov(0.9, classical=True),
        0.02,
        [
            (-0.10735215089454281, -0.20090727364633443, -0.14258297183005925),
            (-0.22313069651593792, 0.08821842818425793, -0.04715806317825809),
            (-0.21233120758235, 0.05687178621940117, 0.0409279895751968),
            (-0.2057490231488434, 0.028530234861338623, -0.014046799002124454),
            (-0.2137688007675162, 0.05325489906871932, -0.0006597486728757509),
        ],
    ),
    "adagrad": (
        Adagrad(0.1),
        0.05,
        [
            (-0.3612836253373485, 0.5655932967782105, 0.10925224412840101),
            (-0.3249948458100535, 0.4588598987224907, 0.05334103339272687),
            (-0.3012341758952507, 0.3843632986154697, 0.027648165049881452),
            (-0.283807737285468, 0.3272554041850025, 0.014828153093715105),
            (-0.2704640279767117, 0.28160798733221376, 0.008152186452661919),
        ],
    ),
    "adadelta": (
        Adadelta(0.9, 1e-3),
        1.0,
        [
            (-0.24917724310942246, 0.13846845929861154, 0.0014650751543086962),
            (-0.26506810421095683, 0.04596922087136626, 4.340030627850814e-06),
            (-0.27429996383762273, 0.03743902033111042, 1.3535659543708026e-10),
            (-0.2812829087606161, 0.031230080168421957, 3.809070077156353e-17),
            (-0.28620623990260097, 0.022221242001885765, -3.5271165262214224e-21),
        ],
    ),
    "rmsprop": (
        RMSprop(0.9, 0.1),
        0.02,
        [
            (-0.3419818443409686, 0.5004959397591502, 0.07854060497301878),
            (-0.28774069268167723, 0.3335956245551673, 0.01801411984250068),
            (-0.2512723283474661, 0.20704067537120438, 0.002477118573877798),
            (-0.2279598642026832, 0.1165962552383882, 0.00017730432360473538),
            (-0.21564281571154612, 0.06549923798466298, 5.9727121221174e-06),
        ],
    ),
    "adam": (
        Adam(0.9, 0.999, 1e-8),
        0.05,
        [
            (-0.3042003282294937, 0.3124380032769643, -0.09314859697636611),
            (-0.18125913850356687, -0.03214434981308155, -0.05268007438962534),
            (-0.16897835686743462, -0.08822707437404488, 0.043981766860620386),
            (-0.20798908544374506, 0.02417888183213144, 0.008936449021954559),
            (-0.22518000650057332, 0.08801821039690047, -0.018317118475121345),
        ],
    ),
    "adamw": (
        AdamW(0.8, 0.99, 0.1, 0.5),
        0.05,
        [
            (-0.26637622586196463, 0.2260058988159286, -0.04770135605984112),
            (-0.2001939841427133, 0.00013176024831364815, -0.008752725689846386),
            (-0.20258226685445588, 0.021035053213902095, 0.006814306806823258),
            (-0.20792269048119752, 0.04377057315008993, -0.002094505987491816),
            (-0.20698179068600764, 0.039259915211965174, 0.0005002775642517564),
        ],
    ),
}
FALLING: dict[str, Reference] = {
    "momentum": (
        Momentum(0.9, classical=True),
        0.02,
        [
            (-0.1419926744341034, -0.11400417667128313, -0.1202001492628617),
            (-0.13598692012246905, -0.11182617935579123, -0.13230238124804797),
            (-0.2210404997259097, 0.07414634843973883, -0.046736078087057216),
            (-0.23362933609146697, 0.10058555483201229, 0.010171743850377314),
            (-0.21783068966256516, 0.0666224735795314, 0.020548486052768586),
        ],
    ),
    "nesterov": (
        Nesterov(0.9, classical=True),
        0.02,
        [
            (-0.1488725225840577, -0.10203566678831548, -0.0971481248675729),
            (-0.16859951595364792, -0.0551330796675335, -0.08141589791387692),
            (-0.21821313125695432, 0.06382491884316706, -0.01710734408678897),
            (-0.2225184543028013, 0.07567104587571714, 0.01035808466891717),
            (-0.21456258011597423, 0.05617004873199111, 0.011443654899281092),
        ],
    ),
    "momentum, rate inside": (
        Momentum(0.9, classical=True, rate_inside=True),
        0.02,
        [
            (-0.08424515417162931, -0.25544562326072967, -0.19462121954724876),
            (-0.04178625336701956, -0.18976788636914935, -0.32560393286709177),
            (-0.14728517984987907, 0.14764349349301736, -0.25950531086208606),
            (-0.2404125736792893, 0.13394566729949559, -0.08903404096561843),
            (-0.24175397584543515, 0.05339860717212299, 0.030446546985605685),
        ],
    ),
    "nesterov, rate inside": (
        Nesterov(0.9, classical=True, rate_inside=True),
        0.02,
        [
            (-0.10515746191390596, -0.20720314833438613, -0.1528172509209407),
            (-0.11929437718060384, -0.11646757262820356, -0.19324593921263108),
            (-0.2199844570677251, 0.10075981596477332, -0.07848417576483632),
            (-0.24404427983512797, 0.11366083581498869, 0.015386875204082415),
            (-0.21920463107627436, 0.06746381311865589, 0.03572422704361993),
        ],
    ),
}
# Every optimizer with its defaults, and the other forms of those that have one.
FORMS: dict[str, Optimizer] = {name: kind() for name, kind in OPTIMIZERS.items()} | {
    f"{name}, {form}": OPTIMIZERS[name](classical=True, rate_inside=form == "rate inside")  # type: ignore[call-arg]
    for name in ("momentum", "nesterov")
    for form in ("classical", "rate inside")
}


def slope(w: np.ndarray) -> np.ndarray:
    """Return ∇f, `(trials, 3)`, derived by hand."""
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


def memory(optimizer: Optimizer, theta: np.ndarray, regularized: Any = True) -> Matrices:
    """Return the optimizer state before the first step."""
    return Matrices(
        theta,
        np.full_like(theta, np.nan),
        {name: np.zeros_like(theta) for name in optimizer.slots},
        np.full_like(theta, np.nan),
        np.broadcast_to(regularized, theta.shape[1:]),
    )


def descend(
    optimizers: list[Optimizer], rates: list[float], fall: float = 0.0, epoch: int = 5, steps: int = 50
) -> np.ndarray:
    """Return the trials after each step, `(steps, trials, 3)`; bound again every few steps, at falling rates."""
    theta = np.tile(np.array(START), (len(optimizers), 1))
    matrices = memory(optimizers[0], theta)
    path = []
    for step in range(steps):
        if step % epoch == 0:
            now = [rate / (1 + fall * (step // epoch)) for rate in rates]
            update = type(optimizers[0]).bind(optimizers, now, matrices)
        matrices.scratch[:] = np.nan  # it has no state
        matrices.grad[:] = slope(theta)
        update(step + 1)
        path.append(theta.copy())
    return np.array(path)


def test_every_optimizer_has_a_reference() -> None:
    assert REFERENCES.keys() == OPTIMIZERS.keys()
    assert all(type(REFERENCES[name][0]) is kind for name, kind in OPTIMIZERS.items())


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("peers", [0, 2])
def test_path_equals_the_reference(name: str, peers: int) -> None:
    optimizer, rate, reference = REFERENCES[name]
    others = [varied(optimizer, 5 + k) for k in range(peers)]
    path = descend([optimizer, *others], [rate, *(rate / 2 for _ in others)])
    np.testing.assert_allclose(path[9::10, 0], reference, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", FALLING)
def test_path_at_falling_rates_equals_the_reference(name: str) -> None:
    optimizer, rate, reference = FALLING[name]
    path = descend([optimizer], [rate], fall=0.5)
    np.testing.assert_allclose(path[9::10, 0], reference, rtol=0, atol=1e-9)


@pytest.mark.parametrize("references", [REFERENCES, FALLING], ids=["constant", "falling"])
@pytest.mark.parametrize("kind", [Momentum, Nesterov])
def test_momentum_is_an_average_or_classical(kind: type[Momentum | Nesterov], references: dict[str, Any]) -> None:
    """v = βv + (1−β)g with α has the path of v = βv + g with α(1−β)."""
    average = descend([kind(0.9)], [0.2], fall=0.5 if references is FALLING else 0.0)
    np.testing.assert_allclose(average[9::10, 0], references[kind.__name__.lower()][2], rtol=0, atol=1e-9)
    assert not kind().classical and not kind().rate_inside and kind().beta == 0.9


@pytest.mark.parametrize("kind", [Momentum, Nesterov])
def test_rate_inside_changes_the_path_only_when_the_rate_changes(kind: type[Momentum | Nesterov]) -> None:
    inside = descend([kind(0.9, classical=True, rate_inside=True)], [0.02])
    np.testing.assert_allclose(inside[9::10, 0], REFERENCES[kind.__name__.lower()][2], rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", [Momentum, Nesterov])
def test_trials_do_not_affect_each_other(kind: type[Momentum | Nesterov]) -> None:
    betas, rates = [0.5, 0.9, 0.99], [0.3, 0.1, 0.02]
    trials: list[Optimizer] = [kind(beta) for beta in betas]
    trials += [kind(beta, classical=True) for beta in betas]
    trials += [kind(beta, classical=True, rate_inside=True) for beta in betas]
    together = descend(trials, rates * 3, fall=0.5)
    for k, trial in enumerate(trials):
        np.testing.assert_array_equal(together[:, k], descend([trial], [rates[k % 3]], fall=0.5)[:, 0])


def test_first_steps_by_hand() -> None:
    """SGD αg, momentum α(1−β)g, Nesterov α(1−β)(1+β)g, AdaGrad and Adam α·sign(g), RMSProp α·sign(g)/√(1−β), …"""
    w = np.array([START])
    g = slope(w)
    for optimizer, expected in (
        (SGD(), 0.1 * g),
        (Momentum(0.8), 0.02 * g),
        (Momentum(0.8, classical=True), 0.1 * g),
        (Momentum(0.8, classical=True, rate_inside=True), 0.1 * g),
        (Nesterov(0.8), 0.036 * g),
        (Nesterov(0.8, classical=True), 0.18 * g),
        (Nesterov(0.8, classical=True, rate_inside=True), 0.18 * g),
        (Adagrad(), 0.1 * np.sign(g)),
        (Adadelta(0.8, 1e-16), np.sqrt(5e-16) * np.sign(g)),
        (RMSprop(0.75), 0.2 * np.sign(g)),
        (Adam(), 0.1 * np.sign(g)),
        (AdamW(weight_decay=0.3), 0.1 * np.sign(g) + 0.03 * w),
    ):
        theta = w.copy()
        matrices = memory(optimizer, theta)
        matrices.grad[:] = g
        type(optimizer).bind([optimizer], [0.1], matrices)(1)
        np.testing.assert_allclose(w - theta, expected, rtol=1e-6, err_msg=str(optimizer))


def test_adadelta_ignores_the_learning_rate() -> None:
    np.testing.assert_array_equal(descend([Adadelta()], [1e-9], fall=3.0), descend([Adadelta()], [10.0]))


@pytest.mark.parametrize("name", FORMS)
def test_binding_again_changes_nothing(name: str) -> None:
    np.testing.assert_array_equal(descend([FORMS[name]], [0.05], epoch=1), descend([FORMS[name]], [0.05], epoch=50))


@pytest.mark.parametrize("name", [name for name in FORMS if "inside" not in name])
def test_slots_do_not_depend_on_the_learning_rate(name: str) -> None:
    """They are equal after the same gradients."""
    gradients = np.random.default_rng(0).standard_normal((20, 1, 3))
    held = []
    for fall in (0.0, 0.5):
        matrices = memory(FORMS[name], np.zeros((1, 3)))
        for step, gradient in enumerate(gradients):
            matrices.grad[:] = gradient
            type(FORMS[name]).bind([FORMS[name]], [0.3 / (1 + fall * step)], matrices)(step + 1)
        held.append(matrices.slots)
    for slot in FORMS[name].slots:
        assert held[0][slot].all()
        np.testing.assert_array_equal(held[0][slot], held[1][slot])


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("trials", [1, 3])
@pytest.mark.parametrize("name", FORMS)
def test_values_without_a_gradient_do_not_change(name: str, trials: int, dtype: np.dtype[Any]) -> None:
    """Running statistics are part of theta: not regularized, with a gradient of 0."""
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((trials, 8)).astype(dtype)
    begin = theta.copy()
    learns = np.array([True, True, False, True, False, True, True, False])
    matrices = memory(FORMS[name], theta, regularized=[True, False, False, True, False, False, True, False])
    for epoch in range(5):
        update = type(FORMS[name]).bind([varied(FORMS[name], k) for k in range(trials)], [0.01] * trials, matrices)
        for step in range(10):
            matrices.grad[:] = np.where(learns, rng.standard_normal(theta.shape), 0)
            update(10 * epoch + step + 1)
    np.testing.assert_array_equal(theta[:, ~learns], begin[:, ~learns])
    assert (theta[:, learns] != begin[:, learns]).all()


def test_adamw_decays_regularized_weights_only() -> None:
    """Without a gradient w is (1 − αλ)ⁿ w₀ after n steps."""
    theta = np.array([[1.0, -2.0, 3.0, 4.0]] * 2)
    matrices = memory(AdamW(), theta, regularized=[True, False, True, False])
    update = AdamW.bind([AdamW(weight_decay=0.5), AdamW(weight_decay=0.0)], [0.2, 0.1], matrices)
    for step in (1, 2, 3):
        matrices.grad[:] = 0
        update(step)
    np.testing.assert_allclose(theta, [[0.729, -2, 3 * 0.729, 4], [1, -2, 3, 4]], rtol=1e-15)


def test_adamw_without_decay_is_adam() -> None:
    np.testing.assert_array_equal(descend([AdamW(weight_decay=0)], [0.05]), descend([Adam()], [0.05]))


@pytest.mark.parametrize(
    ("name", "field", "values", "must"),
    [
        *((name, "beta", (-0.1, 1.0), "at least 0 and below 1") for name in ("momentum", "nesterov", "rmsprop")),
        *(
            (name, beta, (-0.1, 1.0), "at least 0 and below 1")
            for name in ("adam", "adamw")
            for beta in ("beta1", "beta2")
        ),
        ("adadelta", "rho", (-0.1, 1.0), "at least 0 and below 1"),
        *((name, "epsilon", (-1e-9, 0.0), "above 0") for name in ("adagrad", "adadelta", "rmsprop", "adam", "adamw")),
        ("adamw", "weight_decay", (-0.1,), "at least 0"),
        *((name, "rate_inside", (True,), "False unless classical is True") for name in ("momentum", "nesterov")),
    ],
)
def test_invalid_settings(name: str, field: str, values: tuple[float, ...], must: str) -> None:
    for value in (*values, *([float("nan")] if field != "rate_inside" else [])):
        with pytest.raises(EngineError, match=f"^{name}: {field} must be {must}, got {value}$"):
            OPTIMIZERS[name](**{field: value})
