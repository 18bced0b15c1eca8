"""The description of the interface: each route has it, and names the answers that it can give."""

from typing import Any

import pytest

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


def test_no_redirects(idle: TestServer) -> None:
    """A method that changes something must not be sent again to another path."""
    id = idle.submit()
    for method in ("GET", "DELETE"):
        assert idle.ask(method, f"studies/{id}/").status == 404


@pytest.mark.parametrize("value", ["1e999", "NaN", '"1"', "1.5", "true", "[" * 9000])
def test_values_that_are_not_valid(idle: TestServer, value: str) -> None:
    """They are not repeated, because JSON has no form for some of them."""
    answer = idle.ask("POST", f"studies/{idle.submit()}/priority", b'{"priority": %s}' % value.encode())
    assert answer.status in (400, 422) and isinstance(answer.json["detail"], str) and len(answer.body) < 500
