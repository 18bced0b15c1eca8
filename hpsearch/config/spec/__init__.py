"""The spec: a study file as frozen, validated sections. `hpsearch.config.load` makes it from YAML."""

from hpsearch.config.spec.choice import Choice, Setting
from hpsearch.config.spec.model import Hidden, ModelSpec, Output
from hpsearch.config.spec.search import AnyParameter, Metric, MetricName, Pruning, Stage, Zoom
from hpsearch.config.spec.study import Ensemble, Spec
from hpsearch.config.spec.train import EarlyStopping, OptimizerSwitch, Stop, Train

__all__ = [
    "AnyParameter",
    "Choice",
    "EarlyStopping",
    "Ensemble",
    "Hidden",
    "Metric",
    "MetricName",
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
