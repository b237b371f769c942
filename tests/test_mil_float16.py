"""The float16 mode of the Core ML executor, and the list of layers that endanger it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import NAMES, plain

from edgedistill.backends.coreml.mil import float16 as mil_float16
from edgedistill.backends.coreml.mil import float64 as mil
from edgedistill.backends.coreml.mil import program as mil_program
from edgedistill.backends.coreml.mil.float16 import Watch, load_watched
from edgedistill.backends.coreml.ranges import float16_ranges, scan
from edgedistill.files import write_arrays, write_json
from edgedistill.records import ArtifactSpec
from edgedistill.records.summary import Float16Value
from edgedistill.report import ranges as report
from edgedistill.run import Run, Step
from edgedistill.signature import Signature, TensorSpec
from edgedistill.steps import ranges

BRIGHT = 2
"""The index of the image that overflows."""


@pytest.fixture
def images() -> np.ndarray:
    """Four images [4, 3, 2, 2]: dark ones, and a bright one."""
    images = np.full((4, 3, 2, 2), 0.25, np.float32)
    images[BRIGHT, 1, 0, 1] = 0.875
    return images


def half(folder: Path, build: Callable[[Any, Any], Any], kind: str = "fp16") -> str:
    """A package that computes `build` in float16 (or float32) between a cast at each end."""
    mil_program.prepare(1)
    import coremltools as ct
    from coremltools.converters.mil import Builder

    @Builder.program(input_specs=[Builder.TensorSpec((1, 3, 2, 2))], opset_version=ct.target.iOS17)
    def program(x: Any) -> Any:
        return Builder.cast(x=build(Builder, Builder.cast(x=x, dtype=kind)), dtype="fp32")

    options: Any = {"minimum_deployment_target": ct.target.iOS17, "skip_model_load": True, "pass_pipeline": ct.PassPipeline.EMPTY}
    path = folder / f"{kind}.mlpackage"
    ct.convert(program, compute_precision=ct.precision.FLOAT32, **options).save(str(path))
    return str(path)


def clipped(kind: type[np.floating]) -> Callable[[Any, Any], Any]:
    """x * 300 * 300 / 300, not more than 200: past 65504 on the way only, and only where x > 0.73."""

    def build(mb: Any, v: Any) -> Any:
        beyond = mb.mul(x=mb.mul(x=v, y=kind(300), name="far"), y=kind(300), name="beyond")
        back = mb.mul(x=mb.reshape(x=beyond, shape=[1, 12]), y=kind(1 / 300), name="back")
        return mb.clip(x=back, alpha=kind(0), beta=kind(200), name="clipped")

    return build


def test_an_overflow_is_found_where_a_float64_run_is_fine(images: np.ndarray, tmp_path: Path) -> None:
    path = half(tmp_path, clipped(np.float16))
    exact = np.concatenate([plain(mil.load(path, 1, NAMES))(image[None]) for image in images])
    np.testing.assert_allclose(exact, np.minimum(images.reshape(4, 12) * 300, 200), rtol=1e-3)
    watch = Watch()
    call = plain(load_watched(path, watch, NAMES))
    rounded = [call(image[None]) for image in images[:BRIGHT]]
    assert watch.overflow is None
    rounded += [call(image[None]) for image in images[BRIGHT:]]
    assert watch.overflow is not None
    assert (watch.overflow.name, watch.overflow.operator, watch.overflow.largest, watch.overflow.lost) == ("beyond", "mul", 78750.0, 1)
    # The clip hides it: nothing but the watch could have told.
    np.testing.assert_allclose(np.concatenate(rounded), exact, rtol=2e-3)


def test_an_infinite_output_comes_out_infinite(images: np.ndarray, tmp_path: Path) -> None:
    path = half(tmp_path, lambda mb, v: mb.mul(x=mb.mul(x=v, y=np.float16(300)), y=np.float16(300), name="beyond"))
    call = plain(mil_float16.load(path, 1, NAMES))
    assert np.isfinite(call(images[:1])).all()
    with pytest.warns(RuntimeWarning, match=r"beyond \(mul\) overflowed float16: 1 value.*78750 .*65504"):
        output = call(images[BRIGHT : BRIGHT + 1])
    assert np.isinf(output).sum() == 1


def test_a_division_by_what_underflowed_is_found(images: np.ndarray, tmp_path: Path) -> None:
    # 0.25 * 1e-7 is below half of the smallest float16.
    path = half(tmp_path, lambda mb, v: mb.real_div(x=v, y=mb.mul(x=v, y=np.float16(1e-7)), name="quotient"))
    watch = Watch()
    plain(load_watched(path, watch, NAMES))(images[:1])
    assert watch.overflow is not None
    assert (watch.overflow.name, watch.overflow.lost) == ("quotient", 12)
    assert np.isfinite(plain(mil.load(path, 1, NAMES))(images[:1])).all()


def test_each_result_is_rounded_once(tmp_path: Path) -> None:
    # In float32 the sum is 1 + 2**-11, in the middle of two float16, which would then become 1.
    addends = np.zeros((1, 3, 2, 2), np.float32)
    addends[0, :, 0, 0] = [1, 2**-11, 2**-24]
    path = half(tmp_path, lambda mb, v: mb.reduce_sum(x=v, axes=[1, 2, 3]))
    assert plain(mil_float16.load(path, 1, NAMES))(addends) == 1 + 2**-10
    assert plain(mil.load(path, 1, NAMES))(addends) == np.float32(1 + 2**-11 + 2**-24)


def test_an_infinite_mask_is_no_overflow(images: np.ndarray, tmp_path: Path) -> None:
    mask = np.array([0, -np.inf], np.float16)
    path = half(tmp_path, lambda mb, v: mb.softmax(x=mb.add(x=v, y=mask), axis=-1))
    watch = Watch()
    output = plain(load_watched(path, watch, NAMES))(images[:1])
    assert watch.overflow is None
    np.testing.assert_array_equal(output, np.broadcast_to([1.0, 0.0], (1, 3, 2, 2)))
    assert float16_ranges(path, images[:1]) == []


def test_float32_is_not_rounded(images: np.ndarray, tmp_path: Path) -> None:
    path = half(tmp_path, clipped(np.float32), "fp32")
    watch = Watch()
    np.testing.assert_array_equal(
        plain(load_watched(path, watch, NAMES))(images[BRIGHT:3]), plain(mil.load(path, 1, NAMES))(images[BRIGHT:3])
    )
    assert watch.overflow is None


@pytest.mark.parametrize("kind", ["fp16", "fp32"])
def test_endangered_layers_are_listed_with_the_sample(kind: str, images: np.ndarray, tmp_path: Path) -> None:
    path = half(tmp_path, clipped(np.float16 if kind == "fp16" else np.float32), kind)
    (layer,) = float16_ranges(path, images)
    assert (layer.name, layer.operator, layer.largest, layer.sample, layer.overflows) == ("beyond", "mul", 78750.0, BRIGHT, True)
    assert layer.share == pytest.approx(78750 / 65504)
    # The dark images alone reach 22500, a third of the range: told, and not as an overflow.
    (layer,) = float16_ranges(path, images[:BRIGHT])
    assert (layer.name, layer.largest, layer.sample, layer.overflows) == ("beyond", 22500.0, 0, False)
    assert float16_ranges(path, images[:BRIGHT], endangered=0.5) == []
    assert [layer.name for layer in float16_ranges(path, images, endangered=0.003)] == ["far", "beyond", "back", "clipped"]


def test_an_infinite_value_is_unavailable_in_what_a_scan_says(images: np.ndarray, tmp_path: Path) -> None:
    path = half(tmp_path, lambda mb, x: mb.real_div(x=x, y=mb.mul(x=x, y=np.float16(0), name="zero"), name="infinite"))
    found = scan(path, images[:1])
    assert found.largest.name == "infinite"
    assert found.largest.overflows
    assert found.largest.share.unavailable == "the value is infinite"
    assert Float16Value.model_validate(found.largest.model_dump(mode="json")) == found.largest


def test_a_run_names_the_layer_that_overflows_and_the_image_of_val(
    images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = Run(tmp_path / "run")
    spec = ArtifactSpec("coreml", "fp16")
    # Every second of these images is run.
    val = np.repeat(images[:1], 127, axis=0)
    val[2 * BRIGHT] = images[BRIGHT]

    def exported(folder: Path) -> dict[str, Any]:
        Path(half(folder, clipped(np.float16))).rename(state.path(spec.path))
        return {}

    def programs(folder: Path) -> None:
        write_arrays(folder / "samples", {"image": val})
        (folder / "student-reference.pt2").touch()
        ports = Signature.of([TensorSpec(name="image", shape=(1, *val.shape[1:]))], [TensorSpec(name="logits", shape=(1, 12))])
        for name in ("student-reference", "student-float"):
            write_json(folder / f"{name}.signature.json", ports.model_dump(mode="json"))

    state.step(Step("programs"), programs)
    state.step(Step("export-coreml", outputs=(spec.path,)), exported)
    monkeypatch.setattr(ranges, "_levels", lambda *_: {"error": "not asked for"})
    ranges.scan(state, [spec])
    recorded = report.recorded(state, [spec])
    summary = {"ranges": recorded.model_dump()}
    found = summary["ranges"]["float16"][spec.name]
    assert found["samples"] == 64
    (layer,) = found["layers"]
    assert layer == found["largest"]
    assert (layer["name"], layer["operator"], layer["largest"], layer["sample"]) == ("beyond", "mul", 78750.0, 2 * BRIGHT)
    (row,) = report.float16(summary).rows
    assert [cell.text for cell in row] == [spec.name, "beyond", "mul", "78,750", "120.22%", "4", "✗ overflows"]
    line = report._float16_line(recorded.float16[spec.name])
    assert line.startswith("1 layer past a quarter of float16's range: beyond; the largest value, 78,750")
