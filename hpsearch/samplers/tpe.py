"""Tree-structured Parzen estimator, multivariate, running trials counted as bad. Bergstra et al. 2011.

Conditional axes: Optuna's groups sample the axes that are active at the same points jointly, but apart from all others.
So once `MIN_BRANCH` finished trials have the same active axes as the new trial, its values are sampled jointly from
these trials alone; only the values that decide which axes are active are kept.
"""

import warnings
from typing import TYPE_CHECKING, Any, final

from hpsearch.core.seeds import derive
from hpsearch.samplers.base import SEED_LIMIT, SamplerContext, from_unit, informative, minimizing_sign

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler, TPESampler
    from optuna.trial import FrozenTrial


TPE_STARTUP = 10  # random trials before the model is used, including those of earlier stages
MIN_BRANCH = 20  # finished trials with the same active axes
MAX_BRANCH = 100


def tpe(context: SamplerContext) -> "BaseSampler":
    """Sample by Optuna's TPE, at random until `TPE_STARTUP` trials have finished."""
    return _by_branch(context) if context.conditional else _plain(context.seed)


def _plain(seed: int, *, group: bool = False) -> "TPESampler":
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna 4 calls these settings experimental
        return TPESampler(
            seed=seed % SEED_LIMIT, n_startup_trials=TPE_STARTUP, multivariate=True, constant_liar=True, group=group
        )


def _by_branch(context: SamplerContext) -> "BaseSampler":
    """Return a sampler of a space with conditional axes."""
    from optuna.samplers import BaseSampler

    groups, joint = _plain(context.seed, group=True), _plain(derive(context.seed, "branch"))
    fixed = {key: from_unit(d, 0.5) for key, d in context.distributions.items() if d.single()}

    @final
    class BranchSampler(BaseSampler):
        def infer_relative_search_space(self, study: "Study", trial: "FrozenTrial") -> dict[str, "BaseDistribution"]:
            return groups.infer_relative_search_space(study, trial)

        def sample_relative(
            self, study: "Study", trial: "FrozenTrial", search_space: dict[str, "BaseDistribution"]
        ) -> dict[str, Any]:
            params = groups.sample_relative(study, trial, search_space)
            if not params:
                return params
            active = context.active_keys(fixed | params)
            branch = _branch(study, active)
            if branch is None:
                return params
            branch.sampler = joint
            branch.enqueue_trial({key: params[key] for key in context.deciding & active & params.keys()})
            distributions = {key: d for key, d in context.distributions.items() if key in active}
            return params | branch.ask(distributions).params

        def sample_independent(
            self, study: "Study", trial: "FrozenTrial", param_name: str, param_distribution: "BaseDistribution"
        ) -> Any:
            return groups.sample_independent(study, trial, param_name, param_distribution)

    return BranchSampler()


def _branch(study: "Study", active: frozenset[str]) -> "Study | None":
    """Return a study of trials with these active axes; None if too few of them have finished."""
    import optuna
    from optuna.trial import TrialState

    trials = [t for t in study.get_trials(deepcopy=False) if t.params.keys() == active]
    finished = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    if len(finished) < MIN_BRANCH:
        return None
    branch = optuna.create_study(direction=study.direction, sampler=optuna.samplers.RandomSampler(0))
    branch.add_trials(informative(finished, minimizing_sign(study), MAX_BRANCH))
    branch.add_trials([t for t in trials if t.state == TrialState.RUNNING])
    return branch
