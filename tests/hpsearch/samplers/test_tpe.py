"""The tree-structured Parzen estimator."""

import optuna
from optuna.trial import FrozenTrial
from sampler_cases import asked, complete, context, frozen, searched


def known(count: int, *, best_first: bool) -> list[FrozenTrial]:
    """Return finished trials of earlier stages at the same points, with values in one of two orders."""
    points = [params for params, _ in searched("random", lambda n, p: complete(0.0), count)]
    return [frozen(p, complete(float(n if best_first else -n))) for n, p in enumerate(points)]


def proposals(trials: list[FrozenTrial], number: int = 0) -> dict[str, object]:
    memory = optuna.create_study()
    memory.add_trials(trials)
    return asked(memory, "tpe", context(number, known=len(trials)))


def test_random_until_ten_trials_have_finished() -> None:
    """Values have no effect before, and an effect from then on; trials of earlier stages count."""
    assert proposals(known(9, best_first=True)) == proposals(known(9, best_first=False)) == proposals([])
    assert proposals(known(10, best_first=True)) != proposals(known(10, best_first=False))


def test_seed_of_the_trial() -> None:
    trials = known(12, best_first=True)
    assert proposals(trials) == proposals(trials) != proposals(trials, number=1)
