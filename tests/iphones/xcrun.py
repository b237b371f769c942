"""A stand-in for Xcode's `xcrun devicectl`: one iPhone, which is the folder IPHONE, answered for in devicectl's JSON.

The forms of the answers are those that devicectl writes (version 5 of its JSON), as far as public records of them go. In the folder:
device.json, apps/BUNDLE.json, containers/BUNDLE/Documents, pids/BUNDLE, calls (each command line), and failures.json: what a command
answers instead, by its words: [how many times, the text].
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PHONE = Path(os.environ["IPHONE"])


def main():
    words = sys.argv[1:]
    if words == ["--find", "devicectl"]:
        print("/usr/bin/devicectl")
        return 0
    with open(PHONE / "calls", "a") as calls:
        calls.write(json.dumps(words) + "\n")
    assert words.pop(0) == "devicectl"
    group = words[: 2 if words[0] == "list" else 3]
    options, rest = parsed(words[len(group) :])
    answer, name = Path(options["json-output"]), " ".join(group)
    if (text := failure(name)) is not None:
        return failed(answer, name, 1, text)
    phone = json.loads((PHONE / "device.json").read_text())
    if group[0] != "list" and options["device"] != phone["properties"]["hardware"]["udid"]:
        return failed(answer, name, 1000, f"The specified device was not found. (Name: {options['device']})")
    try:
        result = COMMANDS[name](phone, options, rest)
    except Refused as refusal:
        return failed(answer, name, refusal.args[0], *refusal.args[1:])
    info = {"commandType": f"devicectl.{name.replace(' ', '.')}", "jsonVersion": 5, "outcome": "success"}
    answer.write_text(json.dumps({"info": info, "result": result}))
    print("what is printed is for people")
    return 0


class Refused(Exception):
    pass


def parsed(words):
    """Options until the first word that is none; what follows it belongs to the app."""
    options, flags = {}, {"--terminate-existing", "--kill", "--include-all-apps"}
    while words and words[0].startswith("--"):
        name = words.pop(0)
        options[name[2:]] = True if name in flags else words.pop(0)
    return options, words


def failure(name):
    path = PHONE / "failures.json"
    failures = json.loads(path.read_text()) if path.exists() else {}
    left, text = failures.get(name, (0, ""))
    if not left:
        return None
    failures[name] = (left - 1, text)
    path.write_text(json.dumps(failures))
    return text


def failed(answer, name, code, text, below=None):
    about = {"NSLocalizedDescription": {"string": text}}
    if below is not None:
        about["NSUnderlyingError"] = {"error": {"code": 1, "domain": "x", "userInfo": {"NSLocalizedFailureReason": {"string": below}}}}
    error = {"code": code, "domain": "com.apple.dt.CoreDeviceError", "userInfo": about}
    info = {"commandType": name, "jsonVersion": 5, "outcome": "failed"}
    answer.write_text(json.dumps({"error": error, "info": info}))
    print(f"ERROR: {text} (com.apple.dt.CoreDeviceError error {code})", file=sys.stderr)
    return 1


def devices(phone, options, rest):
    simulator = json.loads(json.dumps(phone))
    simulator["identifier"], simulator["properties"]["hardware"]["udid"] = "SIM", "11111111-2222-3333-4444-555555555555"
    simulator["properties"]["hardware"]["reality"] = "simulated"
    watch = {"identifier": "W", "properties": {"hardware": {"udid": "00008301-AAAA", "platform": "watchOS"}}}
    return {"devices": [phone, simulator, watch]}


def lock_state(phone, options, rest):
    return {"deviceIdentifier": phone["identifier"], "passcodeRequired": (PHONE / "locked").exists(), "unlockedSinceBoot": True}


def folder(bundle):
    return f"/private/var/containers/Bundle/Application/AAAA/{bundle.rpartition('.')[2]} 1.app"


def apps(phone, options, rest):
    path = PHONE / "apps" / f"{options['bundle-id']}.json"
    if not path.exists():
        return {"apps": []}
    url = "file://" + folder(options["bundle-id"]).replace(" ", "%20") + "/"
    return {"apps": [{"bundleIdentifier": options["bundle-id"], "url": url, **json.loads(path.read_text())}]}


def alive(path):
    try:
        with open(f"/proc/{path.read_text()}/stat") as handle:
            return handle.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def processes(phone, options, rest):
    found = [{"processIdentifier": 1, "executable": "file:///sbin/launchd"}, {"processIdentifier": 77}]
    for path in (PHONE / "pids").iterdir():
        url = "file://" + folder(path.name).removeprefix("/private").replace(" ", "%20")
        # An extension has a process of its own.
        found.append({"processIdentifier": 99, "executable": f"{url}/PlugIns/Widget.appex/Widget"})
        if alive(path):
            found.append({"processIdentifier": int(path.read_text()), "executable": f"{url}/Sample"})
    return {"runningProcesses": found}


def launch(phone, options, rest):
    (bundle,) = rest
    if (PHONE / "locked").exists():
        reason = f'Locked ("Unable to launch {bundle} because the device was not, or could not be, unlocked").'
        raise Refused(10002, "The application failed to launch.", f"The request was denied for reason: {reason}")
    if not (PHONE / "apps" / f"{bundle}.json").exists():
        raise Refused(10002, "The application failed to launch.")
    given = json.loads(options["environment-variables"])
    program = [sys.executable, str(HERE / "measuring.py"), str(PHONE), bundle]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(program, env={**os.environ, **given}, start_new_session=True, **quiet)
    (PHONE / "pids" / bundle).write_text(str(process.pid))
    return {"process": {"processIdentifier": process.pid, "executable": f"file://{folder(bundle)}/Sample"}}


def terminate(phone, options, rest):
    os.kill(int(options["pid"]), signal.SIGKILL if options.get("kill") else signal.SIGTERM)
    return {"process": {"processIdentifier": int(options["pid"])}}


def within(options, path):
    assert options["domain-type"] == "appDataContainer"
    return PHONE / "containers" / options["domain-identifier"] / path


def copy_from(phone, options, rest):
    source = within(options, options["source"])
    if not source.is_file():
        raise Refused(
            7000, "The operation couldn’t be completed.", f"The file “{source.name}” couldn’t be opened because there is no such file."
        )
    shutil.copyfile(source, options["destination"])
    return {"files": []}


def copy_to(phone, options, rest):
    target = within(options, options["destination"])
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(options["source"], target)
    return {"files": []}


def install(phone, options, rest):
    (package,) = rest
    import plistlib

    about = plistlib.loads((Path(package) / "Info.plist").read_bytes())
    values = {"version": about["CFBundleShortVersionString"], "bundleVersion": about["CFBundleVersion"], "builtByDeveloper": True}
    (PHONE / "apps" / f"{about['CFBundleIdentifier']}.json").write_text(json.dumps(values))
    return {"installedApplications": []}


COMMANDS = {
    "list devices": devices,
    "device info details": lambda phone, options, rest: phone,
    "device info lockState": lock_state,
    "device info apps": apps,
    "device info processes": processes,
    "device process launch": launch,
    "device process terminate": terminate,
    "device copy from": copy_from,
    "device copy to": copy_to,
    "device install app": install,
}

if __name__ == "__main__":
    sys.exit(main())
