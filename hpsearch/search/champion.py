"""The champion: which trial it is, and whose weights are worth keeping."""

from collections.abc import Sequence

from hpsearch.config.spec import Spec
from hpsearch.search.confirm import find_winner
from hpsearch.storage.records import Trial, TrialKey, best_of


def find_champion(spec: Spec, trials: Sequence[Sequence[Trial]]) -> Trial | None:
    """Return the best complete trial so far, or, once the last stage has confirmed, the best trial of the winner.

    Args:
        trials: all trials of each stage that has begun.

    Returns:
        None when no trial is complete.
    """
    stages = [s.name for s in spec.stages]
    confirming = spec.stages[-1].confirms and len(trials) == len(stages)
    found = find_winner(spec, trials[-1]) if confirming else None
    if found is not None:
        return found
    searching = trials[: len(trials) - confirming]
    return best_of((t for each in searching for t in each), spec.metric.sign, stages)


def weights_to_keep(spec: Spec, trials: Sequence[Sequence[Trial]]) -> set[TrialKey]:
    """Return the trials whose weights are kept: the champion, and, in a confirming stage, the best trial of each point.

    More seeds may be added to a confirming stage later, and then another of its points may win.

    Args:
        trials: all trials of each stage that has begun; the last of them is running.
    """
    stage, confirming = spec.stages[len(trials) - 1], trials[-1]
    kept = [find_champion(spec, trials)]
    if stage.confirms:
        points = len(confirming) // stage.seeds
        names = [s.name for s in spec.stages]
        kept += [best_of(confirming[place::points], spec.metric.sign, names) for place in range(points)]
    return {t.key for t in kept if t}


def with_test_scores(champion: Trial, scores: dict[str, float] | None) -> Trial:
    """Return the champion with its test scores among its metrics."""
    return champion._replace(metrics={**champion.metrics, **scores}) if scores else champion
