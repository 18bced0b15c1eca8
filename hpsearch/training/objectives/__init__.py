"""Objectives by the kind of `train`: what trains a trial. They are imported late, because they import the engine."""

import functools

from hpsearch.config.spec import AnyTraining, CommandTraining, EstimatorTraining, FunctionTraining, Spec, Train
from hpsearch.training.objectives.base import Objective


@functools.cache
def objectives() -> dict[type[AnyTraining], Objective]:
    """Return the objective of each kind of `train`."""
    from hpsearch.training.objectives.command import advance_command, check_program
    from hpsearch.training.objectives.engine import EngineObjective
    from hpsearch.training.objectives.estimator import advance_estimator, score_estimators
    from hpsearch.training.objectives.estimator_class import check_estimator_class
    from hpsearch.training.objectives.function import advance_function, check_function
    from hpsearch.training.objectives.stepwise import StepwiseObjective

    return {
        Train: EngineObjective(),
        FunctionTraining: StepwiseObjective(check_function, advance_function),
        CommandTraining: StepwiseObjective(check_program, advance_command),
        EstimatorTraining: StepwiseObjective(check_estimator_class, advance_estimator, score_estimators),
    }


def objective_of(spec: Spec) -> Objective:
    """Return what trains the trials of a study."""
    return objectives()[type(spec.train)]
