"""YAML of users has limits, and whatever is wrong with it is one message with file and line, within a second."""

import itertools
import json
import time
from pathlib import Path

import pytest
from conftest import edgedistill

from edgedistill.errors import UserError
from edgedistill.measure import fleet
from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.loading import load_recipe
from edgedistill.recipe.reading import read_yaml
from edgedistill.recipe.targets import load_target

LETTERS = "abcdefghij"
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in itertools.pairwise(LETTERS))
MERGES = "a: &a {x: 1}\n" + "".join(f"{b}: &{b} {{<<: [{','.join([f'*{a}'] * 9)}]}}\n" for a, b in itertools.pairwise(LETTERS))


def refused(path: Path, content: bytes | str) -> str:
    """What is told of a recipe: within a second, or three where other processes take the caches."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    began = time.process_time()
    with pytest.raises(RecipeError) as told:
        load_recipe(path)
    assert time.process_time() - began < 3
    return str(told.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (LAUGHS, "r.yaml:1: found more than 5,000 values"),
        (MERGES, "found << of what holds it"),
        ("[" * 1_000_000, "r.yaml:1: found more than 128 KiB"),
        ("[" * 100_000, "r.yaml:1: found values that are nested 32 deep"),
        ("- " * 60_000, "r.yaml:1: found values that are nested 32 deep"),
        ("name: x\nseed: " + "1" * 100_000, "r.yaml:2: found a number of 100,000 digits, expected at most 300"),
        ("seed: 0x" + "f" * 50_000, "r.yaml:1: found a number of 50,002 digits"),
        ("".join(f"k{i}: 1\n" for i in range(9000)), "r.yaml:2500: found more than 5,000 values"),
        ("name: x\nstudent: &s {model: *s}", "r.yaml:2: found a value that holds itself by an alias"),
        ("a: &a {<<: *a}", "r.yaml:1: found << of what holds it"),
        ("name: x\nseed: !!python/name:os.system 1", "r.yaml:2: found the tag 'tag:yaml.org,2002:python/name:os.system'"),
        ("name: !local x", "r.yaml:1: found the tag '!local', expected plain data without tags"),
        ("seed: !!int x", "r.yaml:1: found 'x', which is no int"),
        ("seed: !!binary x", "found the tag"),
        ("name: x\n1: y", "r.yaml:2: found '1' as a key, expected text as the name of a field"),
        ("? [a, b]\n: 1", "r.yaml:1: found a list or mapping as a key"),
        ("name: x\nseed: 1\nseed: 2", "r.yaml:3: found duplicate key 'seed'"),
        ("name: x\n---\nname: y", "r.yaml:2: "),
        ("name: *nowhere", "r.yaml:1: found undefined alias 'nowhere'"),
        ("name: x\n\tseed: 1", "r.yaml:2: "),
        ("<<: 1\nname: x", "r.yaml:1: found << with something else, expected a mapping to merge"),
        (b"name: x\nseed: \x00", "r.yaml:2: found the character '\\x00'"),
        (b"name: x\nseed: \xff", "r.yaml:2: found the byte 0xff, which is not UTF-8"),
        ("name: x".encode("utf-16"), "r.yaml:1: found UTF-16, expected UTF-8 text"),
        ("- a\n- b", 'r.yaml:1: recipe: found ["a", "b"], expected a mapping of fields'),
        ("just text", 'r.yaml:1: recipe: found "just text", expected a mapping'),
        ("42", "r.yaml:1: recipe: found 42, expected a mapping"),
        ("# nothing", "r.yaml:1: recipe: found an empty file"),
        ("name: '\x1b[31mred'", "r.yaml:1: found the character '\\x1b'"),
        ('name: "\\e[31mred"', 'r.yaml:1: name: found "\\u001b[31mred", expected text that matches'),
        ("name: x\ndata: {source: {npz: '~nobody-here/x.npz'}}", "no such file: ~nobody-here/x.npz"),
        (f"name: x\ndata: {{source: {{imagefolder: {'x' * 5000}}}}}", "a folder that can't be read (File name too long)"),
        ('name: x\ndata: {source: {npz: "\\0"}}', "r.yaml:2: data.source.npz: no such file"),
        ('name: x\ndata: {source: {npz: "\\ud800"}}', "r.yaml:2: found '\\ud800', which is no str"),
    ],
)  # fmt: skip
def test_what_no_recipe_is_gets_one_message(content, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert found in refused(Path("r.yaml"), content)


def test_what_looks_like_a_date_is_text(tmp_path):
    (tmp_path / "r.yaml").write_text("name: 2024-13-45")
    assert load_recipe(tmp_path / "r.yaml").recipe.name == "2024-13-45"


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"\xef\xbb\xbfname: marked\n")
    assert load_recipe(tmp_path / "r.yaml").recipe.name == "marked"


def test_aliases_and_merges_within_the_limits_are_read():
    value, lines = read_yaml("a: &a {x: 1, y: [1, 2]}\nb:\n  <<: *a\n  x: 2\nc: [*a, *a]\n", "r.yaml")
    assert value == {"a": {"x": 1, "y": [1, 2]}, "b": {"x": 2, "y": [1, 2]}, "c": [{"x": 1, "y": [1, 2]}] * 2}
    assert lines[("b", "x")] == 4
    assert lines[("b", "y")] == 2


def test_a_thousand_mistakes_are_cut_to_the_first_twenty(tmp_path):
    text = refused(tmp_path / "r.yaml", "name: x\n" + "".join(f"field{i}: 1\n" for i in range(1000)))
    assert text.startswith("1,000 mistakes in ")
    assert [line.split(":")[1] for line in text.splitlines()[1:-1]] == [str(line) for line in range(2, 22)]
    assert text.splitlines()[-1] == "  980 more mistakes, which are told when these are mended"
    assert len(text) < 10_000


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (".".join("x" * 10_000) + "=1", "a field 10000 levels deep"),
        ("targets.²=ios", "found '²', expected an index from 0 to 3"),
        (f"seed={'1' * 100_000}", "found a number of 100,000 digits"),
        ("data=&a [*a]", "found a value that holds itself"),
        (f"data={'[' * 1000}", "nested 32 deep"),
        ("name=!foo x", "found the tag '!foo'"),
    ],
)
def test_overrides_have_the_same_limits(override, told):
    with pytest.raises(RecipeError, match="mistake") as error:
        load_recipe({"name": "x"}, [override])
    assert told in str(error.value)


def test_fields_of_a_program_have_limits_too():
    endless: dict[str, object] = {"name": "x"}
    endless["data"] = endless
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    for fields in (endless, {"name": "x", "data": deep}, {"name": "x", "data": {1, 2}}):
        with pytest.raises(RecipeError):
            load_recipe(fields)


@pytest.mark.parametrize("content", [LAUGHS, "[" * 100_000, "a: " + "1" * 5000, "devices: {a: *b}", "\0", "devices: 1\ndevices: 2"])
def test_fleets_and_targets_have_the_same_limits(content, tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text(content)
    for load in (fleet.load, lambda path: load_target(str(path))):
        with pytest.raises(UserError, match=r"file\.yaml:\d+: found"):
            load(path)


def test_the_command_ends_with_2_and_no_traceback(tmp_path):
    (tmp_path / "r.yaml").write_text("name: x\nseed: " + "9" * 6000)
    done = edgedistill("run", "r.yaml", "--set", "data=&a [*a]", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "r.yaml:2: found a number of 6,000 digits" in json.loads(done.stdout)["error"]["message"]
