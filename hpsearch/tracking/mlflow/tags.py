"""Names of the tags, parameters and metrics that are written to MLflow."""

from hpsearch.core.space import Axis

STUDY_TAG = "hpsearch.study"  # identity of the study: experiment, registered model
TRIAL_TAG = "hpsearch.trial"  # label of the trial: run, model version
STATE_TAG = "hpsearch.state"
STAGE_TAG = "hpsearch.stage"
CHAMPION_TAG = "hpsearch.champion"
BASELINE_TAG = "hpsearch.baseline"  # name of the baseline: run
ORPHAN_TAG = "hpsearch.orphan"  # a run that was closed although its trial's outcome is unknown
ENSEMBLE_TAG = "hpsearch.ensemble"  # hash of the ensemble's weights: its run
DATABASE_TAG = "hpsearch.database"
WEIGHTS_TAG = "hpsearch.weights"  # hash of the weights: model version
NOTE_TAG = "mlflow.note.content"  # the description on the experiment's page
VIEW_TAG_PREFIX = "mlflow.sharedViewState."

OBJECTIVE_METRIC = "objective"
ORDINAL_METRIC = "trial"  # 1, 2, … over all stages


def param_name(axis: Axis) -> str:
    """Return the parameter that MLflow's charts show for an axis: of a log axis, log10 of its internal value.

    MLflow's charts have no log axes.
    """
    return f"log10_{axis.key}" if axis.log else axis.name
