"""Sensors from files and tools that are made here, in the documented formats: units, signs, sentinels, and reasons for what is missing."""

import os
import subprocess
import sys

import pytest

from edgedistill.measure.runner.sensors import discover, ina, rapl
from edgedistill.measure.runner.sensors.base import run_tool
from edgedistill.measure.runner.sensors.battery_service import values as battery_values
from edgedistill.measure.runner.sensors.raspberry_pi import pmic
from edgedistill.measure.runner.sensors.thermal_service import values as thermal_values

THERMAL = """\
IsStatusOverride: false
Thermal Status: 1
Cached temperatures:
	Temperature{mValue=84.2, mType=0, mName=CPU, mStatus=0}
	Temperature{mValue=71.0, mType=3, mName=SKIN, mStatus=0}
HAL Ready: true
HAL connection:
	ThermalHAL AIDL 2  connected: yes
Current temperatures from HAL:
	Temperature{mValue=57.9, mType=0, mName=CPU, mStatus=0}
	Temperature{mValue=34.5, mType=3, mName=SKIN, mStatus=0}
	Temperature{mValue=29.0, mType=3, mName=TYPE_BATTERY, mStatus=0}
	Temperature{mValue=-99.9, mType=6, mName=TYPE_POWER_AMPLIFIER, mStatus=0}
	Temperature{mValue=0.0, mType=9, mName=NPU, mStatus=0}
	Temperature{mValue=NaN, mType=4, mName=usb port, mStatus=0}
Current cooling devices from HAL:
	CoolingDevice{mValue=0, mType=2, mName=cpu}
Temperature static thresholds from HAL:
	TemperatureThreshold{mType=3, mName=SKIN, mHotThrottlingThresholds=[NaN, 39.0, 43.0, 45.0, 46.5, 52.0, 55.0], \
mColdThrottlingThresholds=[NaN, NaN, NaN, NaN, NaN, NaN, NaN]}
	TemperatureThreshold{mType=3, mName=TYPE_BATTERY, mHotThrottlingThresholds=[NaN, NaN, NaN, 30.0, NaN, NaN, NaN]}
"""
BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: {usb}
  Wireless powered: false
  Dock powered: false
  Max charging current: 500000
  Charge counter: 3561000
  status: {status}
  health: 2
  present: true
  level: 81
  scale: 100
  voltage: 4161
  temperature: 287
  technology: Li-ion
  current now: -412
"""
PMIC = """\
   3V7_WL_SW_A current(0)=0.00487984A
   1V8_SYS_A current(1)=0.18787400A
   VDD_CORE_A current(7)=1.12518000A
   3V7_WL_SW_V volt(8)=3.70560000V
   VDD_CORE_V volt(15)=0.89316150V
     EXT5V_V volt(24)=5.13620000V
      BATT_V volt(25)=0.00781400V
