"""Any module by the command line: samples from an .npz of named arrays, files judged by each output."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import edgedistill

from edgedistill.errors import UserError
from edgedistill.tasks.tensors.samples import is_named, read

CODE = """import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.table, self.head = nn.Conv1d(8, 16, 3, 1, 1), nn.Embedding(10, 16), nn.Linear(16, 4)

    def forward(self, features, tokens):
        seen = F.relu(self.conv(features))
        return {"scores": self.head(seen.mean(2) + self.table(tokens).mean(1)), "frames": seen}


def net():
    return Net()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    (tmp_path / "mine.py").write_text(CODE)
    features = random.normal(0, 1, (24, 8, 20)).astype(np.float32) * random.uniform(0.2, 2, (24, 1, 1)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", features=features, tokens=random.integers(0, 10, (24, 5)))
    (tmp_path / "one.yaml").write_text(
        "name: one\ndescription: One format.\nminimum_os: none\n"
        "artifacts: [{format: onnx, precision: int8}, {format: onnx, precision: fp32}]\n"
    )
    return tmp_path


def test_a_module_of_two_inputs_and_a_dict_is_exported_and_judged_by_each_output(folder: Path) -> None:
    done = edgedistill(
        "export", "--model", "torch:mine:net", "--calibration", "samples.npz", "--target", "one.yaml", "--json", cwd=folder
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout)
    assert document["samples"] == {"calibration": 12, "val": 12}
    method = document["signature"]["methods"]["forward"]
    assert [(spec["name"], spec["dtype"], spec["shape"]) for spec in method["inputs"]] == [
        ("features", "float32", [1, 8, 20]), ("tokens", "int64", [1, 5]),
    ]  # fmt: skip
    rows = {row["precision"]: row for row in document["artifacts"]}
    assert {row["executed_by"] for row in rows.values()} == {"own_runtime"}
    assert rows["int8"]["mixed"] == ["table"]
    for precision, row in rows.items():
        assert row["ok"] is True
        assert (folder / "runs" / "net" / "artifacts" / row["name"]).exists()
        assert list(row["outputs"]) == ["scores", "frames"]
        for error in row["outputs"].values():
            assert error["n"] == 12
            assert error["largest"] < (1e-4 if precision == "fp32" else 0.1)
            # Nothing is worst, and there is no noise, where the file gives the very numbers of the module.
            assert (error["snr_db"] or 999) > (80 if precision == "fp32" else 20)
            assert (error["worst"] or 1) % 2 == 1, "numbered as in the .npz, of which the odd rows verify"
        if precision == "int8":
            assert None not in [error[key] for error in row["outputs"].values() for key in ("snr_db", "worst")]
    given = np.load(folder / "runs" / "net" / "work" / "val-student-fp32.onnx" / "scores.npy")
    assert given.shape == (12, 4)
    assert given.std() > 0.01


def test_inputs_that_do_not_fit_the_samples_are_refused_together(folder: Path) -> None:
    with pytest.raises(UserError) as raised:
        read(folder / "samples.npz", ["features=float32[1,9,T]", "tokens=int32[1,5]", "mask=bool[1,5]"])
    for text in (
        "found features of float32[N,8,20], expected rows of features=float32[1,9,T]",
        "found tokens of int64[N,5], expected rows of tokens=int32[1,5]",
        "found no array for the input mask=bool[1,5], only features, tokens",
    ):
        assert text in str(raised.value)


def test_samples_are_split_by_turns_and_say_the_sizes_that_vary(folder: Path) -> None:
    samples = read(folder / "samples.npz", ["features=float32[1,8,T]"])
    assert samples.sizes == {"T": 20}
    assert samples.calibration[:3].tolist() == [0, 2, 4]
    assert samples.val[-1] == 23
    assert set(samples.rows(samples.val)) == {"features"}


def test_labelled_images_are_not_named_arrays(folder: Path) -> None:
    np.savez(folder / "digits.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.zeros(4, np.int64))
    assert not is_named(folder / "digits.npz")
    assert is_named(folder / "samples.npz")
    with np.errstate(all="ignore"):
        np.savez(folder / "broken.npz", x=np.array([[1.0], [np.nan], [2], [3]], np.float32))
    with pytest.raises(UserError, match="x holds values that are NaN or infinite"):
        read(folder / "broken.npz")
