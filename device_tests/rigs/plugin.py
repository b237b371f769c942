"""Fixtures `phone` and `board`: rigs that are started once a session, and are as new for each test.

Use: `from device_tests.rigs.plugin import board, phone  # noqa: F401` in a conftest.py. Where a rig cannot be built, the tests that want
it are skipped with the reason.
"""

from collections.abc import Iterator

import pytest

from device_tests.rigs.debian import RigUnavailable
from device_tests.rigs.phone import Phone


@pytest.fixture(scope="session")
def phone_rig() -> Iterator[Phone]:
    try:
        phone = Phone()
    except RigUnavailable as why:
        pytest.skip(f"no phone rig: {why}")
    with phone:
        yield phone


@pytest.fixture
def phone(phone_rig: Phone) -> Phone:
    """A phone behind adb; see device_tests.rigs.phone."""
    phone_rig.reset()
    return phone_rig
