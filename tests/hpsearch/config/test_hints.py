"""Hints: words of other tools, keys of other sections, parameters that no setting uses."""

from pathlib import Path

import pytest

from hpsearch.config.hints import key_hint, value_hint
from tests.hpsearch.config.test_load import BASE, of_table, refused, study

__all__ = ["study"]

L2 = "l2: {min: 1e-7, max: 1e-1, scale: log}"

# Original text, replacement → the hint.
HINTS: dict[tuple[str, str], str] = {
    # Samplers, metrics and menus.
    ("sampler: tpe", "sampler: bayes"): "unknown 'bayes'; did you mean 'tpe' (or gp; both are Bayesian)?",
    ("sampler: tpe", "sampler: TPESampler"): "did you mean 'tpe'?",
    ("sampler: tpe", "sampler: SMAC"): "did you mean 'forest'?",
    ("sampler: tpe", "sampler: random_forest"): "did you mean 'forest'?",
    ("sampler: tpe", "sampler: RandomSampler"): "did you mean 'random'?",
    ("sampler: tpe", "sampler: CMA-ES"): "did you mean 'cmaes'?",
    ("sampler: tpe", "sampler: BoTorchSampler"): "did you mean 'gp'?",
    ("sampler: tpe", "sampler: asha"): "did you mean 'random' (with pruning: promote)?",
    ("val/loss", "precision"): "did you mean 'val/precision'?",
    ("val/loss", "val_acc"): "did you mean 'val/accuracy'?",
    ("val/loss", "val/kappa"): "there is val/loss, val/accuracy",
    ("val/loss", "test/accuracy"): "a search must not see the test rows",
    ("goal: minimize", "goal: min"): "did you mean 'minimize'?",
    ("optimizer: momentum", "optimizer: SGD"): "did you mean 'sgd'?",
    ("optimizer: momentum", "optimizer: lbfgs"): "did you mean 'adam' (optimizers use gradients only)?",
    ("activation: relu", "activation: LeakyReLU"): "did you mean 'leaky_relu'?",
    ("activation: relu", "activation: gelu"): "did you mean 'elu'?",
    ("source: sklearn", "source: pandas"): "did you mean 'csv'?",
    ("scale: standard", "scale: StandardScaler"): "did you mean 'standard'?",
    # Keys with another name, keys of another section, and settings of a choice.
    ("  epochs: 50", "  n_iter_no_change: 5"): "did you mean 'early_stopping.patience'?",
    ("  epochs: 50", "  patience: 5"): "did you mean 'train.early_stopping.patience'?",
    ("  epochs: 50", "  weight_decay: 0.1"): "did you mean 'l2' (for momentum and sgd it is their weight_decay",
    (
        "  epochs: 50",
        "  alpha: 0.1",
    ): "did you mean 'l2' (with penalty_divisor: batch_size it is scikit-learn's alpha)?",
    ("  epochs: 50", "  solver: adam"): "did you mean 'optimizer'?",
    ("  epochs: 50", "  batch: 32"): "did you mean 'batch_size'?",
    ("  epochs: 50", "  batchSize: 32"): "did you mean 'batch_size'?",
    ("  epochs: 50", "  loss: mse"): "unknown key 'loss'; the data determine the loss; remove it",
    ("  epochs: 50", "  hidden: [3]"): "did you mean 'model.hidden'?",
    ("  epochs: 50", "  classical: true"): "did you mean 'optimizer: {name: momentum, classical: true}'?",
    ("  epochs: 50", "  beta1: 0.9"): "did you mean 'optimizer: {name: adam, beta1: 0.9}'?",
    ("  epochs: 50", "  momentum: 0.9"): "did you mean 'optimizer: {name: momentum, beta: 0.9}'?",
    (
        "optimizer: momentum",
        "optimizer: nesterov\n  beta: 0.8",
    ): "did you mean 'optimizer: {name: nesterov, beta: 0.8}'?",
    ("optimizer: momentum", "optimizer: {name: momentum, momentum: 0.9}"): "did you mean 'beta'?",
    ("optimizer: momentum", "optimizer: {name: momentum, lr: 0.9}"): "did you mean 'train.learning_rate'?",
    ("parallel: 16", "epochs: 3"): "did you mean 'train.epochs'?",
    ("parallel: 16", "n_trials: 3"): "did you mean 'stages.trials'?",
    ("parallel: 16", "maxTrialNumber: 3"): "did you mean 'stages.trials'?",
    ("parallel: 16", "algorithm: {}"): "did you mean 'stages.sampler'?",
    ("parallel: 16", "n_jobs: 3"): "did you mean 'workers'?",
    ("parallel: 16", "random_state: 3"): "did you mean 'seed'?",
    ("name: fine,", "name: fine, epochs: 3,"): "did you mean 'train.epochs'?",
    ("name: fine,", "name: fine, keep_top: 0.2,"): "did you mean 'stages.zoom.keep_top'?",
    ("  goal: minimize", "  mode: min"): "unknown key 'mode'; did you mean 'goal'?",
    ("{min: 1e-4, max: 1.0,", "{min: 1e-4, max: 1.0, default: 0.1,"): "did you mean 'guess'?",
    ("    patience: 8", "    patience: 8\n    monitor: val_loss"): "did you mean 'metric.name'?",
    (
        "early_stopping:\n    patience: 8",
        "early_stopping: true",
    ): "must be a mapping with keys from min_delta, patience",
    # Parameters.
    ("  learning_rate: {", "  lr: {"): "train.learning_rate: missing; rename the parameter 'lr' to 'learning_rate'",
    (L2, "weight_decay: {min: 1e-7, max: 1e-1}"): "not used by any setting of model, train or data; did you mean 'l2'?",
    (L2, "optimizer: {values: [sgd, adam]}"): "a setting must name it: train.optimizer: optimizer",
    (L2, "n_units: {type: int, min: 3, max: 9}"): "a setting must name it: model.hidden.units: n_units",
    (L2, "epochs: {type: int, min: 3, max: 9}"): "train.epochs cannot be searched",
}


@pytest.mark.parametrize(("old", "new"), HINTS)
def test_hints(study: Path, old: str, new: str) -> None:
    found = refused(study, BASE.replace(old, new))
    assert any(HINTS[old, new] in line for line in found), found


def test_a_parameter_beside_the_setting_that_it_means(study: Path) -> None:
    text = BASE.replace("  epochs: 50", "  epochs: 50\n  learning_rate: 0.01").replace("learning_rate: {", "lr: {")
    assert refused(study, text) == [
        "study.yaml:22: parameters.lr: not used by any setting of model, train or data; did you mean 'learning_rate'?"
        " train.learning_rate has a value of its own (0.01): remove it, or write learning_rate: lr"
    ]


@pytest.mark.parametrize(
    ("line", "name"), [("sep: ';'", "separator"), ("na_values: ['?']", "missing"), ("index_col: 0", "drop")]
)
def test_words_of_pandas(study: Path, line: str, name: str) -> None:
    assert any(f"did you mean '{name}'?" in x for x in refused(study, of_table(f"  {line}\n")))


@pytest.mark.parametrize("word", ["", "_", "x" * 100_000, "--", "é"])
def test_any_word(word: str) -> None:
    assert key_hint("train", word, ["epochs"], {}, {}) == "; there is epochs"
    assert value_hint("stages.sampler", word, ["tpe"]) == "; there is tpe"
