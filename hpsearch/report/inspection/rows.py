"""Notes of `hpsearch check --data`: what the rows say, and settings that do not fit them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from engine.analysis.diagnosis import ErrorEstimate
from engine.metrics import POSITIVE_METRICS
from hpsearch.config.practice.note import PracticeNote, setting_values
from hpsearch.config.references import preprocessing_values
from hpsearch.config.spec import Spec, Train
from hpsearch.core.files.temporary import private_folder
from hpsearch.core.space import build_space
from hpsearch.data.checks.facts import RowFacts, row_facts
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.training.network import build_network, check_fit

SMALL_TABLE = 2000  # training rows, below which a full batch is cheap
MANY_PER_ROW = 10  # parameters for each training row
UNSCALED_RATIO = 10.0  # of the standard deviations of inputs
TYPICAL_ERROR, WIDE_HALF = 0.1, 0.05  # the interval of such an error must not be wider than twice this
RARE_ROWS = 20  # of the rarer class in val, for metrics of classes
CLASS_METRICS = (*POSITIVE_METRICS, "roc_auc", "balanced_accuracy")


class RowReport(NamedTuple):
    """Results of checking the rows of a study.

    Attributes:
        lines: how val and test rows compare with training rows, one sentence each.
        notes: what to look at, or to change.
    """

    lines: list[str]
    notes: list[PracticeNote]


def inspect_rows(spec: Spec) -> RowReport:
    """Prepare the rows of a study and check them.

    Raises:
        DataError: the data cannot be read, or the model does not fit them.
    """
    if spec.data is None:
        return RowReport([], [])
    with private_folder() as folder:
        dataset, prepared = prepare(spec.data, spec.seed, folder, preprocessing_values(spec))
        if isinstance(spec.train, Train):
            check_fit(spec, dataset)
        facts = row_facts(dataset, prepared[0][0])
        notes = list(_notes(spec, dataset, facts)) if facts else []
    if facts is None:
        return RowReport([], [])
    lines = [f"{found.part}: {found}" for found in facts.drift]
    if facts.noise > 0:
        lines.append(f"noise: at least {facts.noise:.1%} of the error is unavoidable: equal inputs, different targets")
    return RowReport(lines, notes)


def _notes(spec: Spec, dataset: Dataset, facts: RowFacts) -> Iterator[PracticeNote]:
    yield from _facts(facts)
    yield from _val_rows(spec, dataset)
    if isinstance(spec.train, Train):
        yield from _batches(spec, dict(dataset.rows)["train"])
        yield from _scale(spec, facts)
        yield from _parameters(spec, dataset)


def _facts(facts: RowFacts) -> Iterator[PracticeNote]:
    for leak in facts.leaks[:5]:
        text = f"'{leak.column}' alone predicts the target with an error of {leak.error:.1%}: drop it, unless"
        yield PracticeNote(("data",), f"{text} it is known before the target", "Kaufman et al. 2012")
    for found in facts.repeats:
        if found.notable:
            text = f"{found.repeated:,} of {found.rows:,} {found.part} rows ({found.share:.0%}) are also training rows"
            yield PracticeNote(("data", "split"), f"{text}: their error is too low", "Kaufman et al. 2012")
    for drift in facts.drift:
        if drift.notable:
            text = f"{drift.part} rows come from another distribution than training rows (AUC {drift.auc:.2f})"
            yield PracticeNote(("data", "split"), text, "Ng 2018, Machine Learning Yearning, chapter 5")


def _val_rows(spec: Spec, dataset: Dataset) -> Iterator[PracticeNote]:
    val = dataset.part("val")
    count = 0 if val is None else len(val) * dataset.folds
    if val is None or not count:
        return
    half = ErrorEstimate(TYPICAL_ERROR, count).interval.half_width
    if half > WIDE_HALF:
        text = f"{count:,} val rows tell an error of {TYPICAL_ERROR:.0%} only to ±{half:.1%}; use folds or more rows"
        yield PracticeNote(("data", "split"), text, "Ng 2018, Machine Learning Yearning, chapter 7")
    if spec.metric.of in CLASS_METRICS and len(dataset.classes) == 2:
        ones = float(val.y.mean(dtype=np.float64))
        rarer = round(min(ones, 1 - ones) * count)
        if rarer < RARE_ROWS:
            text = f"{rarer} val rows are of the rarer class, too few for {spec.metric.name}; use folds or more rows"
            yield PracticeNote(("metric", "name"), text, "Hanley and McNeil 1982")


def _batches(spec: Spec, rows: int) -> Iterator[PracticeNote]:
    for v in setting_values(spec):
        if v.role != "batch_size" or v.setting[0] != "train":
            continue
        if v.numbers and max(v.numbers) > rows:
            text = f"a batch of {max(v.numbers):g} rows is larger than the {rows:,} training rows: it is a full batch"
            yield PracticeNote(v.path, text, "Goodfellow et al. 2016, Deep Learning, 8.1.3")
        elif len(v.values) > 1 and rows < SMALL_TABLE and "full" not in v.values and max(v.numbers) < rows:
            text = f"with {rows:,} training rows a full batch is cheap; add `full` to the values, without `ordered`"
            yield PracticeNote(v.path, text, "Ng 2017, Improving deep neural networks, week 2")


def _scale(spec: Spec, facts: RowFacts) -> Iterator[PracticeNote]:
    if getattr(spec.data, "scale", "standard") == "none" and facts.largest > UNSCALED_RATIO * facts.smallest:
        text = f"standard deviations of inputs lie between {facts.smallest:.2g} and {facts.largest:.2g}; scale them"
        yield PracticeNote(("data", "scale"), text, "LeCun et al. 1998, Efficient BackProp, 4.3")


def _parameters(spec: Spec, dataset: Dataset) -> Iterator[PracticeNote]:
    """Yield a note if even the smallest network of the space has many parameters for each training row."""
    rows = dict(dataset.rows)["train"]
    sizes = [int(build_network(spec, dataset, p).learned.sum()) for p in build_space(spec.parameters).extreme_points()]
    regularized = any(
        v.numbers and max(v.numbers) > 0
        for v in setting_values(spec)
        if v.role in ("l1", "l2", "dropout", "weight_decay", "rate", "input_dropout")
    )
    stopped = isinstance(spec.train, Train) and spec.train.early_stopping is not None
    if min(sizes) > MANY_PER_ROW * rows and not regularized and not stopped:
        text = f"the smallest network has {min(sizes):,} parameters for {rows:,} training rows and no regularization"
        yield PracticeNote(("model",), text, "Goodfellow et al. 2016, Deep Learning, 5.2")
