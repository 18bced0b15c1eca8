"""Parameter importance: how much each parameter separates a study's best trials from all trials."""

from collections.abc import Iterable, Sequence
from itertools import compress

from hpsearch.config.spec import Spec
from hpsearch.core.space import Axis, Space
from hpsearch.search.earlier import distinct_outcomes, in_box
from hpsearch.search.ranking import rank_trials
from hpsearch.search.statistics.ped_anova import divergence
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
    cutoff = ranks[best - 1][1]
    groups: dict[tuple[bool, ...], list[Axis]] = {}  # parameters that the same trials have
    for axis in varied:
        groups.setdefault(tuple(axis.key in p for p in points), []).append(axis)
    values: dict[str, float] = {}
    for having, axes in groups.items():
        group = list(compress(ranks, having))
        values |= {axis.name: len(group) / len(ranks) * _divergence(axis, group, cutoff) for axis in axes}
    total = sum(values.values())
    shares = {a.name: values[a.name] / total if total else 1 / len(varied) for a in varied}
    return dict(sorted(shares.items(), key=lambda share: -share[1]))


def _divergence(axis: Axis, ranks: Sequence[tuple[Trial, float]], cutoff: float) -> float:
    """Return Pearson's divergence for a parameter that all trials have, times the squared share of the best trials.

    Args:
        cutoff: the last rank of the best trials.
    """
    values = [t.internal_params[axis.key] for t, _ in ranks]
    best = [t.internal_params[axis.key] for t, rank in ranks if rank <= cutoff]
    if not best or len(ranks) < 2:
        return 0.0
    return (len(best) / len(ranks)) ** 2 * divergence(axis, best, values)


def _in_space(space: Space, trial: Trial) -> bool:
    """Return whether a trial's point lies in the current ranges, which may have changed since the trial."""
    return in_box(space, space.full_box(), trial)
