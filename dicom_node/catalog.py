"""The catalogue of apps: every ``<root>/*/app.toml``, read without importing an app or torch.

In come folders, out come `App`s: the manifest, where the app and its model are, and whether
the model is the one that the manifest names. A folder whose name begins with ``_`` or ``.``
is not an app.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_node.errors import Misconfigured
from operators.select.digests import bundle_digest
from operators.select.manifest import AppManifest, BrokenManifest, load_manifest

SHIPPED_ROOT = Path(__file__).resolve().parent.parent / "apps"
"""Where the apps that come with the node are: beside the package, in a checkout and installed."""

ROOTS_VARIABLE = "DICOM_NODE_APPS"
"""Environment variable with further folders of apps, separated as in PATH."""


@dataclass(frozen=True, kw_only=True)
class App:
    """An app that is installed.

    Args:
        manifest: What its app.toml says.
        app_dir: Its folder.
        bundle_dir: The model bundle to use: the app's own, or the site's.
        model_digest: ``sha256:...`` of that bundle as it is on the disk; empty without one.
        training_kind: ``synthetic`` or a site's name: what the bundle in use says, else app.toml.
        problem: Why the app cannot be run, empty when it can.
    """

    manifest: AppManifest
    app_dir: Path
    bundle_dir: Path
    model_digest: str
    training_kind: str
    problem: str = ""

    @property
    def name(self) -> str:
        """The app's name, which is its folder's."""
        return self.manifest.app.name

    @property
    def training_statement(self) -> str:
        """What every reader of a result must know about the training; empty when a site trained it."""
        training = self.manifest.training
        return training.statement if self.training_kind == training.kind else ""

    def summary(self) -> dict[str, Any]:
        """What ``dicom-node apps --json`` prints of it."""
        about, limits = self.manifest.app, self.manifest.limits
        return {
            "name": about.name,
            "version": about.version,
            "title": about.title,
            "intended_use": about.intended_use,
            "training_kind": self.training_kind,
            "training_statement": self.training_statement,
            "model_digest": self.model_digest,
            "inputs": [{"name": one.name, "title": one.title} for one in self.manifest.inputs],
            "outputs": [
                {"role": one.role, "sop_class": one.sop_class, "count": one.count}
                for one in self.manifest.outputs
            ],
            "time_limit_s": limits.time_limit_s,
            "memory_mb": limits.memory_mb,
            "device": limits.device,
            "problem": self.problem,
        }


def find_apps(roots: Iterable[Path] = (), *, bundles: Mapping[str, Path] | None = None) -> list[App]:
    """Every app that is installed, in the order of names.

    Args:
        roots: Folders of apps beside the shipped ones and those of ``DICOM_NODE_APPS``.
        bundles: App name to a site's own model bundle, instead of the app's.

    Raises:
        Misconfigured: A root is not a folder, an app.toml is wrong, or two apps share a name.
    """
    found: dict[str, App] = {}
    for app_dir in _app_dirs(roots):
        app = _load(app_dir, bundles or {})
        if app.name in found:
            raise Misconfigured(f"{app.app_dir} and {found[app.name].app_dir} are both the app {app.name!r}")
        found[app.name] = app
    return [found[name] for name in sorted(found)]


def find_app(name: str, roots: Iterable[Path] = (), *, bundle: Path | None = None) -> App:
    """The app with this name.

    Args:
        name: The app's name.
        roots: As for `find_apps`.
        bundle: A site's own model bundle, instead of the app's.

    Raises:
        Misconfigured: No such app, or as for `find_apps`.
    """
    apps = find_apps(roots, bundles={name: bundle} if bundle else None)
    for app in apps:
        if app.name == name:
            return app
    allowed = ", ".join(app.name for app in apps) or "none is installed"
    raise Misconfigured(f"app {name!r}: no such app; allowed are {allowed}")


def all_roots(roots: Iterable[Path] = ()) -> list[Path]:
    """The shipped root, those of ``DICOM_NODE_APPS``, then these; each once."""
    named = [Path(one) for one in os.environ.get(ROOTS_VARIABLE, "").split(os.pathsep) if one]
    every = [SHIPPED_ROOT, *named, *roots]
    return list(dict.fromkeys(one.resolve() for one in every))


def _app_dirs(roots: Iterable[Path]) -> Iterator[Path]:
    for root in all_roots(roots):
        if root == SHIPPED_ROOT and not root.exists():
            continue
        if not root.is_dir():
            raise Misconfigured(f"{root}: is not a folder of apps")
        for app_dir in sorted(root.iterdir()):
            if not app_dir.name.startswith(("_", ".")) and (app_dir / "app.toml").is_file():
                yield app_dir


def _load(app_dir: Path, bundles: Mapping[str, Path]) -> App:
    path = app_dir / "app.toml"
    try:
        manifest = load_manifest(path)
    except BrokenManifest as error:
        raise Misconfigured(str(error)) from error
    name = manifest.app.name
    if name != app_dir.name:
        raise Misconfigured(
            f"{path}: app.name = {name!r} is not allowed: it is the folder's name, {app_dir.name!r}"
        )
    is_own = name not in bundles
    if manifest.model is None and is_own:
        return App(
            manifest=manifest,
            app_dir=app_dir,
            bundle_dir=app_dir,
            model_digest="",
            training_kind=manifest.training.kind,
        )
    bundle_dir = app_dir / manifest.model.bundle if is_own and manifest.model else bundles[name].resolve()
    digest, problem = _digest(bundle_dir)
    if not problem and is_own and manifest.model and digest != manifest.model.digest:
        problem = f"model.digest is {manifest.model.digest}, but the files of {bundle_dir} have {digest}"
    kind, broken = _training_kind(bundle_dir)
    return App(
        manifest=manifest,
        app_dir=app_dir,
        bundle_dir=bundle_dir,
        model_digest=digest,
        training_kind=kind or manifest.training.kind,
        problem=problem or broken,
    )


def _digest(bundle_dir: Path) -> tuple[str, str]:
    """The bundle's digest, or why there is none."""
    try:
        return bundle_digest(bundle_dir), ""
    except OSError as error:
        return "", f"the model cannot be read: {error.strerror or error}"


def _training_kind(bundle_dir: Path) -> tuple[str, str]:
    """What the bundle says it was trained on, empty when it says nothing; or why it cannot be read."""
    path = bundle_dir / "configs" / "metadata.json"
    try:
        training = json.loads(path.read_bytes()).get("training", {})
        return str(training.get("kind", "")), ""
    except FileNotFoundError:
        return "", ""
    except (OSError, ValueError, AttributeError) as error:
        return "", f"{path} cannot be read: {error}"
