"""Trials of earlier stages: each outcome counts once, and a stage uses those in its box."""

from hpsearch.search.earlier import distinct_outcomes, reusable_trials
from hpsearch.search.zoom import stage_box
from tests.hpsearch.search.test_zoom import internal_params, record, zoomed


def test_an_outcome_counts_once() -> None:
    """A trial copied by a fork is both in the parent's trials and in its stage: the zoom counts it once."""
    spec, axes = zoomed(0.5, 0.0)
    own = [
        record(axes, 0, internal_params(1e-3, 0.01, 2.0, 8, 1), 0.1)._replace(copied_from="old:coarse/0"),
        record(axes, 1, internal_params(1e-1, 0.01, 6.0, 8, 1), 0.2),
        record(axes, 2, internal_params(1e-2, 0.01, 9.0, 8, 1), 0.15),
        record(axes, 3, internal_params(1e-3, 0.01, 2.0, 8, 1), 0.1)._replace(copied_from="old:coarse/0"),
        record(axes, 4, internal_params(1e-1, 0.01, 9.0, 8, 1), 0.4),
        record(axes, 5, internal_params(1e-2, 0.01, 9.5, 8, 1), 0.1)._replace(copied_from="coarse/2"),
    ]
    prior = [
        record(axes, 0, internal_params(1e-3, 0.01, 2.0, 8, 1), 0.1, "@prior")._replace(copied_from="old:coarse/0"),
        record(axes, 1, internal_params(1.0, 0.01, 9.0, 8, 1), 0.9, "@prior")._replace(copied_from="old:coarse/7"),
    ]
    assert [(r.copied_from or r.label) for r in distinct_outcomes([prior, own])] == [
        *("old:coarse/0", "old:coarse/7", "coarse/1", "coarse/2", "coarse/4")
    ]
    assert len(reusable_trials(axes, axes.full_box(), [prior, own])) == 5
    assert stage_box(spec, axes, 1, [own], prior)["l2"] == (2.0, 9.5)  # three of five: 2, 9.5 and 6
    assert stage_box(spec, axes, 1, [own], prior) == stage_box(spec, axes, 1, [distinct_outcomes([prior, own])])
