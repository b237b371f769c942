"""What the phone says about itself: properties, dumpsys and sysfs, as files that can be changed while it runs."""

import os
from pathlib import Path

PROPERTIES = {
    "ro.product.manufacturer": "EdgeRig",
    "ro.product.brand": "edgerig",
    "ro.product.model": "Rig phone",
    "ro.product.device": "rigphone",
    "ro.product.name": "rigphone",
    "ro.soc.manufacturer": "EdgeRig",
    "ro.soc.model": "host CPU",
    "ro.hardware": "rig",
    # It runs this machine's programs, and says so as Android's emulators do.
    "ro.kernel.qemu": "1",
    "ro.boot.qemu": "1",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.build.type": "user",
    "ro.build.fingerprint": "edgerig/rigphone/rigphone:14/RIG/1:user/release-keys",
    "sys.boot_completed": "1",
}
ABI = {"amd64": "x86_64", "arm64": "arm64-v8a"}
_STATUS = {1: "Unknown", 2: "Charging", 3: "Discharging", 4: "Not charging", 5: "Full"}
_BATTERY = "class/power_supply/battery"
_SKIN = "class/thermal/thermal_zone0"
_CPU = "class/thermal/thermal_zone1"


class PhoneState:
    """The files under `folder`: sys is the phone's /sys, rig what getprop and dumpsys read."""

    def __init__(self, folder: Path, architecture: str) -> None:
        self.sys = folder / "sys"
        self.rig = folder / "rig"
        (self.rig / "dumpsys").mkdir(parents=True)
        self.sys.mkdir(parents=True)
        self.architecture = architecture
        self.reset()

    def reset(self) -> None:
        """Go back to a phone at rest: on battery, cool, screen on, with the permissions that Android's shell user usually has."""
        architecture, cores = self.architecture, os.cpu_count() or 1
        for installed in (self.rig / "dumpsys").glob("package.*"):
            installed.unlink()
        self.properties(**PROPERTIES | {"ro.product.cpu.abi": ABI[architecture], "ro.product.cpu.abilist": ABI[architecture]})
        self.battery()
        self.thermal()
        self.screen(True)
        self.doze("ACTIVE")
        self.dump("window", "  mDreamingLockscreen=false\n")
        for index in range(cores):
            self._cpu(index, big=index >= cores // 2)
        self.governor(writable=False)
        for name in ("possible", "present", "online"):
            self.sysfs(f"devices/system/cpu/{name}", f"0-{cores - 1}" if cores > 1 else "0")
        # What Android's shell user usually may not read.
        for path in (*(f"{_BATTERY}/{name}" for name in ("current_now", "voltage_now", "charge_counter", "temp")), f"{_SKIN}/temp"):
            self.readable(path, False)

    def properties(self, **values: str) -> None:
        """Replace all that getprop tells."""
        write(self.rig / "props", "".join(f"{name}={value}\n" for name, value in values.items()))

    def dump(self, service: str, text: str) -> None:
        """What `dumpsys SERVICE` prints."""
        write(self.rig / "dumpsys" / service, text)

    def sysfs(self, path: str, value: object) -> None:
        """Set a file of the phone's /sys; its mode stays."""
        write(self.sys / path, f"{value}\n")

    def readable(self, path: str, allowed: bool) -> None:
        """Whether the phone's shell user may read a file of its /sys."""
        (self.sys / path).chmod(0o444 if allowed else 0o400)

    def governor(self, *, writable: bool) -> None:
        """Whether the phone's shell user may set the governors of its cores."""
        for file in self.sys.glob("devices/system/cpu/cpu*/cpufreq/scaling_governor"):
            file.chmod(0o666 if writable else 0o644)

    def battery(
        self,
        level: int = 81,
        *,
        status: int = 3,
        usb: bool = False,
        charge_counter_uah: int | None = 3561000,
        current_ua: int = -312500,
        voltage_mv: int = 4161,
        temperature: float = 28.7,
    ) -> None:
        """Set the battery. status: 2 charging, 3 discharging, 4 not charging, 5 full; current as the kernel of this phone signs it; °C."""
        counter = "" if charge_counter_uah is None else f"  Charge counter: {charge_counter_uah}\n"
        self.dump(
            "battery",
            f"""Current Battery Service state:
  AC powered: false
  USB powered: {str(usb).lower()}
  Wireless powered: false
  Dock powered: false
  Max charging current: {500000 if usb else 0}
  Max charging voltage: {5000000 if usb else 0}
{counter}  status: {status}
  health: 2
  present: true
  level: {level}
  scale: 100
  voltage: {voltage_mv}
  temperature: {round(temperature * 10)}
  technology: Li-ion
""",
        )
        values = {
            "type": "Battery", "present": 1, "capacity": level, "status": _STATUS[status], "current_now": current_ua,
            "voltage_now": voltage_mv * 1000, "charge_counter": charge_counter_uah or 0, "temp": round(temperature * 10),
        }  # fmt: skip
        for name, value in values.items():
            self.sysfs(f"{_BATTERY}/{name}", value)
        self.sysfs("class/power_supply/usb/type", "USB")
        self.sysfs("class/power_supply/usb/online", int(usb))

    def thermal(self, skin_c: float = 31.25, *, cpu_c: float = 38.0, status: int = 0, thresholds: bool = True) -> None:
        """Set the temperatures; status: 0 none to 6 shutdown; thresholds: whether the phone tells its own."""
        hot = "Temperature static thresholds from HAL:\n\tTemperatureThreshold{mType=3, mName=VIRTUAL-SKIN, " + (
            "mHotThrottlingThresholds=[NaN, 39.0, 41.0, 43.0, 45.0, 47.0, 55.0], "
            "mColdThrottlingThresholds=[NaN, NaN, NaN, NaN, NaN, NaN, NaN]}\n"
        )
        self.dump(
            "thermalservice",
            f"""IsStatusOverride: false
ThermalEventListeners:
	callbacks: 2
	killed: false
	broadcasts count: -1
ThermalStatusListeners:
	callbacks: 1
	killed: false
	broadcasts count: -1
Thermal Status: {status}
Cached temperatures:
	Temperature{{mValue=20.0, mType=3, mName=VIRTUAL-SKIN, mStatus=0}}
HAL Ready: true
HAL connection:
	ThermalHAL AIDL 1  connected: yes
Current temperatures from HAL:
	Temperature{{mValue={skin_c}, mType=3, mName=VIRTUAL-SKIN, mStatus={status}}}
	Temperature{{mValue={cpu_c}, mType=0, mName=cpu-0-0, mStatus=0}}
	Temperature{{mValue=0.0, mType=9, mName=TPU, mStatus=0}}
Current cooling devices from HAL:
	CoolingDevice{{mValue=0, mType=2, mName=thermal-cpufreq-0}}
{hot if thresholds else ""}""",
        )
        for zone, name, value in ((_SKIN, "VIRTUAL-SKIN", skin_c), (_CPU, "cpu-0-0", cpu_c)):
            self.sysfs(f"{zone}/type", name)
            self.sysfs(f"{zone}/temp", round(value * 1000))

    def screen(self, on: bool) -> None:
        """Whether the screen is on, as `dumpsys power` and `dumpsys display` tell."""
        word = "ON" if on else "OFF"
        self.dump("power", f"POWER MANAGER (dumpsys power)\n  mWakefulness={'Awake' if on else 'Asleep'}\n  Display Power: state={word}\n")
        self.dump("display", f"DISPLAY MANAGER (dumpsys display)\n  mScreenState={word}\n")

    def doze(self, deep: str) -> None:
        """Doze's deep state: ACTIVE, or IDLE while the phone sleeps."""
        self.dump("deviceidle", f"  mLightState={'ACTIVE' if deep == 'ACTIVE' else 'IDLE'}\n  mState={deep}\n")
        self.dump("deviceidle.get.deep", f"{deep}\n")
        self.dump("deviceidle.get.light", f"{'ACTIVE' if deep == 'ACTIVE' else 'IDLE'}\n")

    def _cpu(self, index: int, *, big: bool) -> None:
        values = {
            "scaling_governor": "schedutil", "scaling_available_governors": "schedutil performance powersave", "scaling_cur_freq": 1200000,
            "cpuinfo_min_freq": 300000, "cpuinfo_max_freq": 2914000 if big else 1704000, "scaling_min_freq": 300000,
            "scaling_max_freq": 2914000 if big else 1704000,
        }  # fmt: skip
        for name, value in values.items():
            self.sysfs(f"devices/system/cpu/cpu{index}/cpufreq/{name}", value)
        self.sysfs(f"devices/system/cpu/cpu{index}/cpu_capacity", 1024 if big else 280)


def write(path: Path, text: str) -> None:
    """Set a file that another process may be reading: in place, as sysfs does, so that open files and modes stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(descriptor, text.encode(), 0)
        os.ftruncate(descriptor, len(text.encode()))
    finally:
        os.close(descriptor)
