"""The rigs as fixtures for every test here."""

from device_tests.rigs.plugin import phone, phone_rig  # noqa: F401
