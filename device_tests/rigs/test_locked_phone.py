import time

from device_tests.rigs.locked_phone import LockedPhone
from device_tests.rigs.phone import Phone


def test_a_locked_phone_is_listed_as_unauthorized(phone: Phone) -> None:
    with LockedPhone() as locked:
        phone.server.adb("connect", locked.serial)
        deadline = time.monotonic() + 10
        while f"{locked.serial}\tunauthorized" not in (listed := phone.server.adb("devices").stdout):
            assert time.monotonic() < deadline, listed
            time.sleep(0.1)
        done = phone.server.adb("-s", locked.serial, "shell", "true")
        assert done.returncode
        assert "unauthorized" in done.stderr
        phone.server.adb("disconnect", locked.serial)
    assert phone.sh("echo up") == "up\n"
