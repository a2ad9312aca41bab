"""Digests that results are bound to: of a file, of an analysis' inputs, of a model bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

_CHUNK_BYTES = 1 << 20

_NOT_PART_OF_A_BUNDLE = frozenset({"__pycache__", "README.md"})


class Digested(Protocol):
    """What the digest of inputs needs of an instance."""

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID."""

    @property
    def content_digest(self) -> str:
        """SHA-256 of the encoded data set, hexadecimal."""


def file_digest(path: Path, start: int = 0) -> str:
    """SHA-256 of a file's bytes from ``start`` on, hexadecimal.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        file.seek(start)
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def input_digest(inputs: Mapping[str, Iterable[Digested]]) -> str:
    """``sha256:...`` over input name, SOP Instance UID and content of every instance.

    The order of inputs and instances plays no part.

    >>> input_digest({"early": []}) == input_digest({})
    True
    """
    lines = sorted(
        f"{name}\0{one.sop_instance_uid}\0{one.content_digest}\n"
        for name, instances in inputs.items()
        for one in instances
    )
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def bundle_digest(bundle: Path) -> str:
    """``sha256:...`` over the relative path and the content of every file of a bundle.

    Hidden files, byte code and the README are left out: they do not change a result.

    Raises:
        OSError: The bundle is not a folder, or one of its files cannot be read.
    """
    if not bundle.is_dir():
        raise NotADirectoryError(f"{bundle} is not a folder")
    lines = []
    for path in sorted(one for one in bundle.rglob("*") if one.is_file()):
        relative = path.relative_to(bundle)
        if any(part.startswith(".") or part in _NOT_PART_OF_A_BUNDLE for part in relative.parts):
            continue
        lines.append(f"{relative.as_posix()}\0{file_digest(path)}\n")
    return f"sha256:{hashlib.sha256(''.join(sorted(lines)).encode()).hexdigest()}"


def settings_digest(inputs: str, settings: Mapping[str, object]) -> str:
    """The digest of inputs bound to the site's settings: other settings make other results.

    >>> settings_digest("sha256:0", {}) == "sha256:0"
    True
    >>> settings_digest("sha256:0", {"a": 1}) == settings_digest("sha256:0", {"a": 2})
    False
    """
    if not settings:
        return inputs
    text = json.dumps(settings, sort_keys=True, default=str)
    bound = f"{inputs}\0{text}"
    return f"sha256:{hashlib.sha256(bound.encode()).hexdigest()}"
