"""Reads what a device is and what can be measured on it, by one shell script; nothing has to be installed on the device."""

import re
from typing import Literal

from edgedistill.measure.devices.base import Device
from edgedistill.records import Unavailable
from edgedistill.records.devices import Battery, Core, DeviceFacts

# Prints a line `key=value` for each fact; a key of a list is repeated. It runs in mksh with toybox and in dash with coreutils or busybox.
_SCRIPT = r"""
say() { [ -n "$2" ] && echo "$1=$2"; }
first() { cat "$1" 2>/dev/null | tr '\0' ' ' | head -n 1; }
say machine "$(uname -m)"; say kernel "$(uname -sr)"; say boot "$(first /proc/sys/kernel/random/boot_id)"
say uptime "$(cut -d' ' -f1 /proc/uptime)"; say user "$(id -un 2>/dev/null)"
if command -v getprop >/dev/null 2>&1; then
  for p in product.manufacturer product.model soc.manufacturer soc.model board.platform product.cpu.abi build.version.release \
    build.version.sdk kernel.qemu boot.qemu hardware; do say "ro.$p" "$(getprop ro.$p)"; done
fi
say device_tree "$(first /proc/device-tree/model)"; say compatible "$(first /proc/device-tree/compatible)"
say dmi_vendor "$(first /sys/class/dmi/id/sys_vendor)"; say dmi_product "$(first /sys/class/dmi/id/product_name)"
[ -d /sys/firmware/qemu_fw_cfg ] && say qemu fw_cfg
for f in /sys/bus/acpi/devices/QEMU0002:*; do [ -e "$f" ] && say qemu "$f"; done
grep -m1 -w hypervisor /proc/cpuinfo >/dev/null 2>&1 && say hypervisor yes
[ -r /etc/os-release ] && (. /etc/os-release; say os "$PRETTY_NAME")
say cpu "$(grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //')"; say hardware "$(grep -m1 '^Hardware' /proc/cpuinfo | sed 's/.*: //')"
grep '^CPU part' /proc/cpuinfo | sort | uniq -c | while read -r n x y z part; do echo "part=$n $part"; done
grep MemTotal /proc/meminfo | while read -r k v u; do say memory_kb "$v"; done
for c in /sys/devices/system/cpu/cpu[0-9]*; do
  echo "core=${c##*cpu} $(first $c/cpufreq/cpuinfo_max_freq)"
done
readable() { for f in "$@"; do if [ -r "$f" ] && cat "$f" >/dev/null 2>&1; then echo yes; return; fi; done
  for f in "$@"; do [ -e "$f" ] && { echo denied; return; }; done; echo absent; }
say can.frequency "$(readable /sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq)"
say can.governor "$(for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do [ -w $f ] && echo yes; done | head -n 1)"
say governor "$(first /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor)"
say can.thermal_zone "$(readable /sys/class/thermal/thermal_zone*/temp)"
say can.power_supply "$(readable /sys/class/power_supply/*/capacity)"
for s in /sys/class/power_supply/*; do
  [ "$(first $s/type)" = Battery ] && say battery "$(first $s/capacity) $(first $s/status)"
done
say can.hwmon_temp "$(readable /sys/class/hwmon/hwmon*/temp*_input)"
say can.hwmon_power "$(readable /sys/class/hwmon/hwmon*/power*_input /sys/class/hwmon/hwmon*/curr*_input)"
say can.rapl "$(readable /sys/class/powercap/intel-rapl:*/energy_uj)"
command -v vcgencmd >/dev/null 2>&1 && say can.vcgencmd "$(vcgencmd get_throttled >/dev/null 2>&1 && echo yes || echo denied)"
if command -v dumpsys >/dev/null 2>&1; then
  dumpsys battery 2>/dev/null | grep -E '^ *(level|status|USB powered|AC powered):' | sed 's/^ */dumpsys.battery=/'
  dumpsys thermalservice 2>/dev/null | grep -m1 'Current temperatures from HAL' >/dev/null && say can.thermalservice yes
fi
[ -r /proc/self/smaps_rollup ] && say can.pss yes
"""
# Arm's cores by the part number of MIDR_EL1, from their technical reference manuals.
_ARM = {
    "0xd03": "Cortex-A53", "0xd04": "Cortex-A35", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76", "0xd0d": "Cortex-A77", "0xd41": "Cortex-A78", "0xd44": "Cortex-X1",
    "0xd46": "Cortex-A510",
    "0xd47": "Cortex-A710", "0xd48": "Cortex-X2", "0xd4d": "Cortex-A715", "0xd4e": "Cortex-X3",
}  # fmt: skip
_STATUS = {"1": "unknown", "2": "charging", "3": "discharging", "4": "not charging", "5": "full"}


def read(device: Device) -> DeviceFacts:
    """The facts of a device. Raises LinkLost and DeviceFailed as `device.sh` does."""
    return parse(device.sh(_SCRIPT).out, device.spec)


