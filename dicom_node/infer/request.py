"""What the app's process is told: ``request.json``, read there by `operators.job.read_request`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_request(
    folder: Path,
    *,
    app: str,
    app_dir: Path,
    bundle_dir: Path,
    inputs: Mapping[str, Sequence[Path]],
    input_digest: str,
    warnings: Sequence[str],
    settings: Mapping[str, Any],
    predecessors: Sequence[Path],
    device: str,
    node_name: str,
) -> Path:
    """Write ``request.json`` into a folder, whose ``output`` will hold the results.

    Returns:
        Path of the request.
    """
    output = folder / "output"
    output.mkdir(parents=True, exist_ok=True)
    request = {
        "app": app,
        "app_dir": str(app_dir),
        "bundle_dir": str(bundle_dir),
        "inputs": {name: [str(path) for path in files] for name, files in inputs.items()},
        "input_digest": input_digest,
        "warnings": list(warnings),
        "settings": dict(settings),
        "predecessors": [str(path) for path in predecessors],
        "device": device,
        "node_name": node_name,
        "output_dir": str(output),
    }
    path = folder / "request.json"
    path.write_text(json.dumps(request, indent=1, ensure_ascii=False, default=str), encoding="utf-8")
    return path
