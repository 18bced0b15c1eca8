"""Parameter importance: how much each parameter separates a study's best trials from all trials."""

import warnings
from collections.abc import Iterable

from hpsearch.config.spec import Spec
from hpsearch.core.space import Space
from hpsearch.search.earlier import distinct_outcomes, in_box
from hpsearch.search.ranking import rank_trials
from hpsearch.storage.records import Trial

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
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import create_trial

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
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, distributions = optuna.create_study(), space.distributions(space.full_box())
    for trial, rank in ranks:
        params = {key: trial.internal_params[key] for key in distributions if key in trial.internal_params}
        of_params = {key: distributions[key] for key in params}
        study.add_trial(create_trial(value=rank, params=params, distributions=of_params))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=(best - 0.5) / len(ranks))  # rounded up to `best` trials
    with warnings.catch_warnings():  # a parameter with a single value among the best: its importance is nearly 0
        warnings.simplefilter("ignore", UserWarning)
        values = get_param_importances(study, evaluator=evaluator, params=[a.key for a in varied])
    names = {a.key: a.name for a in varied}
    return {names[key]: float(value) for key, value in values.items()}


def _in_space(space: Space, trial: Trial) -> bool:
    """Return whether a trial's point lies in the current ranges, which may have changed since the trial."""
    categorical = (a for a in space.axes if not a.zoomable and a.key in trial.internal_params)
    return in_box(space, space.full_box(), trial) and all(
        trial.internal_params[a.key] in a.choices for a in categorical
    )
