"""Fixtures `phone` and `board`: rigs that are started once a session, and are as new for each test.

A conftest.py that imports all four names below has them. Where a rig cannot be built, the tests that want it are skipped with the reason.
"""

from collections.abc import Iterator

import pytest

from device_tests.rigs.board import Board
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


@pytest.fixture(scope="session")
def board_rig() -> Iterator[Board]:
    try:
        board = Board()
    except RigUnavailable as why:
        pytest.skip(f"no board rig: {why}")
    with board:
        yield board


@pytest.fixture
def board(board_rig: Board) -> Board:
    """A board behind ssh; see device_tests.rigs.board."""
    board_rig.reset()
    return board_rig
