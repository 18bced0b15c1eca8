"""References from settings to parameters: the points at which a parameter is active."""

import cases

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Clause


def test_conditions_follow_from_the_settings(conditional_spec: Spec) -> None:
    when = {axis.name: axis.when for axis in search_space(conditional_spec).axes}
    one, two = Clause("depth", minimum=1), Clause("depth", minimum=2)
    assert when["hidden_units"] == when["activation"] == when["dropout"] == ((one,),)
    assert when["more_units"] == ((two,),)
    assert when["beta"] == ((Clause("optimizer", one_of=("momentum",)),),)
    assert when["beta1"] == ((Clause("optimizer", one_of=("adam",)),),)
    assert all(when[name] == () for name in ("learning_rate", "optimizer", "depth", "limit", "batch_size"))


def test_one_of_several_references_is_enough() -> None:
    """A parameter of two layers is active when either exists, and always when one layer always exists."""
    model = {"depth": "depth", "hidden": [{"units": "hidden_units"}, {"units": "hidden_units"}]}
    parameters = {name: cases.RICH["parameters"][name] for name in ("learning_rate", "depth", "hidden_units")}
    either = cases.small(model=model, parameters=parameters)
    expected = ((Clause("depth", 1),), (Clause("depth", 2),))
    assert {a.name: a.when for a in search_space(either).axes}["hidden_units"] == expected
    always = cases.small(
        model={"hidden": [{"units": "hidden_units"}]}, parameters={k: parameters[k] for k in parameters if k != "depth"}
    )
    assert {a.name: a.when for a in search_space(always).axes}["hidden_units"] == ()
