"""A CT from hip to knee, 300 slices of 512 x 512: msk_ct as a whole, and its objects one by one.

The CT is a phantom of msk_ct (43 structures) resampled to that size. Each measurement runs in
a process of its own, whose peak memory is the kernel's (VmHWM, ru_maxrss). An object's seconds
are building and writing it; that of the app runs from start to verified results, on the CPU,
with the process started cold and its modules imported.

Run it with ``python -m tests.bench.bench_large_ct``.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian
from scipy import ndimage

from apps.msk_ct.phantom import simulate, study_of
from apps.msk_ct.results import SEGMENT_DESCRIPTIONS
from operators.encode import codes
from operators.encode.identity import SYNTHETIC, SYNTHETIC_STATEMENT, Producer
from operators.encode.parametric_map import MapStorage, build_parametric_map
from operators.encode.segmentation import SegmentationKind, build_segmentation
from operators.geometry import VolumeGeometry
from operators.phantom.ct_writer import write_ct_series
from operators.read.ct import read_ct_volume

SHAPE_ZYX = (300, 512, 512)
SEED = 4
"""A case from hip to knee without metal or truncation."""
POLL_S = 0.2
DICOM_NODE = Path(sys.executable).parent / "dicom-node"
WAYS = ("BINARY", "BINARY, deflated", "LABELMAP", "LABELMAP, deflated")
MAPS = ("INTEGER_16", "INTEGER_16, 2 x 2 pixels", "FLOAT_32")


def resampled(array_zyx: NDArray[Any], order: int) -> NDArray[Any]:
    """The array at `SHAPE_ZYX`, slice by slice so that no second copy in doubles is made."""
    slices, rows, columns = array_zyx.shape
    out = np.empty(SHAPE_ZYX, dtype=array_zyx.dtype)
    for z, at in enumerate(np.linspace(0, slices - 1, SHAPE_ZYX[0])):
        low = int(at)
        plane = array_zyx[round(float(at))]
        if order and low + 1 < slices:
            plane = (1 - (at - low)) * array_zyx[low] + (at - low) * array_zyx[low + 1]
        out[z] = ndimage.zoom(plane, (SHAPE_ZYX[1] / rows, SHAPE_ZYX[2] / columns), order=order)
    return out


def write_case(folder: Path) -> None:
    """The CT in ``ct/``, and the true segment numbers in ``segments.npy``."""
    case = simulate(SEED)
    small = case.scanner.geometry
    spacing = [
        mm * (n - 1) / (m - 1)
        for mm, n, m in zip(small.spacing_mm_zyx, small.shape_zyx, SHAPE_ZYX, strict=True)
    ]
    geometry = VolumeGeometry(
        SHAPE_ZYX, (spacing[0], spacing[1], spacing[2]), small.origin_mm_lps, small.direction_lps_zyx
    )
    write_ct_series(folder / "ct", resampled(case.hu_zyx, 1), geometry, study_of(case))
    np.save(folder / "segments.npy", resampled(case.segments_zyx, 0))


def own_peak_mb() -> float:
    """Highest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def encode(folder: Path, what: str) -> dict[str, Any]:
    """Seconds, sizes and memory of one object, in this process."""
    volume = read_ct_volume(sorted((folder / "ct").iterdir()))
    geometry, sources = volume.geometry, volume.instances
    del volume
    segments_zyx = np.load(folder / "segments.npy")
    way = build(what, segments_zyx, geometry, sources)
    before_mb = own_peak_mb()
    began = time.perf_counter()
    dataset = way()
    built = time.perf_counter()
    is_deflated = "deflated" in what or what in MAPS
    dataset.file_meta.TransferSyntaxUID = (
        DeflatedExplicitVRLittleEndian if is_deflated else ExplicitVRLittleEndian
    )
    path = folder / "made.dcm"
    dataset.save_as(path, enforce_file_format=True)
    written = time.perf_counter()
    frames = int(dcmread(path, specific_tags=["NumberOfFrames"]).NumberOfFrames)
    kind = "SEG" if what in WAYS else "map, deflated,"
    return {
        "what": f"{kind} {what}",
        "seconds": round(written - began, 1),
        "of which writing": round(written - built, 1),
        "peak_mb": round(own_peak_mb()),
        "before_mb": round(before_mb),
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "frames": frames,
    }


