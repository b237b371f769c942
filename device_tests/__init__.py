"""Tests on devices, real ones and rigs. See docs/device_tests.md."""
