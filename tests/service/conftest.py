"""What the tests of the service share: one server with the default limits. Without the extra there are no tests."""

from importlib.util import find_spec

import pytest

if any(find_spec(name) is None for name in ("fastapi", "uvicorn", "prometheus_client", "httpx")):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def client():
    from servers import asking

    with asking() as client:
        yield client
