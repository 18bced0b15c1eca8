"""Random valid study files, and random changes of them, for tests that run them to their end."""

import copy
from pathlib import Path
from random import Random
from typing import Any

Content = dict[str, Any]


def random_study(draw: Random, folder: Path) -> Content:
    """Return the content of a small valid study file; a table that it reads is written to the folder."""
    classes = draw.choice([0, 2, 3])  # 0: a regression
    epochs = draw.choice([1, 2, 4])
    result: Content = {
        "name": "random",
        "seed": draw.randrange(1000),
        "data": _data(draw, folder, classes),
        "train": _train(draw, epochs),
        "stages": _stages(draw, epochs),
        "duplicates": draw.choice(["new_seed", "reuse"]),
        "parallel": draw.choice([1, 2, 3, 5, 16]),
        "workers": 1,
    }
    if draw.random() < 0.6:
        result["pruning"] = _pruning(draw, epochs)
    names = ["val/accuracy", "val/balanced_accuracy"] if classes else ["val/rmse", "val/r2"]
    result["metric"] = {"name": draw.choice(["val/loss", *names, "epochs"])}
    if result["metric"]["name"] == "epochs":
        result["train"]["stop"] = {"value": draw.choice([0.1, 0.9, 10.0])}
    result["model"], result["parameters"] = _model(draw, result)
    _add_points(draw, result)
    return result


def _data(draw: Random, folder: Path, classes: int) -> Content:
    rows = draw.choice([40, 60])
    header, lines = "a,b,kind,y", []
    for row in range(rows):
        kind = draw.choice(["red", "green", "blue", ""])
        a, b = draw.gauss(0, 1), draw.gauss(0, 1)
        y = f"c{row % classes}" if classes else f"{a - b + draw.gauss(0, 0.1):.4f}"
        lines.append(f"{a + (row % classes if classes else 0):.4f},{b:.4f},{kind},{y}")
    (folder / "random.csv").write_text("\n".join([header, *lines, ""]), "utf-8")
    result: Content = {"source": "csv", "path": str(folder / "random.csv"), "target": "y"}
    if draw.random() < 0.3:
        result["split"] = {"folds": draw.choice([2, 3]), "test": 0.2}
    return result


def _train(draw: Random, epochs: int) -> Content:
    result: Content = {"optimizer": "momentum", "epochs": epochs, "keep": draw.choice(["best", "best", "last"])}
    if epochs > 1 and draw.random() < 0.3:
        result["check_every"] = 2
    if draw.random() < 0.5:
        result["early_stopping"] = {"patience": 1}
    return result


def _pruning(draw: Random, epochs: int) -> Content:
    kind = draw.choice(["none", "promote", "hyperband", "median"])
    result: Content = {"kind": kind}
    if kind != "none" and draw.random() < 0.7:
        result["min_epochs"] = draw.randint(1, epochs)
    if kind in ("promote", "hyperband") and draw.random() < 0.7:
        result["reduction"] = draw.choice([2, 3, 4])
    if kind == "median" and draw.random() < 0.5:
        result["n_startup_trials"] = draw.choice([1, 2])
    return result


def _stage(draw: Random, number: int, epochs: int) -> Content:
    sampler = draw.choice(["random", "forest", "sobol", "tpe", "tpe", "cmaes"])
    result: Content = {"name": f"s{number}", "trials": draw.randint(1, 8), "sampler": sampler}
    if number and draw.random() < 0.7:
        result["zoom"] = {"keep_top": draw.choice([0.01, 0.2, 0.5, 1.0]), "margin": draw.choice([0.0, 0.05, 0.5])}
    if draw.random() < 0.3:
        result["pruning"] = _pruning(draw, epochs)
    if draw.random() < 0.1:
        result["timeout"] = "1h"
    return result


def _stages(draw: Random, epochs: int) -> list[Content]:
    stages = [_stage(draw, number, epochs) for number in range(draw.randint(1, 3))]
    return [*stages, *([_confirm(draw)] if draw.random() < 0.6 else [])]


def _confirm(draw: Random) -> Content:
    return {"name": "confirm", "top": draw.randint(1, 4), "seeds": draw.randint(2, 3)}