def parse(text: str, spec: str) -> DeviceFacts:
    """The facts of the device `spec` from the output of the script. What the device does not report is unavailable, with the reason."""
    lists: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and value.strip():
            lists.setdefault(key.strip(), []).append(value.strip())
    fact = {key: values[0] for key, values in lists.items()}
    android = "ro.build.version.release" in fact
    cores = [Core(core=int(core.split()[0]), max_mhz=_mhz(core)) for core in lists.get("core", [])]
    maker, model = fact.get("ro.product.manufacturer"), fact.get("ro.product.model")
    names = [
        " ".join(dict.fromkeys([maker or "", model])).strip() if model else None,
        fact.get("device_tree"),
        " ".join(part for part in (fact.get("dmi_vendor"), fact.get("dmi_product")) if part) or None,
    ]
    soc = " ".join(part for part in (fact.get("ro.soc.manufacturer"), fact.get("ro.soc.model") or fact.get("ro.board.platform")) if part)
    socs = [soc or None, fact.get("compatible"), fact.get("hardware"), fact.get("cpu"), _parts(lists.get("part", []))]
    release = f"Android {fact.get('ro.build.version.release')} (API {fact.get('ro.build.version.sdk', '?')})" if android else fact.get("os")
    abi = fact.get("ro.product.cpu.abi") or fact.get("machine")
    return DeviceFacts(
        spec=spec,
        model=next((name for name in names if name), None) or Unavailable(unavailable="the device does not report its model"),
        soc=next((name for name in socs if name), None) or Unavailable(unavailable="the device does not report its processor"),
        cores=sorted(cores, key=lambda core: core.core),
        memory_bytes=int(fact["memory_kb"]) * 1024 if "memory_kb" in fact else Unavailable(unavailable="/proc/meminfo is not readable"),
        os=release or Unavailable(unavailable="the device does not report its system"),
        abi=abi or Unavailable(unavailable="the device does not report its architecture"),
        machine=fact.get("machine", ""),
        kernel=fact.get("kernel", ""),
        boot=fact.get("boot"),
        user=fact.get("user"),
        governor=fact.get("governor") or Unavailable(unavailable="this system has no cpufreq"),
        battery=_battery(fact, lists.get("dumpsys.battery", [])),
        emulated=_emulated(fact),
        measurable=_measurable(fact, android),
    )


def _parts(lines: list[str]) -> str | None:
    """Arm cores by name, such as `4 x Cortex-A76`, or by number if the name is unknown."""
    pairs = [line.split() for line in lines]
    return " + ".join(f"{n} x {_ARM.get(part, f'Arm core {part}')}" for n, part in pairs) or None


def _mhz(core: str) -> float | Unavailable:
    parts = core.split()
    return int(parts[1]) / 1000 if len(parts) > 1 else Unavailable(unavailable="the core has no cpufreq")


def _battery(fact: dict[str, str], service_lines: list[str]) -> Battery | Unavailable:
    service = dict(line.split(": ", 1) for line in service_lines if ": " in line)
    if "level" in service:
        powered = [kind for kind in ("USB", "AC") if service.get(f"{kind} powered") == "true"]
        status = _STATUS.get(service.get("status", ""), "unknown")
        return Battery(level=float(service["level"]), status=status, powered_by=powered)
    if "battery" in fact:
        level, _, status = fact["battery"].partition(" ")
        return Battery(level=float(level), status=status.lower() or "unknown", powered_by=None)
    denied = fact.get("can.power_supply") == "denied"
    return Unavailable(unavailable="power_supply is not readable for this user" if denied else "it has no battery")


def _emulated(fact: dict[str, str]) -> str | None:
    """Why measurements here say nothing about a real device, or None."""
    if fact.get("ro.kernel.qemu") == "1" or fact.get("ro.boot.qemu") == "1" or fact.get("ro.hardware") in ("ranchu", "goldfish"):
        return "emulated: it says that it is an Android emulator"
    if "qemu" in fact or "QEMU" in fact.get("dmi_vendor", ""):
        return "emulated: a virtual machine of QEMU"
    abi, machine = fact.get("ro.product.cpu.abi", ""), fact.get("machine", "")
    if abi and not re.fullmatch({"aarch64": "arm64.*|armeabi.*", "x86_64": "x86.*"}.get(machine, ".*"), abi):
        return f"emulated: it says {abi}, and its kernel runs on {machine}"
    return None


def _measurable(fact: dict[str, str], android: bool) -> dict[str, Literal[True] | str]:
    """By quantity: True, or the reason why it cannot be measured."""
    denied = f"not readable for the user {fact.get('user', 'of this session')}"

    def by(*sources: str, absent: str) -> Literal[True] | str:
        states = [fact.get(f"can.{source}") for source in sources]
        return True if "yes" in states else denied if "denied" in states else absent

    zones = ("thermalservice", "thermal_zone", "hwmon_temp", "vcgencmd")
    battery = _battery(fact, ["level: 0"] if "dumpsys.battery" in fact else [])
    no_governor = "only root may set it" if "governor" in fact else "this kernel has no cpufreq"
    return {
        "memory": True,
        "PSS": True if fact.get("can.pss") == "yes" else "this kernel has no smaps_rollup",
        "frequency": by("frequency", absent="this kernel has no cpufreq"),
        "governor": True if fact.get("can.governor") == "yes" else no_governor,
        "temperature": by(*zones, absent="no thermal zone, hwmon chip or thermal service"),
        "headroom": True if fact.get("can.thermalservice") == "yes" else "Android's thermal service only" if not android else denied,
        "battery": True if isinstance(battery, Battery) else battery.unavailable,
        "power": by("hwmon_power", "rapl", "vcgencmd", absent="no power monitor; the battery's charge counter is used where there is one"),
        "throttling bits": by("vcgencmd", absent="Raspberry Pi only"),
    }
