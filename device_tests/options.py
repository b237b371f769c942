"""What the suite is asked: which devices, which bundle, which limits; see docs/device_tests.md."""

from pathlib import Path

import pytest

MARKERS = {
    "smoke": "the device runs each artifact at all",
    "accuracy": "outputs on the device are the bundle's golden ones",
    "latency": "latency is measured, and keeps its budgets",
    "memory": "peak memory is measured, and keeps its budget",
    "battery": "the battery's sensors make sense, and energy keeps its budget",
    "thermal": "temperatures make sense, keep their budget, and nothing is throttled",
    "stress": "the device keeps up a load for some minutes, without growing memory",
    "soak": "the same for as long as --soak-minutes says",
}
_GIVE = "give --device adb:SERIAL, ssh:user@host or local, and --bundle with a bundle's folder"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("devices")
    group.addoption("--device", action="append", default=[], metavar="SPEC", help="adb:SERIAL, ssh:user@host or local; may be repeated")
    group.addoption("--bundle", type=Path, metavar="DIR", help="a bundle that `edgedistill export` wrote")
    group.addoption("--target", metavar="NAME|PATH", help="target whose budgets count; by default the bundle's own")
    group.addoption("--budget", action="append", default=[], metavar="NAME=LIMIT", help="one more budget, or another limit for one")
    group.addoption("--exact", action="store_true", help="int8 .pte and .tflite have to equal their golden outputs bit for bit")
    group.addoption("--preset", default="quick", choices=["quick", "standard", "mlperf"], help="how long and how strictly to measure")
    group.addoption("--threads", type=int, default=1, help="threads of the runtimes")
    group.addoption("--python", metavar="PATH", help="a Python on the device in place of the kit")
    group.addoption("--stress-minutes", type=float, default=1.0, help="length of the stress tests")
    group.addoption("--soak-minutes", type=float, help="length of the soak tests, which are skipped without it")


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Tests of the rigs and of the kit are not what somebody with a device wants.
    if config.getoption("--device"):
        others = [item for item in items if "lab" not in getattr(item, "fixturenames", ())]
        items[:] = [item for item in items if item not in others]
        config.hook.pytest_deselected(items=others)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "lab" not in metafunc.fixturenames:
        return
    devices, bundle = metafunc.config.getoption("--device"), metafunc.config.getoption("--bundle")
    if not devices or bundle is None:
        metafunc.parametrize("lab", [pytest.param("none", marks=pytest.mark.skip(reason=_GIVE))], indirect=True)
        if "subject" in metafunc.fixturenames:
            metafunc.parametrize("subject", [None], ids=["none"])
        return
    from device_tests.bundle import Bundle

    metafunc.parametrize("lab", devices, indirect=True, scope="session")
    if "subject" in metafunc.fixturenames:
        subjects = Bundle(bundle).subjects
        metafunc.parametrize("subject", subjects, ids=[subject.name for subject in subjects])