def _model(draw: Random, content: Content) -> tuple[Content, Content]:
    """Return the model and the parameters; some of them are active at some points only."""
    parameters: Content = {"learning_rate": {"min": 1e-3, "max": draw.choice([0.1, 1.0, 1e16]), "scale": "log"}}
    units = draw.choice(
        [4, {"values": [3, 5, 8], "ordered": True}, {"type": "int", "min": 2, "max": 9, "scale": "log"}]
    )
    hidden: list[Content] = [{"units": "units"}]
    parameters["units"] = units
    model: Content = {"hidden": hidden}
    if draw.random() < 0.4:
        model["depth"] = "depth"
        parameters["depth"] = {"type": "int", "min": draw.choice([0, 1]), "max": 2}
        hidden.append({"units": "more"})
        parameters["more"] = {"type": "int", "min": 2, "max": draw.choice([3, 40])}
    if draw.random() < 0.5:
        content["train"]["optimizer"] = "optimizer"
        parameters["optimizer"] = {"values": draw.sample(["momentum", "adam", "sgd"], 2)}
    if draw.random() < 0.6 and (content["train"]["optimizer"] == "momentum" or "momentum" in _values(parameters)):
        parameters["beta"] = {"min": 0.5, "max": draw.choice([0.9, 0.999]), "scale": "one_minus_log"}
    if draw.random() < 0.4:
        hidden[0]["activation"] = "activation"
        parameters["activation"] = {"values": ["tanh", "relu", "leaky_relu"]}
    if draw.random() < 0.3:
        hidden[0]["dropout"] = "dropout"
        parameters["dropout"] = {"min": 0.0, "max": 0.4}
    if draw.random() < 0.3:
        hidden[0]["batch_norm"] = "norm"
        parameters["norm"] = {"values": [True, False]}
    if draw.random() < 0.4:
        parameters["batch_size"] = {"values": [8, 16, 32], "ordered": draw.random() < 0.5}
    if draw.random() < 0.3:
        parameters["l2"] = draw.choice([1e-4, {"min": 0.0, "max": 0.1}])
    if draw.random() < 0.2:
        content["data"]["scale"] = "scaling"
        parameters["scaling"] = {"values": ["standard", "minmax"]}
    if parameters["learning_rate"]["max"] == 1.0:  # not drawn, so that the studies of a seed stay what they were
        parameters["learning_rate"]["guess"] = 0.02  # in every range of `_RANGES`
    return model, parameters


def _values(parameters: Content) -> list[Any]:
    return list(parameters.get("optimizer", {}).get("values", []))


def _add_points(draw: Random, content: Content) -> None:
    """List points in some of the stages before the first zoom."""
    low, high = (content["parameters"]["learning_rate"][end] for end in ("min", "max"))
    for stage in content["stages"]:
        if "zoom" in stage or "top" in stage:
            return
        if draw.random() < 0.3:
            stage["points"] = [{"learning_rate": rate} for rate in (low, high, 0.05)[: draw.randint(1, 3)]]
            stage["seeds"] = draw.choice([1, 1, 2])
            stage["trials"] = max(stage["trials"], len(stage["points"]) * stage["seeds"])


def random_change(draw: Random, content: Content) -> Content:
    """Return a changed study file; a study that has ended can continue with most of the changes."""
    result = copy.deepcopy(content)
    stages, epochs = result["stages"], result["train"]["epochs"]
    if "top" in stages[-1] and draw.random() < 0.3:
        stages[-1]["seeds"] += 1
        return result
    if "top" in stages[-1] and draw.random() < 0.5:
        del stages[-1]  # allowed in a fork only
    if "top" not in stages[-1]:
        kind = draw.choice(["longer", "stage", "confirm", "both"])
        if kind == "longer":
            stages[-1]["trials"] += draw.randint(1, 4)
            return result
        if kind != "confirm":
            stages.append(_stage(draw, len(stages), epochs))
        if kind != "stage":
            stages.append(_confirm(draw))
    _change_ranges(draw, result["parameters"])
    rates = result["parameters"]["learning_rate"]
    for stage in stages:
        if any(not rates["min"] <= p["learning_rate"] <= rates["max"] for p in stage.get("points", ())):
            del stage["points"], stage["seeds"]
    return result


def _change_ranges(draw: Random, parameters: Content) -> None:
    """Narrow or widen some of the ranges."""
    for name, parameter in parameters.items():
        if isinstance(parameter, dict) and "min" in parameter and draw.random() < 0.5:
            parameter.update(draw.choice(_RANGES[name]))


_RANGES: dict[str, list[Content]] = {  # parameter → other ends of its range
    "learning_rate": [{"max": 0.05}, {"max": 0.3}, {"max": 5.0}, {"min": 0.01}, {"min": 1e-5}],
    "units": [{"max": 5}, {"max": 20}, {"min": 3}, {"min": 1}],
    "depth": [{"min": 0, "max": 1}, {"min": 1, "max": 3}],
    "more": [{"min": 3, "max": 4}, {"min": 1, "max": 60}],
    "beta": [{"max": 0.8}, {"max": 0.9999}, {"min": 0.7}, {"min": 0.1}],
    "dropout": [{"max": 0.1}, {"min": 0.1}, {"max": 0.6}],
    "l2": [{"max": 0.01}, {"max": 1.0}, {"min": 0.001}],
}
