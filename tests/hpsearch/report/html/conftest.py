"""Finished studies for the tests of reports."""

from collections.abc import Iterator
from typing import Any

import cases
import numpy as np
import pandas as pd
import pytest

from hpsearch import api
from tests.hpsearch.report.html.report_cases import EVIL, STUDIES


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield a function from a name in `STUDIES` to the URL of that study, which is run once."""
    folder, urls = tmp_path_factory.mktemp("studies"), dict[str, str]()

    def url(name: str) -> str:
        if name not in urls:
            content = cases.content(**STUDIES[name])
            if name == "evil":
                path, generator = folder / "evil.csv", np.random.default_rng(1)
                x = generator.normal(size=(90, 2))
                said = [EVIL[int(v)] for v in np.clip(x[:, 0] + 1.5, 0, 2)]
                pd.DataFrame({EVIL[0]: x[:, 0], EVIL[2]: x[:, 1], "t": said}).to_csv(path, index=False)
                content["data"] = {"source": "csv", "path": str(path), "target": "t"}
                content["parameters"]["activation"] = {"values": ["tanh", "relu"]}
                content["model"]["hidden"] = [{"units": "hidden_units", "activation": "activation"}]
            if name == "names":  # equal after shortening
                path, text = folder / "names.csv", "x" * 60
                rows = [f"{i % 7},{i % 5},{text}{i % 3}{text}" for i in range(60)]
                path.write_text("\n".join(["a,b,t", *rows]), "utf-8")
                content["data"] = {"source": "csv", "path": str(path), "target": "t"}
            urls[name] = api.run(content, storage=folder / f"{name}.db", tracking_uri="none", executor="inline").url
        return urls[name]

    yield url
