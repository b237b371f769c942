"""Which answers of a prompt are kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgedistill.errors import DamagedFile, UserError
from edgedistill.tasks.causal_lm.answers.asking import Answer, Usage
from edgedistill.tasks.causal_lm.answers.checks import Judge
from edgedistill.tasks.causal_lm.answers.recipe import Checks


def answers(*texts: str, reason: str | None = "stop", tokens: int | None = 5, estimated: bool = False) -> list[Answer]:
    usage = Usage(7, tokens, estimated)
    return [Answer("key", sample, text, True, reason, usage, 0.1, "now", "host") for sample, text in enumerate(texts)]


def verdicts(checks: dict[str, Any], *texts: str, **facts: Any) -> list[str | None]:
    return Judge(Checks.model_validate(checks)).verdicts(answers(*texts, **facts))


def schema(folder: Path, content: Any) -> str:
    path = folder / "schema.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_an_answer_has_to_end_by_itself() -> None:
    assert verdicts({}, "one") == [None]
    assert verdicts({}, "one", reason="length") == ["end: cut off at max_tokens"]
    assert verdicts({"cut_off": True}, "one", reason="length") == [None]
    assert verdicts({"cut_off": True}, "one", reason="content_filter") == ["end: content_filter"]
    assert verdicts({}, "one", reason=None) == ["end: the server gave no reason"]


def test_formats() -> None:
    assert verdicts({}, " \n") == ["format: empty"]
    texts = ['{"a": 1}', "[1, 2]", "NaN", "```json\n{}\n```", "[" * 10_000, '{"a": 1} so']
    assert verdicts({"format": "json"}, *texts) == [None, None, *["format: not JSON alone"] * 4]


def test_schemas(tmp_path: Path) -> None:
    described = {
        "type": "object",
        "properties": {"age": {"$ref": "#/$defs/age"}},
        "required": ["age"],
        "$defs": {"age": {"type": "integer"}},
    }
    checks = {"format": "json", "schema_file": schema(tmp_path, described)}
    assert verdicts(checks, '{"age": 3}', '{"age": "3"}', "{}", "[]") == [
        None, "schema: $.age: type", "schema: $: required", "schema: $: type",
    ]  # fmt: skip


def test_schemas_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"checks.schema_file: .*schema.json: \$.type: .* expected a JSON Schema"):
        verdicts({"format": "json", "schema_file": schema(tmp_path, {"type": "integre"})}, "1")
    # Nothing is fetched, from a server or from the disk.
    other = tmp_path / "other.json"
    other.write_text("{}")
    for reference in ("http://127.0.0.1:9/age.json", other.as_uri(), "#/$defs/none"):
        with pytest.raises(UserError, match=r"found the reference '.*', expected one to a part of this file"):
            verdicts({"format": "json", "schema_file": schema(tmp_path, {"items": {"$ref": reference}})}, "1")
    (tmp_path / "schema.json").write_text("{")
    with pytest.raises(DamagedFile, match=r"schema.json is damaged"):
        verdicts({"format": "json", "schema_file": str(tmp_path / "schema.json")}, "1")


def test_sizes() -> None:
    assert verdicts({"characters": {"min": 3, "max": 4}}, "12", "123", "1234", "12345") == [
        "characters: 2, expected at least 3", None, None, "characters: 5, expected at most 4",
    ]  # fmt: skip
    assert verdicts({"tokens": {"max": 5}}, "one") == [None]
    assert verdicts({"tokens": {"min": 6}}, "one") == ["tokens: 5, expected at least 6"]
    for facts in ({"tokens": None}, {"estimated": True}):
        with pytest.raises(UserError, match=r"checks.tokens: host does not count the tokens of its answers; use answers.checks.characters"):
            verdicts({"tokens": {"min": 6}}, "one", **facts)


def test_policy() -> None:
    assert verdicts({"policy": [r"\d{3}-\d{4}", "(?i)secret"]}, "call 555-1234", "a SECRET", "fine") == [
        r"policy: matches \d{3}-\d{4}", "policy: matches (?i)secret", None,
    ]  # fmt: skip


LONG = "The train leaves the station at nine in the morning and arrives in the evening, as it has done for many years, rain or shine."


def test_duplicates() -> None:
    near = LONG.replace("nine", "ten")
    texts = [LONG, f"  {LONG.upper()}\n", near, "The train is late.", LONG]
    assert verdicts({}, *texts) == [None, "duplicates: as answer 0", "duplicates: as answer 0", None, "duplicates: as answer 0"]
    assert verdicts({"duplicates": 2}, *texts) == [None, None, "duplicates: as answer 0", None, "duplicates: as answer 0"]
    assert verdicts({"similarity": 1.0}, *texts) == [None, "duplicates: as answer 0", None, None, "duplicates: as answer 0"]
    # Without spaces between words, and shorter than a piece.
    assert verdicts({}, "東京は晴れです", "東京は雨です", "晴", "雨", "雨") == [None, None, None, None, "duplicates: as answer 3"]
    assert verdicts({"format": "json"}, '{"a": 1, "b": 2}', '{"b":2,"a":1}') == [None, "duplicates: as answer 0"]


def test_agreement_keeps_one() -> None:
    texts = ["Blue", "red", "blue ", "BLUE", "green"]
    assert verdicts({"agreement": {"share": 0.6}}, *texts) == [
        None, "agreement: 1 of 5 samples say it", "agreement: answer 0 stands for the prompt", "agreement: answer 0 stands for the prompt",
        "agreement: 1 of 5 samples say it",
    ]  # fmt: skip
    assert verdicts({"agreement": {"share": 0.61}}, *texts)[0] == "agreement: 3 of 5 samples say it"


def test_agreement_counts_the_samples_that_other_checks_dropped() -> None:
    checks = {"agreement": {"share": 0.5}, "policy": ["x"]}
    assert verdicts(checks, "a", "a", "x", "x") == [None, "agreement: answer 0 stands for the prompt", *["policy: matches x"] * 2]
    assert verdicts(checks, "a", "x", "x")[0] == "agreement: 1 of 3 samples say it"


def test_agreement_on_a_part_of_the_answer_keeps_all_distinct_texts() -> None:
    texts = ["2+2 makes #### 4", "as 3+1 is #### 3 no, it is #### 4", "I say #### 5", "two and two: #### 5", "no idea", "2+2 makes #### 4"]
    checks = {"agreement": {"share": 0.3, "answer": r"#### (\d+)", "keep": "all_distinct"}}
    unknown = "agreement: has no part that answers.checks.agreement.answer matches"
    assert verdicts(checks, *texts) == [None, None, None, None, unknown, "duplicates: as answer 0"]
    checks["agreement"]["share"] = 0.5
    few = "agreement: 2 of 6 samples say it"
    assert verdicts(checks, *texts) == [None, None, few, few, unknown, "duplicates: as answer 0"]
    checks["agreement"] |= {"share": 0.3, "keep": "one"}
    stands = "agreement: answer 0 stands for the prompt"
    assert verdicts(checks, *texts) == [None, stands, stands, stands, unknown, stands]
