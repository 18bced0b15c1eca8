"""Parameter importance: how much each parameter separates a study's best trials from all trials."""

import warnings
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any

from hpsearch.config.spec import Spec
from hpsearch.core.loggers import quiet_logger
from hpsearch.core.space import Space
from hpsearch.search.earlier import distinct_outcomes, in_box
from hpsearch.search.ranking import rank_trials
from hpsearch.storage.records import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

BEST_SHARE = 0.1  # share of trials that count as the best
MIN_BEST = 5  # minimum number of best trials; densities of fewer are noise
MIN_TRIALS = 20  # minimum number of finished trials, so that the best are at most a quarter


def importance(spec: Spec, space: Space, trials: Iterable[Trial]) -> dict[str, float]:
    """Return parameter → importance, most important first; the values sum to 1.

    PED-ANOVA (Watanabe, Bansal and Hutter 2023, IJCAI, https://arxiv.org/abs/2304.10255): Pearson's divergence of the
    best trials' density along a parameter from the density of all trials. Only the ranks of trials matter; pruned
    trials are ranked too, and diverged trials are last. A conditional parameter is evaluated among the trials that
    have it, weighted by its shares of the best and of all trials (conditional PED-ANOVA, 2026,
    https://arxiv.org/abs/2601.20800). Confirming stages repeat the best points and are left out.

    Args:
        space: the search space of `spec`.

    Returns:
        The importance of each parameter that varies. Empty when none varies, when fewer than `MIN_TRIALS` trials have
        finished, and when the best trials are no better than the others.
    """
    confirming = {s.name for s in spec.stages if s.confirms}
    distinct = distinct_outcomes([[t for t in trials if t.stage not in confirming and _in_space(space, t)]])
    ranking = rank_trials(spec, distinct)
    ranks = [*ranking, *((t, len(distinct)) for t in distinct if t.state == "diverged")]
    best = min(len(ranking), max(MIN_BEST, round(BEST_SHARE * len(ranks))))
    if len(ranks) < MIN_TRIALS or best < MIN_BEST or ranks[best - 1][1] == ranks[-1][1]:
        return {}
    points = [t.internal_params for t, _ in ranks]
    varied = [a for a in space.axes if len({p[a.key] for p in points if a.key in p}) > 1]
    if not varied:
        return {}
    cutoff, distributions = ranks[best - 1][1], space.distributions(space.full_box())
    groups: dict[tuple[bool, ...], list[str]] = {}  # parameters that the same trials have
    for axis in varied:
        groups.setdefault(tuple(axis.key in p for p in points), []).append(axis.key)
    values: dict[str, float] = {}
    for having, keys in groups.items():
        group = list(compress(ranks, having))
        divergences = _divergences({key: distributions[key] for key in keys}, group, cutoff)
        values |= {key: len(group) / len(ranks) * value for key, value in divergences.items()}
    total = sum(values.values())
    shares = {a.name: values[a.key] / total if total else 1 / len(varied) for a in varied}
    return dict(sorted(shares.items(), key=lambda share: -share[1]))


def _divergences(
    distributions: "dict[str, BaseDistribution]", ranks: Sequence[tuple[Trial, float]], cutoff: float
) -> dict[str, float]:
    """Return Pearson's divergence for each parameter, times the squared share of the best trials.

    Args:
        distributions: of parameters that all trials have.
        cutoff: the last rank of the best trials.
    """
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    best = sum(rank <= cutoff for _, rank in ranks)
    if not best or len(ranks) < 2:
        return dict.fromkeys(distributions, 0.0)
    quantile, factor = (best - 0.5) / len(ranks), 1.0  # rounded up to `best` trials
    with quiet_logger("optuna"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the best trials are few, or share one value: their importance is nearly 0
        study = optuna.create_study()
        for trial, rank in ranks:
            params = {key: trial.internal_params[key] for key in distributions}
            study.add_trial(optuna.trial.create_trial(value=rank, params=params, distributions=distributions))
        try:
            evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
        except TypeError:  # Optuna before 4.7, which does not square the share
            earlier: Any = PedAnovaImportanceEvaluator
            evaluator, factor = earlier(baseline_quantile=quantile), best / len(ranks)
        values = get_param_importances(study, evaluator=evaluator, params=list(distributions), normalize=False)
    return {key: factor * float(value) for key, value in values.items()}


def _in_space(space: Space, trial: Trial) -> bool:
    """Return whether a trial's point lies in the current ranges, which may have changed since the trial."""
    categorical = (a for a in space.axes if not a.zoomable and a.key in trial.internal_params)
    return in_box(space, space.full_box(), trial) and all(
        trial.internal_params[a.key] in a.choices for a in categorical
    )
