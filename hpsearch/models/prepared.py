"""Dataset metadata and preprocessing of a model, stored with the study so that an export needs no data.

Also the stored form of the preprocessing and of the further members of a model.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Self, final

import numpy as np

from engine.npz import BROKEN_NPZ, npz_names, read_npz, write_npz
from engine.registry import describe
from engine.types import Floats
from hpsearch.config.references import preprocessing_values
from hpsearch.config.spec import Spec
from hpsearch.core.bounded import decode_mapping
from hpsearch.core.space import Point, Value
from hpsearch.core.text import printable
from hpsearch.data.dataset import Dataset
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.errors import DataError
from hpsearch.models.content import check_preprocessing, check_units, checked_prepared, restored_network
from hpsearch.models.members import Member
from hpsearch.models.predictors.network import NetworkPredictor

READ_ERRORS = BROKEN_NPZ  # exceptions raised while reading a file that is damaged or has another format
SLACK = 1 << 24  # bytes of arrays that a file may hold whatever its size is
Arrays = Mapping[str, Floats]
DATASET_FIELDS = ("inputs", "outputs", "classes", "fingerprint", "rows", "rarer", "units")


def pack(folds: Sequence[Preprocessing]) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Return the preprocessing of all folds as JSON content and named arrays; `unpack` is the inverse."""
    described = [fold.describe() for fold in folds]
    arrays = {
        f"{k}_{name}": array for k, (_, fold_arrays) in enumerate(described) for name, array in fold_arrays.items()
    }
    return {
        "features": list(folds[0].features),
        "input_format": dict(folds[0].input_format),
        "preprocessing": [content for content, _ in described],
    }, arrays


def unpack(content: Mapping[str, Any], arrays: Arrays) -> tuple[Preprocessing, ...]:
    """Return the preprocessing of each fold from the output of `pack`, whose types are checked.

    Raises:
        ValueError: an array is missing, or a name is unknown.
    """
    features, input_format = tuple(content["features"]), content["input_format"]
    return tuple(
        Preprocessing.restore(described, _with_prefix(f"{fold}_", arrays), features, input_format)
        for fold, described in enumerate(content["preprocessing"])
    )


def _with_prefix(prefix: str, arrays: Arrays) -> dict[str, Floats]:
    """Return the arrays whose names start with a prefix, with the prefix removed from the names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def pack_others(others: Sequence[Member]) -> tuple[list[dict[str, Any]], dict[str, Floats]]:
    """Return the members after the first as JSON content and named arrays; `unpack_others` is the inverse."""
    contents, arrays = [], dict[str, Floats]()
    for place, member in enumerate(others):
        described, of_folds = pack(member.preprocessing)
        network, folds = describe(member.network), described["preprocessing"]
        contents.append({"network": network, "preprocessing": folds, "count": member.count})
        arrays |= {f"{_of_other(place)}{name}": array for name, array in {"theta": member.theta, **of_folds}.items()}
    return contents, arrays


def unpack_others(content: Mapping[str, Any], arrays: Arrays, first: Member) -> tuple[Member, ...]:
    """Return the members after the first from the content of a model, whose types are checked.

    Raises:
        ValueError: a network fits neither its weights nor the classes, or reads other columns than the first member.
    """
    members = []
    for place, described in enumerate(content["others"]):
        own = _with_prefix(_of_other(place), arrays)
        folds = unpack({**content, "preprocessing": described["preprocessing"]}, own)
        network = restored_network(described["network"], own.get("theta"), len(folds), content["classes"])
        check_preprocessing(folds, network.inputs)
        for fold in folds:
            same = fold.tabular == first.preprocessing[0].tabular
            if not same or set(fold.categorical) != set(first.preprocessing[0].categorical):
                raise ValueError(f"others.{place}: must read the same columns as the first member")
        if not folds[0].tabular and prod(network.inputs) != prod(first.predictor.inputs):
            raise ValueError(f"others.{place}: must have inputs of {first.predictor.inputs}, got {network.inputs}")
        members.append(Member(NetworkPredictor(network, own["theta"]), folds, described["count"]))
    return tuple(members)


def _of_other(place: int) -> str:
    return f"other{place}_"


@final
@dataclass(frozen=True, eq=False)
class PreparedData:
    """A dataset without its rows, and its fitted preprocessing.

    Attributes:
        dataset: shapes, classes, units and fingerprint; no rows.
        folds: the preprocessing of each fold.
    """

    dataset: Dataset
    folds: tuple[Preprocessing, ...]

    @classmethod
    def of_variants(cls, dataset: Dataset, prepared: Sequence[Sequence[Preprocessing]]) -> list[Self]:
        """Return one instance for each variant, from the output of `hpsearch.data.dataset.prepare`."""
        variants = [variant for _, variant in dataset.variants] or [dataset]
        return [cls(variant, tuple(folds)) for variant, folds in zip(variants, prepared, strict=True)]

    @classmethod
    def at(cls, variants: Sequence[Self], spec: Spec, point: Point) -> Self:
        """Return the variant for a point; `variants` are in the order of `of_variants`.

        Raises:
            DataError: there is no variant for the point.
        """
        choices = preprocessing_values(spec)
        ways: list[tuple[Value | None, ...]] = list(product(*choices.values()))
        values = tuple(point.get(name) for name in choices)
        if len(variants) != len(ways) or values not in ways:
            raise DataError(f"the stored preprocessing is not that of the study: {len(variants)} ways for {len(ways)}")
        return variants[ways.index(values)]

    def to_bytes(self) -> bytes:
        """Return the content of an `.npz` file without pickle."""
        content, arrays = pack(self.folds)
        content["dataset"] = {name: getattr(self.dataset, name) for name in DATASET_FIELDS}
        file = io.BytesIO()
        write_npz(file, {"content": np.array(json.dumps(content)), **arrays})
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the prepared data from the output of `to_bytes`.

        Raises:
            DataError: the bytes are damaged or have another format.
        """
        try:
            text = read_npz(data, ["content"], "U", SLACK).get("content")
            content = checked_prepared(decode_mapping(str(text)))
            arrays = read_npz(data, [name for name in npz_names(data) if name != "content"], "f", SLACK)
            fields: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in content["dataset"].items()
            }
            folds = unpack(content, arrays)
            check_preprocessing(folds, fields["inputs"])
            check_units(fields["units"], len(folds))
            return cls(Dataset(folder="", folds=len(folds), **fields), folds)
        except READ_ERRORS as error:
            raise DataError(f"the stored preprocessing cannot be read: {printable(str(error))}") from None
