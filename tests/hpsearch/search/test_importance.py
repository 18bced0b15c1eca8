"""Parameter importance by Optuna's PED-ANOVA over all finished trials."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from cases import FULL, RICH, small
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.samplers.base import from_unit
from hpsearch.search.importance import MIN_TRIALS
from hpsearch.search.importance import importance as importance_in
from hpsearch.storage.records import Trial
from hpsearch.training.task import TrialState


def importance(spec: Spec, trials: Iterable[Trial]) -> dict[str, float]:
    return importance_in(spec, search_space(spec), trials)


def sampled(spec: Spec, count: int, seed: int = 3) -> list[Trial]:
    """Return random running trials in the whole space."""
    space, rng = search_space(spec), np.random.default_rng(seed)
    boxes = space.distributions(space.full_box())
    found = []
    for n in range(count):
        internal_params: dict[str, Any] = {}
        for axis in space.axes:
            if axis.is_active(space.point(internal_params)):
                internal_params[axis.key] = from_unit(boxes[axis.key], rng.random())
        found.append(Trial("coarse", n, internal_params, space.point(internal_params), "running"))
    return found


def complete(record: Trial, value: float) -> Trial:
    return record._replace(state="complete", value=value, history={"val/loss": [value]}, epochs=1, best_epoch=1)


def far(record: Trial) -> float:
    """Return the distance to the best learning rate in decades; no other parameter matters."""
    return abs(math.log10(float(record.internal_params["learning_rate"])) + 1.5)


def sound(shares: dict[str, float]) -> None:
    assert sum(shares.values()) == pytest.approx(1) and min(shares.values()) >= 0
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_the_most_important_parameter_is_first(goal: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever other parameters vary, without a message of Optuna, and twice the same."""
    spec = small(metric={"name": "val/loss" if goal == "minimize" else "val/accuracy", "goal": goal})
    records = [complete(r, spec.metric.sign * far(r)) for r in sampled(spec, 100)]
    records = [r._replace(history={spec.metric.monitored: [r.value or 0.0]}) for r in records]
    optuna.logging.set_verbosity(optuna.logging.INFO)
    shares = importance(spec, iter(records))
    sound(shares)
    assert next(iter(shares)) == "learning_rate" and shares["learning_rate"] > 0.8
    assert set(shares) == {"learning_rate", "beta", "hidden_units", "batch_size"}, "by the names of the file"
    assert shares == importance(spec, records)
    assert capfd.readouterr() == ("", "") and optuna.logging.get_verbosity() == optuna.logging.INFO


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # Optuna 4
def test_importance_of_complete_trials_equals_that_of_optuna() -> None:
    """Optuna computes it from the values: ranks do not change which trials are the best tenth."""
    spec = small()
    records = [complete(r, 3 * far(r) ** 2 + (r.internal_params["one_minus_beta"] > 0.1)) for r in sampled(spec, 100)]
    space = search_space(spec)
    study = optuna.create_study()
    for r in records:
        boxes = space.distributions(space.full_box())
        study.add_trial(optuna.create_trial(value=r.value, params=dict(r.internal_params), distributions=boxes))
    theirs = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    names = {a.key: a.name for a in space.axes}
    assert importance(spec, records) == pytest.approx({names[key]: share for key, share in theirs.items()})


def test_pruned_and_diverged_trials_count() -> None:
    """Most are pruned at the first epoch, or diverge at high rates: the learning rate is most important."""
    spec = small()
    records = []
    for r in sampled(spec, 60):
        r, rate = complete(r, far(r)), float(r.internal_params["learning_rate"])
        if rate > 0.3:
            r = r._replace(state="diverged", value=None, history={"val/loss": [math.inf]})
        elif far(r) > 0.4:
            r = r._replace(state="pruned")
        records.append(r)
    assert 5 <= sum(r.state == "complete" for r in records) < MIN_TRIALS
    shares = importance(spec, records)
    sound(shares)
    assert shares["learning_rate"] > 0.6
    mixed = [r._replace(state="failed", value=None) if r.state == "diverged" else r for r in records]
    assert importance(spec, mixed) != shares, "diverged trials are the worst, failed ones do not count"


