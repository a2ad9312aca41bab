"""The node's configuration: typed, read once, immutable afterwards.

`load` turns a ``node.toml`` into a `NodeConfig` or raises `Misconfigured` with one
line per mistake that names the key, the value and what is allowed. Every key has a
description; ``deploy/configuration.md`` is checked against them by a test.
"""

from __future__ import annotations

import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from dicom_node.deliver.destination import Destination
from dicom_node.errors import Misconfigured


def _ae_title(value: str) -> str:
    title = value.strip()
    if not title or len(title) > 16 or "\\" in title or not title.isascii() or not title.isprintable():
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash (PS3.5 6.2)")
    return title


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Section(BaseModel):
    """A table of node.toml: immutable, unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class NodeSection(Section):
    """``[node]``: the node itself."""

    ae_title: AeTitle = Field("DICOMNODE", description="AE title under which the node is called.")
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface.")
    port: Port = Field(11112, description="DICOM port; 0 takes a free one and logs it.")
    data_dir: Path = Field(
        Path("var"),
        description="Folder for instances, ledger and results; relative to the configuration file.",
    )
    database: str = Field(
        "sqlite",
        pattern=r"^(sqlite|postgresql\+psycopg://.+)$",
        description='Ledger and queues: "sqlite" (in data_dir) or "postgresql+psycopg://user:password@host/name".',
    )
    settle_seconds: float = Field(
        10.0, gt=0, le=86400, description="Quiet time after which a study counts as complete."
    )
    max_associations: int = Field(
        32, ge=1, le=1000, description="Associations served at the same time; more are asked to come back."
    )
    inbox: Path | None = Field(
        None, description="Folder whose files are taken in like received ones; default <data_dir>/inbox."
    )
    apps: tuple[Path, ...] = Field((), description="Further folders of apps, beside the ones that ship.")
    late_after_minutes: float = Field(
        30.0, gt=0, description="A job that has not ended after this time is shown as late."
    )
    log_format: Literal["text", "json"] = Field("text", description="Log lines for people or for machines.")


class WebSection(Section):
    """``[web]``: HTTP interface and dashboard."""

    host: str = Field(
        "127.0.0.1",
        description="Address of the HTTP interface, which has no access control: of others than this "
        "machine only a reverse proxy with authentication may reach it.",
    )
    port: Port = Field(8080, description="Port of the HTTP interface; 0 takes a free one and logs it.")


class WorkSection(Section):
    """``[work]``: how analyses are run."""

    analyses_at_once: int = Field(1, ge=1, le=64, description="App processes that compute at the same time.")
    attempts: int = Field(3, ge=1, le=20, description="Tries of an analysis before its job is failed.")
    retry_delay_s: float = Field(
        5.0, ge=0, description="Pause before the second try; doubled before each further one."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where networks run; auto takes a GPU when there is one."
    )


class PeerSection(Section):
    """``[[peer]]``: who may send."""

    ae_title: AeTitle = Field(description="Calling AE title of the peer.")
    host: str = Field(description="Host name or address from which it calls.")


class RouteSection(Section):
    """``[[route]]``: which app runs and where its results go."""

    app: str = Field(description="Name of the app; its input rule is in its app.toml.")
    destinations: tuple[str, ...] = Field(min_length=1, description="Names of [[destination]] tables.")
    bundle: Path | None = Field(
        None, description="The site's own model bundle, instead of the one that ships with the app."
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Settings of the app, described in its README ([route.settings])."
    )


class NodeConfig(Section):
    """The whole of node.toml."""

    node: NodeSection = Field(default_factory=NodeSection)
    web: WebSection = Field(default_factory=WebSection)
    work: WorkSection = Field(default_factory=WorkSection)
    peer: tuple[PeerSection, ...] = ()
    destination: tuple[Destination, ...] = ()
    route: tuple[RouteSection, ...] = ()

    @property
    def inbox(self) -> Path:
        """Folder whose files are taken in."""
        return self.node.inbox or self.node.data_dir / "inbox"

    def route_for(self, app: str) -> RouteSection | None:
        """The route of an app, or None when the site does not use it."""
        return next((route for route in self.route if route.app == app), None)

    def destination_named(self, name: str) -> Destination:
        """The destination of that name.

        Raises:
            Misconfigured: No destination has it (any more).
        """
        for destination in self.destination:
            if destination.name == name:
                return destination
        raise Misconfigured(f"no [[destination]] is named {name!r}")

    def database_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        if self.node.database == "sqlite":
            return f"sqlite:///{self.node.data_dir / 'ledger.sqlite'}"
        return self.node.database

    def queue_database_url(self) -> str:
        """SQLAlchemy URL of the durable queues: beside the ledger, or in the same PostgreSQL."""
        if self.node.database == "sqlite":
            return f"sqlite:///{self.node.data_dir / 'queues.sqlite'}"
        return self.node.database


def openings(config: NodeConfig) -> tuple[str, ...]:
    """What the configuration opens to others without asking who they are: a sentence for each.

    >>> openings(NodeConfig())
    ()
    >>> openings(NodeConfig(web=WebSection(host="0.0.0.0")))[0].partition(":")[0]
    "web.host = '0.0.0.0' is not the loopback"
    """
    if _is_loopback(config.web.host):
        return ()
    return (
        f"web.host = {config.web.host!r} is not the loopback: the HTTP interface has no access control, so "
        f"whoever reaches port {config.web.port} sees every study and may add videos; let only a reverse "
        "proxy with authentication reach it",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.strip().lower() == "localhost"


def load(path: Path) -> NodeConfig:
    """The configuration in a file, with its relative paths made absolute.

    Raises:
        Misconfigured: The file is missing, not TOML, or a key is wrong; the message
            has one line per mistake with key, value and what is allowed.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Misconfigured(f"{path}: no such file; deploy/node.toml is an example to start from") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise Misconfigured(f"{path}: cannot be read: {error.strerror}") from None
    try:
        config = NodeConfig.model_validate(raw)
    except ValidationError as errors:
        lines = [_sentence(path, error) for error in errors.errors()]
        raise Misconfigured("\n".join(lines)) from None
    _check_names(path, config)
    return _with_absolute_paths(config, path.resolve().parent)


