"""A real Orthanc for a test: Debian's, with its DICOMweb plugin, on free ports and a folder of its own.

::

    server = start_orthanc(tmp_path)          # any key of orthanc.json as keyword
    ...
    server.stop()
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

PLUGINS = Path("/usr/share/orthanc/plugins")
START_TIMEOUT_S = 60.0
NEVER_CHANCE = range(20_000, 32_000)
"""Below Linux's range for connections that go out (net.ipv4.ip_local_port_range, from 32768)."""
_given: set[int] = set()


def free_port() -> int:
    """A TCP port of this machine that nobody listens on, and that no connection is given by chance.

    One that the kernel chooses (port 0) is of the range from which connections that go out get
    theirs, and may be taken before a server listens on it.
    """
    for port in random.sample(NEVER_CHANCE, len(NEVER_CHANCE)):
        with socket.socket() as probe:
            if port not in _given and probe.connect_ex(("127.0.0.1", port)) != 0:
                _given.add(port)
                return port
    raise OSError("no port is free")


def find_program(name: str) -> str:
    """The path of a Debian program; a missing one fails the test, it never skips it."""
    for folder in ("/usr/sbin", "/usr/bin"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise FileNotFoundError(f"{name} is not installed: `make setup` as root installs it")


@dataclass(frozen=True)
class OrthancServer:
    """A running Orthanc."""

    ae_title: str
    dicom_port: int
    http_url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def dicomweb_url(self) -> str:
        """Root of its DICOMweb service."""
        return f"{self.http_url}/dicom-web"

    def get(self, path: str) -> Any:
        """The JSON that its REST interface answers."""
        return httpx.get(f"{self.http_url}{path}", timeout=30, trust_env=False).raise_for_status().json()

    def instances(self) -> list[dict[str, Any]]:
        """Main tags of every instance it holds."""
        found = self.get("/instances?expand")
        return [instance["MainDicomTags"] for instance in found]

    def sop_instance_uids(self) -> list[str]:
        """SOP Instance UIDs that it holds, sorted."""
        return sorted(tags["SOPInstanceUID"] for tags in self.instances())

    def stop(self) -> None:
        """Ends the server and waits for it."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=20)


def start_orthanc(folder: Path, **overrides: Any) -> OrthancServer:
    """Starts an Orthanc that keeps its files below ``folder`` and waits until it answers.

    Args:
        folder: For its configuration, database and log; a sub-folder ``orthanc`` is made.
        **overrides: Keys of orthanc.json, e.g. ``DicomAet="PACS"``,
            ``DicomModalities={"node": ["DICOMNODE", "127.0.0.1", 11112]}``.
    """
    program = find_program("Orthanc")
    home = folder / "orthanc"
    home.mkdir(parents=True, exist_ok=True)
    for attempt in range(3):  # another process may take a port between looking and listening
        config = _configuration(home, overrides)
        config_file = home / "orthanc.json"
        config_file.write_text(json.dumps(config, indent=1), encoding="utf-8")
        log = home / f"orthanc_{attempt}.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(  # the program's path is a constant
                [program, "--verbose", str(config_file)], stdout=sink, stderr=subprocess.STDOUT
            )
        server = OrthancServer(
            str(config["DicomAet"]),
            int(config["DicomPort"]),
            f"http://127.0.0.1:{config['HttpPort']}",
            process,
            log,
        )
        if _wait_until_ready(server):
            return server
        server.stop()
    raise RuntimeError(f"Orthanc did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _configuration(home: Path, overrides: dict[str, Any]) -> dict[str, Any]:
    plugin = PLUGINS / "libOrthancDicomWeb.so"
    if not plugin.exists():
        raise FileNotFoundError("orthanc-dicomweb is not installed: `make setup` as root installs it")
    config: dict[str, Any] = {
        "Name": "test",
        "StorageDirectory": str(home / "storage"),
        "IndexDirectory": str(home / "storage"),
        "DicomAet": "ORTHANC",
        "DicomPort": free_port(),
        "HttpPort": free_port(),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "OverwriteInstances": False,
        "StableAge": 1,
        "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    return config | overrides


def _wait_until_ready(server: OrthancServer) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if httpx.get(f"{server.http_url}/system", timeout=2, trust_env=False).status_code in (200, 401):
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    return False
