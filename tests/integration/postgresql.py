"""A real PostgreSQL for a test: Debian's, on a free port and in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.integration.orthanc import free_port

USER = "postgres"


def find_binaries() -> Path:
    """Folder of initdb and pg_ctl; a missing one fails the test, it never skips it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise FileNotFoundError("PostgreSQL is not installed: `make setup` as root installs it")
    return found[-1].parent


@dataclass(frozen=True)
class PostgresqlServer:
    """A running PostgreSQL."""

    binaries: Path
    folder: Path
    port: int

    @property
    def url(self) -> str:
        """SQLAlchemy URL of its database."""
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        """End it."""
        _as_postgres(self.binaries / "pg_ctl", "-D", self.folder / "data", "-m", "immediate", "stop")


def start_postgresql(folder: Path) -> PostgresqlServer:
    """A PostgreSQL that listens on the loopback only and trusts it."""
    binaries, port = find_binaries(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, USER, USER)
        for parent in folder.parents:
            if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    data = folder / "data"
    _as_postgres(binaries / "initdb", "-D", data, "-U", USER, "-A", "trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    _as_postgres(binaries / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
    return PostgresqlServer(binaries, folder, port)


def _as_postgres(*command: object) -> None:
    prefix = ["runuser", "-u", USER, "--"] if os.getuid() == 0 else []
    subprocess.run([*prefix, *map(str, command)], check=True, stdout=subprocess.DEVNULL, cwd="/")