def test_too_few_trials_with_a_value() -> None:
    """With values in four of sixty trials there is no importance; with five there is."""
    spec = small()
    rows = sorted(sampled(spec, 60), key=far)

    def of(sound: int) -> dict[str, float]:
        lost = [r._replace(state="diverged", epochs=1) for r in rows[sound:]]
        return importance(spec, [*(complete(r, far(r)) for r in rows[:sound]), *lost])

    assert of(4) == {}
    assert next(iter(of(5))) == "learning_rate"


@pytest.mark.parametrize("states", [["running"], ["failed"], ["running", "failed", "complete"]])
def test_too_few_trials_give_no_importance(states: Sequence[TrialState]) -> None:
    spec = small()
    rows = [complete(r, far(r)) for r in sampled(spec, 3 * MIN_TRIALS)]
    others = [r._replace(state=states[n % len(states)]) for n, r in enumerate(rows[: 3 * (MIN_TRIALS - 1)])]
    assert importance(spec, others) == {}
    assert importance(spec, rows[: MIN_TRIALS - 1]) == {} != importance(spec, rows[:MIN_TRIALS])


def test_equal_trials_and_equal_points_give_no_importance() -> None:
    spec = small()
    rows = sampled(spec, 30)
    assert importance(spec, [complete(r, 0.5) for r in rows]) == {}
    same = [complete(r._replace(internal_params=rows[0].internal_params), r.number) for r in rows]
    assert importance(spec, same) == {}
    one = [
        complete(
            r._replace(
                internal_params={**rows[0].internal_params, "learning_rate": r.internal_params["learning_rate"]}
            ),
            far(r),
        )
        for r in rows
    ]
    assert importance(spec, one) == {"learning_rate": 1.0}


def test_each_outcome_counts_once_and_confirming_trials_do_not_count() -> None:
    spec = small(**FULL)
    rows = [complete(r, far(r)) for r in sampled(spec, 40)]
    once = importance(spec, rows)
    worst = max(rows, key=far)
    taken = [worst._replace(stage="fine", number=n, copied_from=worst.label) for n in range(30)]
    again = [complete(r, -1.0)._replace(stage="confirm") for r in sampled(spec, 30, seed=4)]
    assert importance(spec, [*rows, *taken, *again]) == once != {}


def test_conditional_parameters() -> None:
    """The units of a second layer, among trials that have one: without a warning, also for a single trial."""
    spec = small(**RICH)
    rows = sampled(spec, 120)
    assert 0 < sum("more_units_index" in r.internal_params for r in rows) < len(rows)
    shares = importance(
        spec, [complete(r, 0.0 if r.internal_params.get("optimizer") == "adam" else 1 + far(r)) for r in rows]
    )
    sound(shares)
    assert "beta1" in shares and max(shares, key=lambda name: shares[name]) == "optimizer"
    few = [r for r in rows if "beta1" in r.internal_params][:1] + [r for r in rows if "beta1" not in r.internal_params]
    assert "beta1" not in importance(spec, [complete(r, far(r)) for r in few])
    assert "beta1" in importance(
        spec, [complete(r, far(r)) for r in few + [r for r in rows if "beta1" in r.internal_params][1:2]]
    )


def test_a_narrowed_range() -> None:
    """Trials outside of the current range are left out."""
    spec = small()
    rows = [complete(r, far(r)) for r in sampled(spec, 80)]
    narrow = small(**{"parameters.learning_rate": {"min": 0.01, "max": 1.0, "scale": "log"}})
    inside = [r for r in rows if 0.01 <= float(r.internal_params["learning_rate"]) <= 1.0]
    assert len(inside) < len(rows)
    assert importance(narrow, rows) == importance(narrow, inside) != {}