def _sentence(path: Path, error: ErrorDetails) -> str:
    key = ".".join(f"[{part}]" if isinstance(part, int) else str(part) for part in error["loc"])
    key = key.replace(".[", "[")
    if error["type"] == "extra_forbidden":
        return f"{path}: {key}: unknown key; {_known_keys(error['loc'])}"
    if error["type"] == "missing":
        return f"{path}: {key}: missing; a value is required"
    allowed = error["msg"].removeprefix("Value error, ")
    return f"{path}: {key} = {error['input']!r}: {allowed}"


def _known_keys(location: tuple[int | str, ...]) -> str:
    sections: dict[str, type[BaseModel]] = {
        "node": NodeSection,
        "web": WebSection,
        "work": WorkSection,
        "peer": PeerSection,
        "route": RouteSection,
    }
    model = sections.get(str(location[0])) if len(location) > 1 else NodeConfig
    if model is None:
        return "see deploy/configuration.md for the keys of this kind"
    return "allowed are " + ", ".join(sorted(model.model_fields))


def _check_names(path: Path, config: NodeConfig) -> None:
    names = [destination.name for destination in config.destination]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise Misconfigured(f"{path}: destination[{index}].name = {name!r}: each name may be used once")
    apps = [route.app for route in config.route]
    for index, route in enumerate(config.route):
        if route.app in apps[:index]:
            raise Misconfigured(f"{path}: route[{index}].app = {route.app!r}: each app may have one route")
        for wanted in route.destinations:
            if wanted not in names:
                allowed = ", ".join(names) or "none, add a [[destination]]"
                key = f"route[{index}].destinations"
                raise Misconfigured(f"{path}: {key} = {wanted!r}: no such destination; allowed are {allowed}")


def _with_absolute_paths(config: NodeConfig, base: Path) -> NodeConfig:
    node = config.node.model_copy(
        update={
            "data_dir": base / config.node.data_dir,
            "inbox": base / config.node.inbox if config.node.inbox else None,
            "apps": tuple(base / folder for folder in config.node.apps),
        }
    )
    routes = tuple(
        route.model_copy(update={"bundle": base / route.bundle if route.bundle else None})
        for route in config.route
    )
    destinations = tuple(
        destination.model_copy(update={"path": base / destination.path})
        if destination.kind == "folder"
        else destination
        for destination in config.destination
    )
    return config.model_copy(update={"node": node, "route": routes, "destination": destinations})
