"""The service is what its OpenAPI description says, as schemathesis finds by asking; and the description is whole."""

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from servers import BINARY, serving

from mcmc.service import Settings, create_app


def test_every_path_is_described_with_its_errors():
    description = create_app(Settings()).openapi()
    assert set(description["paths"]) == {
        "/healthz", "/metrics", "/v1/diagnose", "/v1/jobs", "/v1/jobs/{id}", "/v1/jobs/{id}/report.html", "/v1/runs",
        "/v1/runs/{id}", "/v1/runs/{id}/blocks", "/v1/runs/{id}/page", "/v1/thresholds",
    }  # fmt: skip
    for path, methods in description["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert "422" in operation["responses"]
    content = description["paths"]["/v1/diagnose"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/octet-stream", "multipart/form-data"}
    assert content["application/json"]["examples"]


def test_the_examples_work(client):
    description = client.get("/openapi.json").json()
    for path in ("/v1/diagnose", "/v1/runs/{id}/blocks"):
        content = description["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        for example in content["examples"].values():
            answer = client.post(path.replace("{id}", "example"), json=example["value"])
            assert answer.status_code == 200, answer.text


@pytest.mark.slow
def test_schemathesis_finds_nothing():
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    asked = []
    left_out = [schemathesis.checks.positive_data_acceptance]  # no schema says that lists are of equal lengths
    with serving(concurrency=2, seconds=20, memory=10**9, queued=1000) as (url, _):
        httpx.post(f"{url}/v1/diagnose", content=b"?", headers=BINARY, trust_env=False, timeout=180)  # it is awake
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        for found in schema.get_all_operations():
            operation = found.ok()

            @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy())
            def ask(case):
                case.call_and_validate(timeout=60, excluded_checks=left_out if case.method == "POST" else [])
                asked.append(case.path)

            ask()
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    assert len(set(asked)) == 11
    assert len(asked) > 150