"""


@pytest.fixture
def device(tmp_path):
    """`device(files, tools)` gives the values and units of a device by name, and the reasons for what is missing."""

    def read(files=(), tools=(), pid=1, options=None):
        for name, content in dict(files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")

        def tool(command):
            answers = dict(tools)
            if " ".join(command) not in answers:
                raise FileNotFoundError(f"{command[0]} is not installed")
            return answers[" ".join(command)]

        sources, missing = discover(pid, tmp_path, tool, options)
        values = {name: value for source in sources for name, value in source.read().items()}
        units = {name: unit for source in sources for name, unit in source.channels.items()}
        assert set(values) <= set(units)
        return values, units, {entry.name: entry.reason for entry in missing}

    return read


def supply(name, **files):
    return {f"sys/class/power_supply/{name}/{key}": value for key, value in files.items()}


def test_a_device_without_sensors_gives_reasons(device):
    values, _, missing = device()
    assert values == {}
    assert "no battery" in missing["battery"]
    assert "dumpsys is not installed" in missing["thermal.status"]
    assert {"memory.rss", "load.cpu", "frequency", "temperature", "power.pmic", "energy.rapl"} <= set(missing)


def test_zones_in_both_units_and_sentinels(device):
    zones = {"cpu-thermal": 48312, "gpu": 51, "dead": -273000, "cold": -40000, "empty": 0, "hot": 2147483647}
    files = {}
    for index, (kind, value) in enumerate(zones.items()):
        files |= {f"sys/class/thermal/thermal_zone{index}/type": kind, f"sys/class/thermal/thermal_zone{index}/temp": value}
    for index in (10, 11):
        files |= {f"sys/class/thermal/thermal_zone{index}/type": "acpitz", f"sys/class/thermal/thermal_zone{index}/temp": 38000 + index}
    values, units, missing = device(files)
    assert values == {
        "temperature.cpu-thermal": 48.312,
        "temperature.gpu": 51,
        "temperature.acpitz-10": 38.01,
        "temperature.acpitz-11": 38.011,
    }
    assert set(units.values()) == {"°C"}
    assert all("means no sensor" in missing[f"temperature.{kind}"] for kind in ("dead", "cold", "empty", "hot"))


def test_a_zone_that_may_not_be_read_gives_the_reason(device, tmp_path):
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("soc")
    _, _, missing = device()
    assert missing["temperature.soc"].endswith("temp: No such file or directory")


def test_frequencies_are_in_megahertz(device):
    values, units, _ = device(
        {"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": 1800000, "sys/devices/system/cpu/cpu10/cpufreq/scaling_cur_freq": 600000}
    )
    assert values == {"frequency.cpu0": 1800, "frequency.cpu10": 600}
    assert units["frequency.cpu0"] == "MHz"


def test_the_thermal_service_tells_current_temperatures_and_headroom(device):
    values, units, _ = device(tools={"dumpsys thermalservice": THERMAL})
    assert values.pop("thermal.headroom") == pytest.approx(1 - (45 - 34.5) / 30)
    assert values == {
        "thermal.status": 1,
        "temperature.hal.CPU": 57.9,
        "temperature.hal.SKIN": 34.5,
        "temperature.hal.TYPE_BATTERY": 29,
    }
    assert units["temperature.hal.SKIN"] == "°C"


def test_headroom_is_never_negative_and_takes_a_threshold():
    assert thermal_values(THERMAL.replace("mValue=34.5", "mValue=3.5"))["thermal.headroom"] == 0
    assert thermal_values(THERMAL.replace("mValue=34.5", "mValue=48.0"))["thermal.headroom"] == pytest.approx(1.1)
    assert "thermal.headroom" not in thermal_values(THERMAL.replace("43.0, 45.0", "43.0, NaN"))


def test_a_service_that_is_not_there_ends_with_status_0_and_is_missing(device):
    answers = {"dumpsys thermalservice": "Can't find service: thermalservice\n", "dumpsys battery": "Can't find service: battery\n"}
    values, _, missing = device(tools=answers)
    assert values == {}
    assert "Can't find service: thermalservice" in missing["thermal.status"]
    assert "Can't find service: battery" in missing["battery"]


@pytest.mark.parametrize(
    ("status", "current", "signed", "charging"),
    [("Discharging", -412000, 412000, 0), ("Discharging", 412000, 412000, 0), ("Charging", 412000, -412000, 1), ("Full", 300, None, 0)],
)
def test_the_sign_of_the_current_is_that_of_the_status(device, status, current, signed, charging):
    files = supply("BAT0", type="Battery", status=status, current_now=current, charge_now=3900000, voltage_now=3838000, capacity=88)
    values, units, _ = device(files | supply("ADP0", type="Mains", online=charging))
    assert values.pop("battery.current.raw", None) == signed
    assert values == {
        "battery.level": 88,
        "battery.charge": 3900000,
        "battery.voltage": 3838,
        "battery.charging": charging,
        "battery.usb": charging,
    }
    assert "battery.current.raw" in units, "a full battery may be discharged later"


def test_a_mouse_is_no_battery_and_energy_is_joules(device):
    mouse = supply("A-mouse", type="Battery", scope="Device", status="Discharging", capacity=5, energy_now=1)
    laptop = supply("BAT1", type="Battery", status="Discharging", capacity=50, energy_now=1000000, temp=291)
    values, units, missing = device(mouse | laptop)
    assert values == {"battery.level": 50, "battery.energy": 3.6e9, "battery.charging": 0, "battery.temperature": 29.1}
    assert units["battery.energy"] == "µJ"
    assert "battery.charge" not in missing
    assert "battery.voltage" in missing


def test_what_sysfs_hides_comes_from_the_battery_service(device):
    files = supply("battery", type="Battery", status="Discharging", capacity=80)
    values, _, _ = device(files, {"dumpsys battery": BATTERY.format(usb="true", status=3)})
    assert values == {
        "battery.level": 80,
        "battery.charging": 0,
        "battery.charge": 3561000,
        "battery.voltage": 4161,
        "battery.temperature": 28.7,
        "battery.current.raw": 412,
        "battery.usb": 1,
    }


def test_the_battery_service_in_other_states(device):
    assert battery_values(BATTERY.format(usb="false", status=2))["battery.current.raw"] == -412
    full = battery_values(BATTERY.format(usb="false", status=5))
    assert "battery.current.raw" not in full
    assert full["battery.usb"] == full["battery.charging"] == 0
    assert battery_values(BATTERY.format(usb="false", status=3).replace("4161", "4161000"))["battery.voltage"] == 4161
    assert "battery.voltage" not in battery_values(BATTERY.format(usb="false", status=3).replace("4161", "4"))
    frozen = BATTERY.format(usb="false", status=3).replace("state:\n", "state:\n  (UPDATES STOPPED -- use 'reset' to restart)\n")
    assert "stopped its updates" in device(tools={"dumpsys battery": frozen})[2]["battery"]


def test_a_raspberry_pi_tells_its_firmware_and_the_rails_that_have_a_pair(device):
    answers = {
        "vcgencmd measure_temp": "temp=48.3'C\n",
        "vcgencmd get_throttled": "throttled=0x50005\n",
        "vcgencmd pmic_read_adc": PMIC,
    }
    values, units, _ = device({"sys/class/hwmon/hwmon1/name": "rpi_volt", "sys/class/hwmon/hwmon1/in0_lcrit_alarm": 1}, answers)
    core, wireless = 1.12518 * 0.8931615, 0.00487984 * 3.7056
    assert values == {
        "temperature.firmware": 48.3,
        "throttled.firmware": 0x50005,
        "throttled.rpi_volt": 1,
        "power.pmic": pytest.approx(core + wireless),
        "power.pmic.VDD_CORE": pytest.approx(core),
        "power.pmic.3V7_WL_SW": pytest.approx(wireless),
        "voltage.pmic.EXT5V": pytest.approx(5136.2),
    }
    assert units["throttled.firmware"] == "bits"
    assert units["power.pmic"] == "W"
    with pytest.raises(ValueError, match="reported no rail"):
        pmic('error=2 error_msg="Invalid arguments"')
    assert device({"sys/devices/platform/soc/soc:firmware/get_throttled": "80008"})[0]["throttled.firmware"] == 0x80008


def test_chips_of_hwmon_by_name_and_not_what_others_show(device, tmp_path):
    chip = "sys/class/hwmon/hwmon"
    files = {f"{chip}0/name": "ina219", f"{chip}0/in0_input": 12, f"{chip}0/in1_input": 5080, f"{chip}0/curr1_input": 610}
    files |= {
        f"{chip}0/power1_input": 3100000,
        f"{chip}1/name": "coretemp",
        f"{chip}1/temp2_input": 48000,
        f"{chip}1/temp2_label": "Core 0",
    }
    files |= {f"{chip}2/name": "ina219", f"{chip}2/power1_average": 500000, f"{chip}3/name": "BAT0", f"{chip}3/in0_input": 3800}
    (tmp_path / "sys/class/power_supply").mkdir(parents=True)
    (tmp_path / f"{chip}3/device").mkdir(parents=True)
    (tmp_path / f"{chip}3/device/subsystem").symlink_to(tmp_path / "sys/class/power_supply")
    values, units, _ = device(files)
    assert values == {
        "voltage.ina219-0.in0": 12,
        "voltage.ina219-0.in1": 5080,
        "current.ina219-0": 610,
        "power.ina219-0": 3.1,
        "power.ina219-2": 0.5,
        "temperature.coretemp.Core-0": 48,
    }
    assert {units[name] for name in ("voltage.ina219-0.in0", "current.ina219-0", "power.ina219-0")} == {"mV", "mA", "W"}


def test_registers_of_power_monitors():
    def register(words):
        return words.__getitem__

    # Shunt 40 mV over 0.1 ohm, bus 12 V with the conversion-ready bit; minus 1 LSB; the data sheet of the INA260: 12 V, 10 A.
    assert ina.decode("ina219", register({0: 0x399F, 1: 4000, 2: (3000 << 3) | 2}), 0.1) == pytest.approx((0.4, 12.0))
    assert ina.decode("ina226", register({1: 0xFFFF, 2: 9584}), 0.002) == pytest.approx((-0.00125, 11.98))
    assert ina.decode("ina260", register({1: 8000, 2: 9600}), 0.002) == pytest.approx((10.0, 12.0))
    for chip, words in (("ina219", {0: 0x219F, 1: 4000}), ("ina219", {0: 0x399F, 1: 0x10000 - 32000}), ("ina226", {1: 0x7FFF})):
        with pytest.raises(ValueError, match=f"out of the range of the {chip}"):
            ina.decode(chip, register({2: 0, **words}), 0.1)


def test_power_monitors_that_the_user_names(device, tmp_path, monkeypatch):
    import fcntl

    chips = {0x40: {0: 0x399F, 1: 4000, 2: 3000 << 3}, 0x41: {1: 8000, 2: 9600, 0xFF: 0x2271}}
    state = {}
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/i2c-1").touch()
    monkeypatch.setattr(fcntl, "ioctl", lambda handle, request, address: state.update(address=address))
    monkeypatch.setattr(os, "write", lambda handle, data: state.update(pointer=data[0]))
    monkeypatch.setattr(os, "read", lambda handle, count: chips[state["address"]][state["pointer"]].to_bytes(2, "big"))
    entries = [
        {"chip": "ina219", "bus": 1, "address": 0x40, "shunt_ohm": 0.1, "name": "board"},
        {"chip": "ina260", "bus": 1, "address": 0x41},
        {"chip": "ina226", "bus": 1, "address": 0x41, "shunt_ohm": 0.1, "name": "wrong"},
        {"chip": "ina219", "bus": 7, "address": 0x40, "shunt_ohm": 0.1, "name": "nowhere"},
        {"chip": "ina219", "bus": 1, "address": 0x40, "name": "shuntless"},
    ]
    values, units, missing = device(options={"ina": entries})
    assert values["power.board"] == pytest.approx(4.8)
    assert values["current.ina260"] == pytest.approx(10000)
    assert units["voltage.ina260"] == "mV"
    assert "expected die 0x2260, found 0x2271" in missing["power.wrong"]
    assert "i2c-7: No such file" in missing["power.nowhere"]
    assert "no 'shunt_ohm'" in missing["power.shuntless"]


def test_energy_counters_wrap_around(device, tmp_path):
    zone = "sys/class/powercap/intel-rapl:0"
    files = {f"{zone}/name": "package-0", f"{zone}/energy_uj": 900, f"{zone}/max_energy_range_uj": 1000}
    values, units, _ = device(files)
    assert values == {"energy.rapl.package-0": 0}
    assert units == {"energy.rapl.package-0": "µJ"}
    read = rapl.counter(tmp_path / zone)
    counted = []
    for energy in (900, 950, 30, 40):
        (tmp_path / zone / "energy_uj").write_text(str(energy))
        counted.append(read())
    assert counted == [0, 50, 130, 140]


def test_memory_of_a_process_and_its_children(device):
    files = {}
    for pid, children, rss in ((1, "2 3", 4000), (2, "", 300), (3, "", 20)):
        status = f"VmHWM:\t{rss * 2} kB\nVmRSS:\t{rss} kB\nVmSwap:\t0 kB"
        files |= {f"proc/{pid}/status": status, f"proc/{pid}/task/{pid}/children": children}
        files |= {f"proc/{pid}/smaps_rollup": f"55d0-7ffc ---p 0 00:00 0 [rollup]\nRss: {rss} kB\nPss: {rss // 2} kB"}
    values, units, _ = device(files)
    assert values == {"memory.rss": 4320 * 1024, "memory.hwm": 8640 * 1024, "memory.swap": 0, "memory.pss": 2160 * 1024}
    assert set(units.values()) == {"bytes"} | {units[name] for name in units if name.startswith("load")}


def test_load_of_the_machine_and_of_others(tmp_path):
    def write(busy, idle, mine):
        (tmp_path / "proc/1").mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc/stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n")
        (tmp_path / "proc/1/stat").write_text(f"1 (a ) b) R 0 1 1 0 -1 0 0 0 0 0 {mine} 0 0 0\n")

    write(1000, 1000, 500)
    sources, _ = discover(1, tmp_path, lambda command: "")
    source = next(source for source in sources if "load.cpu" in source.channels)
    write(1060, 1040, 540)
    assert source.read() == {"load.cpu": pytest.approx(0.6), "load.others": pytest.approx(0.2)}


def test_tools_that_fail_say_why():
    assert run_tool(["echo", "hello"]) == "hello\n"
    with pytest.raises(OSError, match="exit status 3: worse"):
        run_tool(["sh", "-c", "echo worse >&2; exit 3"])
    with pytest.raises(FileNotFoundError, match="no-such-tool is not installed"):
        run_tool(["no-such-tool"])


def test_the_sampling_process_stays_small():
    command = "import sys; import edgedistill.measure.runner.sampler; print(sorted({'numpy', 'psutil', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", command], capture_output=True, text=True).stdout == "[]\n"
