"""Stands in for usbmuxd and an iPhone behind it, for pymobiledevice3: usbmuxd, lockdownd, and the services that `bench --app` uses.

`iphone_server.py SOCKET PHONE`, by a Python that has pymobiledevice3: its DTX also serves. PHONE is the folder of the phone, as in
tests/iphones, with phone.json: `values` of lockdownd, `battery`, and what is wrong. There is no TLS, as lockdownd may decide, and no
tunnel, so it tells iOS 16.
"""

import asyncio
import functools
import json
import plistlib
import struct
import sys
import zipfile
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from iphone_afc import serve_afc
from iphone_dvt import serve_dvt

LOCKDOWND = 62078
_PLIST, _RESULT_OK, _REFUSED = 8, 0, 3
_PAIR_RECORD = {"HostID": "HOST", "SystemBUID": "BUID", "HostCertificate": b"", "HostPrivateKey": b"", "DeviceCertificate": b""}
_SERVICES = {
    "com.apple.mobile.house_arrest": 1001,
    "com.apple.mobile.installation_proxy": 1002,
    "com.apple.mobile.diagnostics_relay": 1003,
    "com.apple.mobile.mobile_image_mounter": 1004,
    "com.apple.afc": 1005,
    "com.apple.instruments.remoteserver.DVTSecureSocketProxy": 1006,
}


class Phone:
    def __init__(self, folder):
        self.folder = folder

    def about(self):
        return json.loads((self.folder / "phone.json").read_text())

    def app(self, bundle):
        path = self.folder / "apps" / f"{bundle}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def documents(self, bundle):
        return self.folder / "containers" / bundle


async def read_plist(reader):
    (size,) = struct.unpack(">I", await reader.readexactly(4))
    return plistlib.loads(await reader.readexactly(size))


def write_plist(writer, value):
    data = plistlib.dumps(value)
    writer.write(struct.pack(">I", len(data)) + data)


async def serve_usbmuxd(phone, reader, writer):
    """One connection of a client: requests, until `Connect` makes it one to a service of the phone."""
    while True:
        size, _, _, tag = struct.unpack("<IIII", await reader.readexactly(16))
        request = plistlib.loads(await reader.readexactly(size - 16))
        about, kind = phone.about(), request["MessageType"]
        udid = about["values"]["UniqueDeviceID"]
        if kind == "ReadBUID":
            answer = {"BUID": "BUID"}
        elif kind == "ListDevices":
            properties = {"SerialNumber": udid, "ConnectionType": "USB", "DeviceID": 1}
            device = {"MessageType": "Attached", "DeviceID": 1, "Properties": properties}
            answer = {"DeviceList": [] if about.get("gone") else [device]}
        elif kind == "ReadPairRecord" and about.get("paired", True):
            answer = {"PairRecordData": plistlib.dumps(_PAIR_RECORD)}
        elif kind == "Connect" and not about.get("gone"):
            answer = {"MessageType": "Result", "Number": _RESULT_OK}
        else:
            answer = {"MessageType": "Result", "Number": _REFUSED}
        data = plistlib.dumps(answer)
        writer.write(struct.pack("<IIII", 16 + len(data), 1, _PLIST, tag) + data)
        await writer.drain()
        if kind == "Connect" and answer["Number"] == _RESULT_OK:
            # The number of the port has the byte order of the network.
            await serve_port(phone, struct.unpack(">H", struct.pack("<H", request["PortNumber"]))[0], reader, writer)
            return


async def serve_port(phone, port, reader, writer):
    if port == LOCKDOWND:
        await serve_lockdownd(phone, reader, writer)
        return
    serve = {1001: serve_house_arrest, 1002: serve_installation, 1003: serve_diagnostics, 1004: serve_mounter, 1006: serve_dvt}.get(port)
    if serve is None:
        (phone.folder / "media").mkdir(exist_ok=True)
        await serve_afc(phone.folder / "media", reader, writer)
    else:
        await serve(phone, reader, writer)


async def serve_lockdownd(phone, reader, writer):
    while True:
        request = await read_plist(reader)
        about, kind = phone.about(), request["Request"]
        answer = {"Request": kind}
        if kind == "QueryType":
            answer["Type"] = "com.apple.mobile.lockdown"
        elif kind == "GetValue" and request.get("Key") == "DevicePublicKey":
            answer["Value"] = public_key()
        elif kind == "GetValue":
            values = about["values"]
            answer["Value"] = values.get(request["Key"], "") if "Key" in request else values
        elif kind == "StartSession":
            answer |= {"SessionID": "1", "EnableSessionSSL": False}
        elif kind == "StartService":
            if (refusal := about.get("services", {}).get(request["Service"])) is not None:
                answer["Error"] = refusal
            elif request["Service"] in _SERVICES:
                answer |= {"Service": request["Service"], "Port": _SERVICES[request["Service"]], "EnableServiceSSL": False}
            else:
                answer["Error"] = "InvalidService"
        elif kind == "Pair":
            answer["Error"] = "PairingDialogResponsePending"
        write_plist(writer, answer)
        await writer.drain()


@functools.cache
def public_key():
    """What a computer makes its record of pairing with."""
    form = serialization.PublicFormat.PKCS1
    return rsa.generate_private_key(65537, 2048).public_key().public_bytes(serialization.Encoding.PEM, form)


async def serve_house_arrest(phone, reader, writer):
    request = await read_plist(reader)
    app = phone.app(request["Identifier"])
    if app is None or not app.get("shares", True):
        error = "ApplicationLookupFailed" if app is None else "InstallationLookupFailed"
        write_plist(writer, {"Error": error})
        await writer.drain()
        return
    write_plist(writer, {"Status": "Complete"})
    await serve_afc(phone.documents(request["Identifier"]), reader, writer, phone)


async def serve_installation(phone, reader, writer):
    while True:
        request = await read_plist(reader)
        if request["Command"] == "Lookup":
            asked = request["ClientOptions"].get("BundleIDs", [])
            found = {bundle: app for bundle in asked if (app := phone.app(bundle)) is not None}
            write_plist(writer, {"LookupResult": found, "Status": "Complete"})
        elif request["Command"] == "Install":
            install(phone, phone.folder / "media" / request["PackagePath"].lstrip("/"))
            write_plist(writer, {"Status": "Installing", "PercentComplete": 50})
            write_plist(writer, {"Status": "Complete"})
        await writer.drain()


def install(phone, package):
    with zipfile.ZipFile(package) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".app/Info.plist"))
        about = plistlib.loads(archive.read(name))
    values = {name: about[name] for name in ("CFBundleIdentifier", "CFBundleShortVersionString", "CFBundleVersion")}
    (phone.folder / "apps" / f"{about['CFBundleIdentifier']}.json").write_text(json.dumps(values))


async def serve_diagnostics(phone, reader, writer):
    while True:
        request = await read_plist(reader)
        registry = phone.about()["battery"] if request.get("EntryClass") == "IOPMPowerSource" else {}
        write_plist(writer, {"Status": "Success", "Diagnostics": {"IORegistry": registry}})
        await writer.drain()


async def serve_mounter(phone, reader, writer):
    while True:
        request = await read_plist(reader)
        assert request["Command"] == "QueryDeveloperModeStatus"
        write_plist(writer, {"DeveloperModeStatus": phone.about().get("developer_mode", True)})
        await writer.drain()


async def main():
    address, phone = sys.argv[1], Phone(Path(sys.argv[2]))

    async def serve(reader, writer):
        try:
            await serve_usbmuxd(phone, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, address)
    # The test that started it closes its end.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
