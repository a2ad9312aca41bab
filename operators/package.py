"""An app alone: the entry of a MONAI Application Package, without the node.

``python -m apps.<name>.app -i INPUT -o OUTPUT`` or, as inside of a package, with
``HOLOSCAN_INPUT_PATH`` and ``HOLOSCAN_OUTPUT_PATH``. The rules of app.toml choose the
inputs as they do in the node. Exit 0: results written. 3: refused. 1: failed. 2: wrong use.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from operators.errors import AppError, Refused
from operators.host import raise_stack_limit, seldom
from operators.job import AnalysisJob
from operators.select.choose import Taken, choose_inputs
from operators.select.digests import input_digest
from operators.select.headers import read_series
from operators.select.manifest import load_manifest

EXIT_FAILED, EXIT_REFUSED = 1, 3
NODE_NAME = "MONAIAPP"


def run_as_package(app_file: str, build_app: Callable[[AnalysisJob], Any]) -> None:
    """Run an app on a folder, and end the process with the exit code of the outcome.

    Args:
        app_file: ``__file__`` of the app's ``app.py``.
        build_app: The app's.
    """
    raise_stack_limit()
    warnings.simplefilter("ignore")  # libraries repeat the values that they warn of
    arguments = _arguments(sys.argv[1:])
    try:
        job = job_of_folder(
            Path(app_file).resolve().parent,
            arguments.input,
            arguments.output,
            arguments.model,
            arguments.device,
        )
        build_app(replace(job, report_progress=seldom(_tell))).run()
    except Refused as refused:
        sys.stderr.write(f"refused: {refused.reason}\n")
        sys.exit(EXIT_REFUSED)
    except AppError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(EXIT_FAILED)


def _tell(stage: str, share: float) -> None:
    sys.stderr.write(f"{stage}, {share:.0%}\n")


def job_of_folder(
    app_dir: Path, input_dir: Path, output_dir: Path, bundle_dir: Path | None = None, device: str = "auto"
) -> AnalysisJob:
    """The job of analysing the study in a folder.

    Args:
        app_dir: Folder of the app.
        input_dir: DICOM files, in folders or not; other files are passed over.
        output_dir: Made when missing.
        bundle_dir: The model to use instead of the app's own.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        Refused: The study is not for this app, or outside what it may be used on.
    """
    manifest = load_manifest(app_dir / "app.toml")
    series, _ = read_series(sorted(path for path in input_dir.rglob("*") if path.is_file()))
    verdict = choose_inputs(manifest, series)
    if not isinstance(verdict, Taken):
        raise Refused(verdict.reason, attribute=verdict.attribute)
    output_dir.mkdir(parents=True, exist_ok=True)
    own = app_dir / (manifest.model.bundle if manifest.model else "model")
    return AnalysisJob(
        app=app_dir.name,
        app_dir=app_dir,
        bundle_dir=bundle_dir if bundle_dir and (bundle_dir / "configs").is_dir() else own,
        inputs={name: [header.path for header in headers] for name, headers in verdict.inputs.items()},
        input_digest=input_digest(verdict.inputs),
        output_dir=output_dir,
        warnings=verdict.warnings,
        device=device,
        node_name=NODE_NAME,
    )


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for letter, name, variable in (
        ("-i", "--input", "INPUT"),
        ("-o", "--output", "OUTPUT"),
        ("-m", "--model", "MODEL"),
    ):
        value = os.environ.get(f"HOLOSCAN_{variable}_PATH")
        parser.add_argument(
            letter,
            name,
            type=Path,
            default=Path(value) if value else None,
            required=not value and name != "--model",
        )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    return parser.parse_args(argv)
