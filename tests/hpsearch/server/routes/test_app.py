"""The description of the interface: each route has it, and names the answers that it can give."""

from typing import Any

from tests.hpsearch.server.conftest import TestServer


def test_openapi(idle: TestServer) -> None:
    content: Any = idle.ask("GET", "/api/v1/openapi.json", token=None).json
    operations = [(path, method, op) for path, ops in content["paths"].items() for method, op in ops.items()]
    assert len(operations) >= 20
    for path, method, operation in operations:
        assert operation.get("description"), (path, method)
        if path.startswith("/api/v1/studies"):
            assert {"401", "403", "404", "409", "422"} <= operation["responses"].keys()


def test_paths_without_a_route(idle: TestServer) -> None:
    assert idle.ask("GET", "/nothing").status == 404 and idle.ask("POST", "/healthz").status == 405
