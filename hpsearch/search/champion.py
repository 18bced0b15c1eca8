"""The champion, and the trials whose weights are kept."""

from collections.abc import Sequence

from hpsearch.config.spec import Spec
from hpsearch.search.confirm import find_winner
from hpsearch.search.ensemble import ensemble_candidates
from hpsearch.storage.records import Trial, TrialKey, best_of


def find_champion(spec: Spec, trials: Sequence[Sequence[Trial]]) -> Trial | None:
    """Return the best complete trial so far or, once the confirming stage has ended, the best trial of its winner.

    Args:
        trials: all trials of each stage that has begun.

    Returns:
        None when no trial is complete.
    """
    stages = spec.stage_names
    confirming = spec.stages[-1].confirms and len(trials) == len(stages)
    winner = find_winner(spec, trials[-1]) if confirming else None
    if winner is not None:
        return winner
    searching = trials[: len(trials) - confirming]
    return best_of((t for stage in searching for t in stage), spec.metric.sign, stages)


def weights_to_keep(spec: Spec, trials: Sequence[Sequence[Trial]]) -> set[TrialKey]:
    """Return the trials whose weights are kept: the champion, the candidates for an ensemble and, in a confirming
    stage, the best trial of each point.

    If seeds are added to a confirming stage later, another of its points may win.

    Args:
        trials: all trials of each stage that has begun; the last of them is running.
    """
    stage, confirming = spec.stages[len(trials) - 1], trials[-1]
    kept = [find_champion(spec, trials), *ensemble_candidates(spec, trials)]
    if stage.confirms:
        points = len(confirming) // stage.seeds
        names = spec.stage_names
        kept += [best_of(confirming[index::points], spec.metric.sign, names) for index in range(points)]
    return {t.key for t in kept if t}


def with_test_scores(champion: Trial, scores: dict[str, float] | None) -> Trial:
    """Return the champion with its test scores among its metrics."""
    return champion._replace(metrics={**champion.metrics, **scores}) if scores else champion
