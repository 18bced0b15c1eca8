"""The spec: a study file as frozen, validated sections. `hpsearch.config.load` makes it from YAML."""

from hpsearch.config.spec.choice import Choice, Setting
from hpsearch.config.spec.model import Hidden, ModelSpec, Output
from hpsearch.config.spec.objective import (
    AnyTraining,
    CodeTraining,
    CommandTraining,
    EstimatorTraining,
    FunctionTraining,
)
from hpsearch.config.spec.search import METRIC_NAMES, AnyParameter, Metric, Pruning, Stage, Zoom
from hpsearch.config.spec.study import Ensemble, Spec
from hpsearch.config.spec.train import OptimizerSwitch, Train
from hpsearch.config.spec.trial_rules import EarlyStopping, Stop

__all__ = [
    "METRIC_NAMES",
    "AnyParameter",
    "AnyTraining",
    "Choice",
    "CodeTraining",
    "CommandTraining",
    "EarlyStopping",
    "Ensemble",
    "EstimatorTraining",
    "FunctionTraining",
    "Hidden",
    "Metric",
    "ModelSpec",
    "OptimizerSwitch",
    "Output",
    "Pruning",
    "Setting",
    "Spec",
    "Stage",
    "Stop",
    "Train",
    "Zoom",
]
