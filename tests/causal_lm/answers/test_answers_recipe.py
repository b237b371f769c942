"""What a recipe may say of a teacher that writes answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgedistill.recipe.base import Config
from edgedistill.recipe.mistakes import find_mistakes
from edgedistill.tasks.causal_lm.answers.recipe import Agreement, Checks, Endpoint, Range, Sampling

HERE = {"base_url": "http://localhost:8000/v1", "model": "teacher"}


def mistakes(kind: type[Config], **fields: Any) -> list[str]:
    return [f"{'.'.join(map(str, where))}: {text}" for where, text in find_mistakes(kind, fields)[1]]


@pytest.mark.parametrize(
    "fields",
    [
        HERE,
        {**HERE, "base_url": "https://api.example.com/v1", "key_from": "TEACHER_KEY"},
        # A key may go unencrypted within a machine or a private network.
        {**HERE, "base_url": "http://192.168.1.5:8000/v1", "key_from": "KEY"},
        {**HERE, "base_url": "http://[::1]:8000/v1", "key_from": "KEY"},
        {**HERE, "base_url": "http://teacher:8000/v1", "key_from": "KEY"},
        {**HERE, "base_url": "http://vllm.default.svc.cluster.local/v1", "key_from": "KEY"},
        {**HERE, "base_url": "http://api.example.com/v1"},
    ],
)
def test_endpoints(fields: dict[str, Any]) -> None:
    assert mistakes(Endpoint, **fields) == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"base_url": "localhost:8000"}, 'base_url: found "localhost:8000", expected the http or https URL'),
        ({"base_url": "http://"}, "expected the http or https URL"),
        ({"base_url": "http://[::1/v1"}, "base_url: found a text that is no URL"),
        ({"base_url": "http://host:99999/v1"}, "base_url: found a text that is no URL"),
        ({"base_url": "http://api.example.com/v1", "key_from": "KEY"}, "expected https, since everybody on the way can read a key"),
        ({"top_logprobs": 21}, "top_logprobs: found 21, expected a number of at most 20"),
        ({"concurrency": 0}, "concurrency: found 0"),
        ({"tmeout": 3}, "tmeout: found an unknown field"),
    ],
)
def test_mistakes_of_endpoints(fields: dict[str, Any], told: str) -> None:
    (found,) = mistakes(Endpoint, **{**HERE, **fields})
    assert told in found


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key_from", "sk-Secret0123456789"),
        ("key_from", "hf_Secret0123456789"),
        ("key_from", "Secret0123456789"),
        ("base_url", "https://me:Secret0123456789@api.example.com/v1"),
        ("base_url", "https://Secret0123456789@api.example.com/v1"),
        ("base_url", "https://api.example.com/v1?key=Secret0123456789"),
    ],
)
def test_a_key_in_a_recipe_is_refused_and_not_repeated(field: str, value: str) -> None:
    (found,) = mistakes(Endpoint, **{**HERE, field: value})
    assert "environment variable" in found
    assert "Secret" not in found


def test_samples_at_temperature_0() -> None:
    assert mistakes(Sampling, temperature=0, samples=1) == []
    assert mistakes(Sampling, temperature=0, samples=2) == [
        ": found 2 samples at temperature 0, expected samples: 1, since all answers at temperature 0 are the same"
    ]


def test_checks(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"type": "object"}))
    assert mistakes(Checks, format="json", schema_file=str(schema), policy=[r"\d{5}"], agreement={"share": 0.5, "answer": "####(.*)"}) == []
    assert "expected format: json beside schema_file" in mistakes(Checks, schema_file=str(schema))[0]
    assert "no such file" in mistakes(Checks, format="json", schema_file=str(tmp_path / "none.json"))[0]
    assert 'policy.0: found "(", expected a regular expression of Python' in mistakes(Checks, policy=["("])[0]
    assert "expected a regular expression" in mistakes(Agreement, answer="[")[0]
    assert "expected min of at most max" in mistakes(Range, min=3, max=2)[0]


def test_all_fields_are_described() -> None:
    for kind in (Endpoint, Sampling, Checks, Agreement, Range):
        assert all(field.description for field in kind.model_fields.values())
