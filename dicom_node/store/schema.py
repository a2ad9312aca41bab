"""The version of the ledger's tables: told, brought up to date, taken back.

Each version is a file in ``migrations/versions``. One process at a time changes the tables,
in one transaction: the roles of a node start together, and after an update each of them finds
an old ledger.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from dicom_node.errors import Misconfigured

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_POSTGRESQL_LOCK: Final = 0x6469636F6D6E6F64
"""Key of the advisory lock; any number that nobody else uses."""

LOCK_LIMIT_S: Final = 60
"""How long a start waits for another process that holds the ledger, on PostgreSQL; SQLite has its own."""


def newest_version() -> str:
    """The version that this program works with.

    >>> newest_version() >= "0002"
    True
    """
    (head,) = ScriptDirectory.from_config(_config()).get_heads()
    return head


def version_of(engine: Engine) -> str:
    """The version of a ledger, or nothing where there is none."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() or ""


def bring_up_to_date(engine: Engine) -> None:
    """Make or change the tables as this program needs them.

    Raises:
        Misconfigured: The ledger is of a later version.
        SQLAlchemyError: The database does not take it.
    """
    if version_of(engine) == newest_version():
        return
    with engine.connect() as connection:
        connection.execution_options(writes=True)
        with connection.begin():
            _wait_for_turn(connection)
            found = MigrationContext.configure(connection).get_current_revision() or ""
            _refuse_later(found)
            command.upgrade(_config(connection), "head")


def check_up_to_date(engine: Engine) -> None:
    """Nothing, when this program can read the ledger as it is; the ledger is left as it is in any case.

    Raises:
        Misconfigured: It is of another version, with what is to be done.
        SQLAlchemyError: The database does not answer.
    """
    found = version_of(engine)
    if not found:
        raise Misconfigured("there is no ledger yet; `dicom-node serve` makes it")
    _refuse_later(found)
    if found != newest_version():
        raise Misconfigured(
            f"the ledger is of version {found}, this program reads {newest_version()}: it is brought up to "
            "date when the node is next started with `dicom-node serve` of this version"
        )


def take_back(engine: Engine, version: str) -> None:
    """Change the tables as an earlier version of the program needs them; what only later ones know is lost.

    Raises:
        Misconfigured: There is no such version, or the ledger is not of that version or a later one.
        SQLAlchemyError: The database does not take it.
    """
    known = sorted(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())
    found = version_of(engine)
    _refuse_later(found)
    if version not in known[: known.index(found) + 1 if found else 0]:
        allowed = ", ".join(known[: known.index(found)] if found else ()) or "none"
        raise Misconfigured(
            f"version {version!r}: the ledger is of version {found or 'none'}, allowed are {allowed}"
        )
    with engine.connect() as connection:
        connection.execution_options(writes=True)
        with connection.begin():
            _wait_for_turn(connection)
            command.downgrade(_config(connection), version)


def _refuse_later(found: str) -> None:
    if found > newest_version():
        raise Misconfigured(
            f"the ledger is of version {found}, this program is older and reads {newest_version()}: install "
            f"the later one again, or take the ledger back with its `dicom-node take-back {newest_version()}`"
        )


def _wait_for_turn(connection: Connection) -> None:
    """Return when no other process changes the tables, until the end of the transaction.

    On SQLite the transaction has begun with the lock for writing.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_LIMIT_S}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRESQL_LOCK})


def _config(connection: Connection | None = None) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(_MIGRATIONS))
    if connection is not None:
        config.attributes["connection"] = connection
    return config
