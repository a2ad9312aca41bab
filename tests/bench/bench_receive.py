"""Receiving: instances per second of the node, Orthanc and DCMTK's storescp, from one sender.

200 CT slices of 512 x 512, 16 bit, are sent by DCMTK's storescu on one association. The
sender's own start is part of the time. The node answers after the file and its folder are
synced; whether the others sync before they answer is theirs to say. A second table shows
the node alone with several senders at once.

Run it with ``python tests/bench/bench_receive.py``.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SLICES = 200
ROUNDS = 2
REQUIRED_PER_S = 150.0
REQUIRED_OVER_ORTHANC = 5.0
SENDERS = (1, 4, 16)

_NODE = """
import sys, threading
from pathlib import Path
from dicom_node.receive.scp import Receiver
from dicom_node.store.instances import InstanceStore
store = InstanceStore(Path(sys.argv[2]))
Receiver("BENCH", "127.0.0.1", int(sys.argv[1]), store, lambda stored: None, lambda refused: None).start()
threading.Event().wait()
"""


def make_slices(folder: Path, count: int, seed: int = 0) -> None:
    """Write CT slices of 512 x 512, 16 bit, noise; one study, one series."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    study, series = generate_uid(), generate_uid()
    for number in range(count):
        slice_ = Dataset()
        slice_.file_meta = FileMetaDataset()
        slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, generate_uid()
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study, series
        slice_.PatientName, slice_.PatientID = "PHANTOM^BENCH", "BENCH"
        slice_.StudyDate, slice_.StudyTime, slice_.StudyID = "20240101", "120000", "1"
        slice_.AccessionNumber = slice_.ReferringPhysicianName = ""
        slice_.Modality, slice_.SeriesNumber, slice_.InstanceNumber = "CT", 1, number + 1
        slice_.ImagePositionPatient, slice_.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
        slice_.PixelSpacing, slice_.SliceThickness = [0.7, 0.7], 1
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.Rows = slice_.Columns = 512
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 12, 11, 0
        slice_.PixelData = random.integers(0, 4096, (512, 512), dtype=np.uint16).tobytes()
        slice_.save_as(folder / f"{number:04}.dcm", enforce_file_format=True)


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(command: list[str], port: int) -> Iterator[None]:
    """A receiver as a process of its own, up when it answers C-ECHO."""
    echo = ["/usr/bin/echoscu", "-aec", "BENCH", "127.0.0.1", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + 60
            while subprocess.run(echo, capture_output=True, check=False).returncode != 0:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{command[0]} does not come up")
                time.sleep(0.1)
            yield
        finally:
            process.kill()


def node(port: int, folder: Path) -> list[str]:
    """Command of the node's receiver."""
    return [sys.executable, "-c", _NODE, str(port), str(folder)]


def orthanc(port: int, folder: Path) -> list[str]:
    """Command of Orthanc with its standard settings and an empty storage."""
    configuration = folder / "orthanc.json"
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomAet": "BENCH",
        "DicomPort": port,
        "HttpPort": free_port(),
        "RemoteAccessAllowed": False,
        "DicomAlwaysAllowStore": True,
        "Plugins": [],
    }
    folder.mkdir(parents=True)
    configuration.write_text(json.dumps(settings))
    return ["/usr/sbin/Orthanc", str(configuration)]


def storescp(port: int, folder: Path) -> list[str]:
    """Command of DCMTK's storescp."""
    folder.mkdir(parents=True)
    return ["/usr/bin/storescp", "-aet", "BENCH", "-od", str(folder), str(port)]


def send(port: int, folders: list[Path]) -> float:
    """Seconds that one storescu per folder takes, all at once.

    Raises:
        RuntimeError: A sender was refused or lost an instance.
    """
    began = time.perf_counter()
    senders = [
        subprocess.Popen(
            ["/usr/bin/storescu", "+sd", "-aec", "BENCH", "127.0.0.1", str(port), str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for folder in folders
    ]
    if any(sender.wait() for sender in senders):
        raise RuntimeError("an instance was not taken")
    return time.perf_counter() - began


def rate(make: Callable[[int, Path], list[str]], work: Path, folders: list[Path]) -> float:
    """Instances per second in the best of the rounds, each into an empty store.

    The best, because other work on the machine only ever takes away; all receivers alike.
    """
    count = sum(len(list(folder.iterdir())) for folder in folders)
    times = []
    for number in range(ROUNDS):
        port = free_port()
        with server(make(port, work / f"{make.__name__}-{len(folders)}-{number}"), port):
            times.append(send(port, folders))
    return count / min(times)


def run() -> list[dict[str, object]]:
    """The numbers, one row per receiver and number of senders; no requirement is checked."""
    with tempfile.TemporaryDirectory(prefix="bench-receive-", dir=os.environ.get("BENCH_DIR")) as place:
        work = Path(place)
        make_slices(work / "ct", SLICES)
        one = [work / "ct"]
        rows: list[dict[str, object]] = []
        for name, make in (
            ("dicom-node, synced", node),
            ("Orthanc", orthanc),
            ("DCMTK storescp", storescp),
        ):
            rows.append({"receiver": name, "senders": 1, "instances_per_s": rate(make, work, one)})
        for senders in SENDERS[1:]:
            folders = [work / f"ct-{senders}-{n}" for n in range(senders)]
            for seed, folder in enumerate(folders):
                make_slices(folder, SLICES // senders, seed)
            value = rate(node, work, folders)
            rows.append({"receiver": "dicom-node, synced", "senders": senders, "instances_per_s": value})
    reference = float(str(next(row["instances_per_s"] for row in rows if row["receiver"] == "Orthanc")))
    for row in rows:
        row["times_orthanc"] = float(str(row["instances_per_s"])) / reference
    return rows


def main() -> int:
    """Print the table; 1 when the node is slower than required."""
    rows = run()
    lines = [f"{'receiver':<22}{'senders':>8}{'instances/s':>13}{'x Orthanc':>11}"]
    lines += [
        f"{row['receiver']:<22}{row['senders']:>8}{row['instances_per_s']:>13.1f}{row['times_orthanc']:>11.1f}"
        for row in rows
    ]
    ours = rows[0]
    met = (
        float(str(ours["instances_per_s"])) >= REQUIRED_PER_S
        and float(str(ours["times_orthanc"])) >= REQUIRED_OVER_ORTHANC
    )
    load = os.getloadavg()[0]
    lines.append(
        f"required: {REQUIRED_PER_S:.0f}/s and {REQUIRED_OVER_ORTHANC:.0f} x: {'met' if met else 'NOT MET'}"
    )
    lines.append(f"load of the machine at the end: {load:.1f} on {os.cpu_count()} cores")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
