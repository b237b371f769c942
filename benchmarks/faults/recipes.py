"""Broken recipes and overrides, each a function of its seed: text that no YAML is, bombs, and values that no recipe has."""

import copy
import itertools
import json
import random
from typing import Any

NASTY: list[Any] = [
    None, True, -1, 0, 10**400, 1e400, float("nan"), -0.0, "", "\0", "\u202e", "\ud800", "~nobody/x", "/" + "x" * 5000, "../" * 50,
    "x" * 20_000, [], {}, [[]], {"a": {"b": {}}}, [None] * 50, {"": 1}, "{000..999999999}.tar", "torch", "/dev/zero",
    "/proc/self/mem", "²", "1" * 5000,
    ["ios"] * 200, [f"t{i}" for i in range(500)], {"members": [{"name": "a"}] * 50}, {"weights": {"a": 1}}, {"imagefolder": "/root"},
    {"npz": "/dev/null"}, {"torch": "os:system"}, {"stages": [{"name": "align"}] * 30},
]  # fmt: skip
FRAGMENTS = [
    "!!python/object/apply:os.system ['true']", "!foo bar", "&a [*a]", "*nowhere", "<<: {a: 1}", "<<: 1", "? [1, 2]\n: 3", "\t", "\0",
    "\x1b[31m",
    "2024-13-45", "12:30:61", "0x" + "f" * 3000, "1" * 50_000, "0o9", ".inf", "---\n", "...\n", "%YAML 9.9\n---\n", "%TAG ! x\n", "%FOO\n",
    "'", '"', "'''", '"\\ud800"', '"\\0"', '"\\x"', "|", ">-9", "[" * 500, "{" * 500, "- " * 500, "? " * 300, "]", "}", ":", ": :",
    "@", "`", "%", "#",
    "a: b: c", "- a\nb: c", "yes", "~", "=", "!", "!!int x", "!!float x", "!!bool x", "!!null x", "!!binary x", "!!set {a}",
    "!!omap [a: 1]",
    "!!timestamp x", "&", "*", "& a", "\ufeff", "\u2028", "key: &x {<<: *x}", "&a a: &a b", "{a: 1, a: 2}", "null: 1", "1: 2", "true: 3",
    "[1]: 2",
]  # fmt: skip
FIELDS = [
    "name", "task", "seed", "data", "data.source", "data.source.npz", "data.split", "data.image_size", "data.augment.shift", "data.mean.0",
    "teacher", "teacher.model", "teacher.members.0.hf", "teacher.train.epochs", "student", "student.model", "student.arguments.layers",
    "distill.stages.0.epochs", "distill.stages.0.losses.kd", "distill.stages", "distill.ema", "quantize.mixed", "targets", "targets.0",
    "measure.threads", "measure", "..", "data..x", "x" * 300, ".".join("x" * 40), "data.source.webdataset", "²", "targets.²",
]  # fmt: skip


def bombs() -> list[bytes]:
    """Texts that cost minutes or gigabytes where nothing limits them."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    steps = [(b, ",".join([f"*{a}"] * 10)) for a, b in itertools.pairwise(letters)]
    laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"{name}: &{name} [{before}]\n" for name, before in steps)
    merges = "a: &a {x: 1}\n" + "".join(f"{name}: &{name} {{<<: [{before}]}}\n" for name, before in steps)
    texts = [
        laughs, merges, "[" * 1_000_000, "{a: " * 200_000, "- " * 500_000, "? " * 200_000, "a: " + "1" * 100_000, "a: 0x" + "f" * 100_000,
        "a: 1e" + "9" * 10_000, "a: " + "x " * 60_000, "#" * 100_000, "\n" * 120_000, "".join(f"k{i}: 1\n" for i in range(12_000)),
        "".join(f"k{i}: 1\n" for i in range(1000)), "a: [" + "1," * 60_000 + "]", "name: x\n" * 3000, "x" * 10_000_000,
        "name: x\ntargets: *a",
        "name: x\nstudent: &s {model: *s}", "&a [*a, *a]", "a: |\n" + "  x\n" * 30_000, "---\n" * 20_000, "name: x\n---\nname: y\n",
        'a: "' + "\\u0041" * 20_000 + '"', "name: x\n" + "".join(f"{' ' * i}a:\n" for i in range(400)), "%YAML 1.1\n---\na: 190:20:30\n",
    ]  # fmt: skip
    raw = [
        b"\xff\xfen\0",
        b"\xfe\xff\0n",
        b"\xef\xbb\xbfname: x\n",
        b"name: \xff\n",
        b"\0" * 100_000,
        b"",
        b" ",
        b"\x80" * 1000,
        b"name: x\x00y\n",
    ]
    return [*(text.encode() for text in texts), *raw]


def broken(seed: int, known: list[str]) -> bytes:
    """A recipe with some mistakes in it. known: texts of recipes that are right."""
    special = bombs()
    if seed < len(special):
        return special[seed]
    choose = random.Random(seed)
    text = choose.choice(known)
    return (_damaged, _injected, _revalued)[seed % 3](choose, text)


def overrides(seed: int) -> list[str]:
    """Values of --set, wrong in most cases."""
    choose = random.Random(seed)
    texts = [*FRAGMENTS, *(json.dumps(value, default=str)[:3000] for value in NASTY)]
    return [f"{choose.choice(FIELDS)}={choose.choice(texts)}".replace("\0", "") for _ in range(choose.choice((0, 0, 1, 3)))]


def _damaged(choose: random.Random, text: str) -> bytes:
    """Bytes changed, removed, doubled or added."""
    data = bytearray(text.encode())
    for _ in range(choose.choice((1, 3, 10, 100))):
        at = choose.randrange(len(data) + 1)
        match choose.randrange(4):
            case 0:
                data[at : at + 1] = bytes([choose.randrange(256)])
            case 1:
                del data[at : at + choose.randrange(40)]
            case 2:
                data[at:at] = data[at : at + choose.randrange(80)]
            case _:
                data[at:at] = choose.choice(b"\t\n :-[]{}&*!|>'\"%@`#,?").to_bytes(1, "big")
    return bytes(data)


def _injected(choose: random.Random, text: str) -> bytes:
    """Fragments of YAML where none belong."""
    lines = text.splitlines()
    for _ in range(choose.choice((1, 2, 5))):
        at, fragment = choose.randrange(len(lines)), choose.choice(FRAGMENTS)
        key = lines[at].partition(":")[0]
        lines[at] = choose.choice((fragment, f"{key}: {fragment}", f"{lines[at]} {fragment}", f"{fragment}{lines[at]}"))
    return "\n".join(lines).encode(errors="surrogatepass")


def _revalued(choose: random.Random, text: str) -> bytes:
    """Fields with other values, as JSON, which is YAML."""
    from ruamel.yaml import YAML

    value = YAML(typ="safe", pure=True).load(text)
    for _ in range(choose.choice((1, 3, 8))):
        at: Any = value
        while True:
            keys: list[Any] = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = choose.choice(keys)
            if isinstance(at[key], (dict, list)) and at[key] and choose.random() < 0.7:
                at = at[key]
                continue
            at[key] = copy.deepcopy(choose.choice(NASTY))
            if isinstance(at, dict) and choose.random() < 0.3:
                at[choose.choice((key[::-1], key + "s", "torch", "model", "weight", "\u202e"))] = copy.deepcopy(choose.choice(NASTY))
            break
    return json.dumps(value, default=str).encode()