def build(
    what: str, segments_zyx: NDArray[np.uint8], geometry: VolumeGeometry, sources: tuple[Any, ...]
) -> Callable[[], Any]:
    """What builds the object."""
    producer = Producer(
        app="msk_ct",
        app_version="0.0.0",
        title="Benchmark",
        intended_use="A benchmark.",
        model_digest="sha256:" + "00" * 32,
        input_digest="sha256:" + "00" * 32,
        training_kind=SYNTHETIC,
        statement=SYNTHETIC_STATEMENT,
    )
    if what in WAYS:
        kind = SegmentationKind(what.partition(",")[0])
        return lambda: (
            build_segmentation(
                segments_zyx, geometry, sources, SEGMENT_DESCRIPTIONS, producer, kind=kind
            ).dataset
        )
    values_zyx = variance_like(segments_zyx)
    return lambda: (
        build_parametric_map(
            values_zyx,
            geometry,
            sources,
            quantity=codes.private("VARIANCE", "Variance"),
            unit=codes.NO_UNITS,
            label="Variance",
            producer=producer,
            storage=MapStorage(what.partition(",")[0]),
            in_plane_step=2 if "2 x 2" in what else 1,
        ).dataset
    )


def variance_like(segments_zyx: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Values as Monte Carlo dropout gives them: noisy, high at borders, small inside of muscles, else 0."""
    rng = np.random.default_rng(0)
    values = np.empty(segments_zyx.shape, dtype=np.float32)
    for z, plane in enumerate(segments_zyx[:, ::2, ::2]):
        border = (ndimage.maximum_filter(plane, 3) != ndimage.minimum_filter(plane, 3)).astype(np.float32)
        mean = 0.01 * ndimage.gaussian_filter(border, 1.2) + 1e-5 * (plane > 0)
        noisy = mean * rng.gamma(4.0, 0.25, plane.shape).astype(np.float32)
        noisy[noisy < 1e-6] = 0.0
        values[z] = noisy.repeat(2, 0).repeat(2, 1)
    return values


def analyse(folder: Path) -> dict[str, Any]:
    """Seconds and memory of ``dicom-node run msk_ct``, with the size of everything it wrote."""
    output = folder / "results"
    command = [str(DICOM_NODE), "run", "msk_ct", str(folder / "ct"), "--output", str(output)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    began = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        peaks: dict[int, float] = {}
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peaks, done))
        watcher.start()
        said, _ = process.communicate()
        done.set()
        watcher.join()
    seconds = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"msk_ct failed: {said[-2000:]}")
    objects = json.loads((output / "result.json").read_text(encoding="utf-8"))["objects"]
    own = peaks.pop(process.pid, 0.0)
    return {
        "what": f"msk_ct, CPU, {os.cpu_count()} cores",
        "seconds": round(seconds, 1),
        "of which writing": "",
        "peak_mb": round(max(peaks.values(), default=0.0)),
        "before_mb": f"(node {own:.0f})",
        "file_mb": round(sum(entry["bytes"] for entry in objects) / 1e6, 1),
        "frames": "",
    }


def _watch(pid: int, peaks: dict[int, float], done: threading.Event) -> None:
    """Keeps the peak memory of a process and its descendants, MB, as the kernel counts it."""
    while not done.wait(POLL_S):
        for one in (pid, *_descendants(pid)):
            peaks[one] = max(peaks.get(one, 0.0), _peak_mb(one))


def _descendants(pid: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:  # it has ended
        return
    for child in map(int, children):
        yield child
        yield from _descendants(child)


def _peak_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:  # it has ended
        return 0.0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024 / 1e6


def run() -> list[dict[str, Any]]:
    """The app's row, and one for each way to encode its objects."""
    with tempfile.TemporaryDirectory(prefix="bench-large-ct-", dir=os.environ.get("BENCH_DIR")) as place:
        folder = Path(place)
        write_case(folder)
        rows = [analyse(folder)]
        for what in (*WAYS, *MAPS):
            command = [sys.executable, "-m", "tests.bench.bench_large_ct", str(folder), what]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout))
    return rows


def main() -> None:
    """One object of a folder, or all rows."""
    rows = [encode(Path(sys.argv[1]), sys.argv[2])] if len(sys.argv) > 2 else run()
    sys.stdout.write("\n".join(json.dumps(row) for row in rows) + "\n")


if __name__ == "__main__":
    main()
