"""The rigs as fixtures for every test here."""

from device_tests.rigs.plugin import board, board_rig, phone, phone_rig  # noqa: F401
