"""One app on files, without any network or ledger: ``dicom-node run``.

The same rules, process and verification as in the running node.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dicom_node import __version__
from dicom_node.analysis import verify_output
from dicom_node.catalog import App, find_app
from dicom_node.errors import Misconfigured, NotForThisApp, OutsideEnvelope, Refused
from dicom_node.infer.newest import OnProgress
from dicom_node.infer.process import AppProcess
from dicom_node.infer.request import write_request
from dicom_node.route import AppVerdict, Decision, route_study
from operators.select.digests import settings_digest
from operators.select.headers import SeriesHeaders, UnreadableInstance, read_series


def run_on_files(
    app_name: str,
    paths: Sequence[Path],
    output: Path,
    *,
    device: str = "auto",
    bundle: Path | None = None,
    settings: Path | None = None,
    app_roots: Sequence[Path] = (),
    on_progress: OnProgress = lambda _stage, _share: None,
) -> str:
    """Analyse the one study in these files or folders and write its results into a folder.

    Args:
        app_name: Which app.
        paths: Files, or folders of them.
        output: New or empty.
        device: ``auto``, ``cpu`` or ``cuda``.
        bundle: A model to use instead of the app's own.
        settings: TOML file with the app's settings.
        app_roots: Folders of apps beside the ones that ship.
        on_progress: Told how far the app is, if the app tells.

    Returns:
        What was made, for a person.

    Raises:
        Misconfigured: No such app, a broken model, an output folder that holds other things.
        Refused: The files are not a study that the app may be used on.
        Failed: The app or its results are not good.
    """
    app = find_app(app_name, app_roots, bundle=bundle)
    if app.problem:
        raise Misconfigured(f"{app_name}: {app.problem}")
    site_settings = _settings(settings)
    if wrong := app.manifest.settings_problem(site_settings):
        raise Misconfigured(f"--settings {settings}: {wrong.removeprefix('settings.')}")
    if output.exists() and any(output.iterdir()):
        raise Misconfigured(f"--output {output}: not empty; name a new or an empty folder")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"--output {output}: cannot be made ({error.strerror})") from None
    series, unreadable = _series(paths)
    verdict = _verdict(series, app)
    warnings = [
        *verdict.warnings,
        *(f"a file was left out: {error.reason}" for error in unreadable if error.is_damaged),
    ]
    digest = settings_digest(verdict.input_digest(), site_settings)
    with tempfile.TemporaryDirectory(prefix="dicom-node-run-") as temporary:
        work = Path(temporary)
        request = write_request(
            work,
            app=app_name,
            app_dir=app.app_dir,
            bundle_dir=app.bundle_dir,
            inputs=verdict.paths,
            input_digest=digest,
            warnings=warnings,
            settings=site_settings,
            predecessors=[],
            device=device,
            node_name=f"dicom-node run {__version__}",
        )
        limits = app.manifest.limits
        process = AppProcess(
            app_name, memory_mb=limits.memory_mb, log_path=work / "app.log", app_roots=app_roots
        )
        try:
            process.run(request, limits.time_limit_s, on_progress)
        finally:
            process.stop()
        verify_output(app, work / "output", verdict.paths, digest, [])
        shutil.copytree(work / "output", output, dirs_exist_ok=True)
    result = json.loads((output / "result.json").read_text(encoding="utf-8"))
    names = ", ".join(_named(entry) for entry in result["objects"])
    left_out = "".join(f"\nleft out {error.path}: {error.reason}" for error in unreadable)
    return f"{result.get('summary', app_name)}\n{output}: {names}{left_out}"


def _named(entry: Mapping[str, Any]) -> str:
    """A file's name, and its size when the app told it."""
    size = entry.get("bytes")
    return str(entry["file"]) if size is None else f"{entry['file']} ({size / 1e6:.1f} MB)"


def _settings(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"--settings {path}: not valid TOML: {error}") from None


def _series(paths: Iterable[Path]) -> tuple[list[SeriesHeaders], list[UnreadableInstance]]:
    files = [file for path in paths for file in _files(path)]
    if not files:
        raise Refused("there are no files at the given paths")
    series, unreadable = read_series(files)
    if not series:
        first = unreadable[0]
        raise Refused(f"{first.path}: {first.reason}")
    return series, unreadable


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))


def _verdict(series: Sequence[SeriesHeaders], app: App) -> AppVerdict:
    (verdict,) = route_study(series, [app])
    if verdict.decision is Decision.NOT_FOR_THIS_APP:
        raise NotForThisApp(verdict.reason, attribute=verdict.attribute)
    if verdict.decision is Decision.REFUSED:
        raise OutsideEnvelope(verdict.reason, attribute=verdict.attribute)
    return verdict
