"""What an app is asked to do: the inputs chosen by the rules, and where results go.

The node writes ``request.json`` and hands its path over; `read_request` makes the
`AnalysisJob` of it that an app's ``build_app`` receives.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ReportProgress = Callable[[str, float], None]
"""Takes what is being done, in a few words without the patient, and the share of it that is done, 0 to 1."""


def tell_nobody(_stage: str, _share: float) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, kw_only=True)
class AnalysisJob:
    """One analysis of one study by one app.

    Args:
        app: Name of the app (its folder under ``apps/``).
        app_dir: That folder.
        bundle_dir: The MONAI bundle to use: the app's own, or the site's.
        inputs: Input name of app.toml to the files of the series chosen for it,
            in no particular order. An optional input that was not found is absent.
        input_digest: ``sha256:...`` over the chosen instances. Result UIDs derive from it.
        warnings: Sentences of the rules that a reader must see with the results.
        settings: The site's settings for this app (``[route.settings]`` of node.toml).
        predecessors: SR files of the earlier analysis of this study that this one replaces.
        output_dir: Where the app writes its objects and ``result.json``.
        device: ``auto``, ``cpu`` or ``cuda``.
        node_name: Name of the node, for the device observer of the SR.
        report_progress: Told how far the analysis is, as often as the app likes.
    """

    app: str
    app_dir: Path
    bundle_dir: Path
    inputs: dict[str, list[Path]]
    input_digest: str
    output_dir: Path
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    predecessors: tuple[Path, ...] = ()
    device: str = "auto"
    node_name: str = "DICOMNODE"
    report_progress: ReportProgress = tell_nobody


def read_request(path: Path) -> AnalysisJob:
    """The job described by a ``request.json``; its paths are absolute.

    Raises:
        ValueError: A key is missing or the file is not JSON.
    """
    raw = json.loads(path.read_text(encoding="utf-8"))
    try:
        return AnalysisJob(
            app=raw["app"],
            app_dir=Path(raw["app_dir"]),
            bundle_dir=Path(raw["bundle_dir"]),
            inputs={name: [Path(p) for p in files] for name, files in raw["inputs"].items()},
            input_digest=raw["input_digest"],
            output_dir=Path(raw["output_dir"]),
            warnings=tuple(raw.get("warnings", ())),
            settings=dict(raw.get("settings", {})),
            predecessors=tuple(Path(p) for p in raw.get("predecessors", ())),
            device=raw.get("device", "auto"),
            node_name=raw.get("node_name", "DICOMNODE"),
        )
    except KeyError as missing:
        raise ValueError(f"{path.name} lacks {missing}") from missing
