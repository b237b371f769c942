"""Fixtures: the rigs, and `lab`, each device of --device made ready once."""

from collections.abc import Iterator

import pytest

from device_tests.options import (  # noqa: F401
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_generate_tests,
)
from device_tests.rigs.plugin import board, board_rig, phone, phone_rig  # noqa: F401


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    from device_tests.lab import Lab
    from edgedistill.measure.harness import Protocol
    from edgedistill.measure.places import place

    option = request.config.getoption
    with place(request.param, python=option("--python")) as where:
        yield Lab(where, tmp_path_factory.mktemp("lab"), Protocol(preset=option("--preset"), threads=option("--threads")))


@pytest.fixture(scope="session")
def limits(request: pytest.FixtureRequest) -> dict[str, float]:
    from device_tests.budgets import budgets
    from device_tests.bundle import Bundle

    option = request.config.getoption
    return budgets(Bundle(option("--bundle")).manifest.target.name, option("--target"), option("--budget"))
