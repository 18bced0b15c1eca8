"""Which parameters made the difference: between a study's best trials and all of them."""

import warnings
from collections.abc import Iterable

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Space
from hpsearch.search.zoom import outcomes, standings, within
from hpsearch.storage.records import Trial

BEST = 0.1  # the share of trials that counts as the best
FEWEST = 5  # of them at least: of fewer the densities that are compared are noise
TRIALS = 20  # at least, so that the best are never more than a quarter


def importance(spec: Spec, records: Iterable[Trial]) -> dict[str, float]:
    """Parameter → its share, most important first; shares sum to 1.

    PED-ANOVA (Watanabe, Bansal and Hutter 2023, IJCAI, https://arxiv.org/abs/2304.10255): how far the best trials'
    density along a parameter is from that of all trials, as Pearson's divergence. It asks only which trials are the
    best, so pruned ones count, by how many are ahead of them, and diverged ones come last. A parameter that is only
    sampled at some points is judged among these, weighted by how many of the best and of all they are (conditional
    PED-ANOVA, 2026, https://arxiv.org/abs/2601.20800). Confirming stages repeat the best points and are left out.

    Returns:
        Of the parameters that vary; nothing when none does, when fewer than `TRIALS` have finished, or when the best
        are no better than the rest.
    """
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import create_trial

    space, confirming = search_space(spec), {s.name for s in spec.stages if s.confirms}
    once = outcomes([[r for r in records if r.stage not in confirming and _inside(space, r)]])
    ahead = standings(spec, once)
    values = [*ahead, *((r, len(once)) for r in once if r.state == "diverged")]
    best = min(len(ahead), max(FEWEST, round(BEST * len(values))))
    if len(values) < TRIALS or best < FEWEST or values[best - 1][1] == values[-1][1]:
        return {}
    varied = [
        a for a in space.axes if len({r.internal_params[a.key] for r, _ in values if a.key in r.internal_params}) > 1
    ]
    if not varied:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, every = optuna.create_study(), space.distributions(space.full_box())
    for r, value in values:
        params = {key: r.internal_params[key] for key in every if key in r.internal_params}
        study.add_trial(create_trial(value=value, params=params, distributions={key: every[key] for key in params}))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=(best - 0.5) / len(values))  # rounded up to `best` trials
    with warnings.catch_warnings():  # that a parameter is at one point only: its share is then nearly 0
        warnings.simplefilter("ignore", UserWarning)
        found = get_param_importances(study, evaluator=evaluator, params=[a.key for a in varied])
    names = {a.key: a.name for a in varied}
    return {names[key]: float(share) for key, share in found.items()}


def _inside(space: Space, record: Trial) -> bool:
    """Whether a point lies in the ranges as they are now: a study file may change while its study is under way."""
    names = (a for a in space.axes if not a.zoomable and a.key in record.internal_params)
    return within(space, space.full_box(), record) and all(record.internal_params[a.key] in a.choices for a in names)
