"""Puts the stages together and runs them until told to stop.

::

    C-STORE ─┐                        ┌─ app process ─┐
    inbox ───┴─ InstanceStore ─ InstanceWriter ─ StudySettler ─ routing ─ Work ─┴─ verify ─ deliver
                 (synced files)   (ledger)        (quiet time)            (DBOS)

``--role`` starts parts of it: ``receive`` everything up to the ordering of work, ``work``
the analyses and deliveries, ``web`` the HTTP interface; ``all`` is one process.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from dicom_node import __version__
from dicom_node.analysis import Analysis
from dicom_node.catalog import App, find_apps
from dicom_node.config import NodeConfig, openings
from dicom_node.errors import Misconfigured, StorageUnavailable
from dicom_node.group import StudySettler
from dicom_node.infer.pool import AppPool
from dicom_node.receive.inbox import Inbox
from dicom_node.receive.refusal import RefusedReceipt
from dicom_node.receive.scp import Receiver
from dicom_node.receive.video.upload import TakenVideo, VideoIntake
from dicom_node.route.order import order_study
from dicom_node.store.instances import InstanceStore
from dicom_node.store.ledger import Ledger, open_ledger
from dicom_node.store.writer import InstanceWriter
from dicom_node.web import NodeView, app_document, create_app
from dicom_node.work import Work

ROLES = ("all", "receive", "work", "web")

LEAST_FREE_BYTES = 200 * 1024 * 1024
"""Less free space than this and the node says that it is not ready."""

log = logging.getLogger(__name__)


def routed_apps(config: NodeConfig) -> dict[str, App]:
    """The catalogue by name, after checking that every route's app can run.

    Raises:
        Misconfigured: A route names an app that is not installed, whose bundle is not what it
            claims, or gives it a setting that it does not take.
    """
    bundles = {route.app: route.bundle for route in config.route if route.bundle}
    apps = {app.name: app for app in find_apps(config.node.apps, bundles=bundles)}
    for index, route in enumerate(config.route):
        app = apps.get(route.app)
        if app is None:
            allowed = ", ".join(sorted(apps)) or "none is installed"
            raise Misconfigured(f"route[{index}].app = {route.app!r}: no such app; allowed are {allowed}")
        if app.problem:
            raise Misconfigured(f"route[{index}].app = {route.app!r}: {app.problem}")
        if wrong := app.manifest.settings_problem(route.settings):
            raise Misconfigured(f"route[{index}].{wrong}")
    return apps


class Node:
    """A running node, or the part of it that a role is.

    Args:
        config: Its configuration.
        role: ``all``, ``receive``, ``work`` or ``web``.
    """

    def __init__(self, config: NodeConfig, role: str = "all") -> None:
        self.config = config
        self.role = role
        self._stack = ExitStack()
        self._receiver: Receiver | None = None
        self._videos: VideoIntake | None = None
        self._web: uvicorn.Server | None = None
        self.ports: dict[str, int] = {}

    def start(self) -> None:
        """Start the parts, the receiver last: what it accepts can be worked on.

        Raises:
            Misconfigured: An app, the database, the data folder or a port is not usable.
        """
        with ExitStack() as starting:
            self._start(starting)
            self._stack = starting.pop_all()
        log.info(
            "%s %s is up",
            self.config.node.ae_title,
            __version__,
            extra={"action": "node_started", **self.ports},
        )

    def stop(self) -> None:
        """Stop in the reverse order; what is under way goes on at the next start."""
        log.info("stopping", extra={"action": "node_stopping"})
        self._stack.close()
        log.info("stopped", extra={"action": "node_stopped"})

    def _start(self, stack: ExitStack) -> None:
        apps = routed_apps(self.config)
        data_dir = self.config.node.data_dir
        stack.enter_context(_lock(data_dir, self.role))
        ledger = open_ledger(self.config.database_url(), data_dir)
        stack.callback(ledger.close)
        pool = AppPool(data_dir / "logs", self.config.node.apps)
        stack.callback(pool.stop)
        if self.role in {"all", "web"}:
            self._start_web(stack, ledger, pool, apps)
        analysis = Analysis(self.config, ledger, pool, apps)
        if self.role in {"all", "receive", "work"}:
            work = Work(self.config, ledger, analysis, is_worker=self.role != "receive")
            work.start(self.role)
            stack.callback(work.stop)
            stack.callback(pool.stop)
            stack.callback(work.halt)
        if self.role in {"all", "work"}:
            self._warm_up(analysis)
        if self.role in {"all", "receive"}:
            self._start_receiving(stack, ledger, work, apps)

    def _start_receiving(self, stack: ExitStack, ledger: Ledger, work: Work, apps: Mapping[str, App]) -> None:
        store = InstanceStore(self.config.node.data_dir)

        def route(study_instance_uid: str) -> None:
            writer.flush()
            work.resume(order_study(study_instance_uid, ledger, self.config, apps))

        settler = StudySettler(self.config.node.settle_seconds, route)
        writer = InstanceWriter(ledger, lambda instance: settler.note(instance.study_instance_uid))
        writer.start()
        stack.callback(writer.stop)
        _take_up_files(store, ledger, writer)
        now = datetime.now(UTC)
        for study_instance_uid, last_received_at in ledger.growing_studies():
            settler.note(study_instance_uid, max((now - last_received_at).total_seconds(), 0.0))
        settler.start()
        stack.callback(settler.stop)

        def on_refused(receipt: RefusedReceipt) -> None:
            _record_refusal(ledger, receipt)

        node = self.config.node
        receiver = Receiver(
            ae_title=node.ae_title,
            host=node.host,
            port=node.port,
            peers=[(peer.ae_title, peer.host) for peer in self.config.peer],
            max_associations=node.max_associations,
            store=store,
            on_stored=writer.put,
            on_refused=on_refused,
        )
        receiver.start()
        stack.callback(receiver.stop)
        self._receiver = receiver
        self._videos = VideoIntake(node.data_dir / "uploads", store, writer.put, on_refused)
        self.ports["dicom_port"] = receiver.port
        inbox = Inbox(self.config.inbox, store, on_stored=writer.put, on_refused=on_refused)
        inbox.start()
        stack.callback(inbox.stop)

    def _start_web(self, stack: ExitStack, ledger: Ledger, pool: AppPool, apps: Mapping[str, App]) -> None:
        for opening in openings(self.config):
            log.warning("%s", opening, extra={"action": "web_is_open"})
        view = NodeView(
            ledger=ledger,
            data_dir=self.config.node.data_dir,
            ae_title=self.config.node.ae_title,
            apps=tuple(app_document(app, self._destinations(app.name)) for app in apps.values()),
            dicom_address=f"{self.config.node.host}:{self.config.node.port}",
            late_after_minutes=self.config.node.late_after_minutes,
            readiness=lambda: self._readiness(ledger),
            resident_mb=lambda: {"node": _resident_mb(), **pool.resident_mb()},
            take_video=self._take_video if self.role == "all" else None,
        )
        listener = _listen(self.config.web.host, self.config.web.port)
        server = uvicorn.Server(
            uvicorn.Config(create_app(view), log_level="warning", log_config=None, lifespan="off")
        )
        thread = threading.Thread(target=server.run, args=([listener],), name="web", daemon=True)
        thread.start()
        self.ports["web_port"] = listener.getsockname()[1]

        def stop() -> None:
            server.should_exit = True
            thread.join(timeout=10)
            listener.close()

        stack.callback(stop)

    def _take_video(self, video: Path, said: Mapping[str, str]) -> TakenVideo:
        if self._videos is None:
            raise StorageUnavailable("the node is starting and takes nothing in yet")
        return self._videos.take(video, said)

    def _warm_up(self, analysis: Analysis) -> None:
        """Import routed apps in the background, so that the first study is not the slow one."""

        def warm() -> None:
            for route in self.config.route:
                try:
                    analysis.warm_up(route.app)
                except Exception as error:  # noqa: BLE001  the study that needs it will say so as well
                    log.warning(
                        "the app does not start: %s", error, extra={"action": "warm_up", "app": route.app}
                    )

        threading.Thread(target=warm, name="warm-up", daemon=True).start()

    def _destinations(self, app_name: str) -> tuple[str, ...]:
        route = self.config.route_for(app_name)
        return route.destinations if route else ()

    def _readiness(self, ledger: Ledger) -> dict[str, bool]:
        checks = {
            "database": ledger.is_reachable(),
            "disk": shutil.disk_usage(self.config.node.data_dir).free > LEAST_FREE_BYTES,
        }
        if self.role in {"all", "receive"}:
            checks["receiver"] = self._receiver is not None and self._receiver.is_listening
        return checks


def serve_forever(config: NodeConfig, role: str) -> None:
    """Run a node until SIGTERM or SIGINT.

    Raises:
        Misconfigured: It cannot start.
    """
    node = Node(config, role)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopped.set())
    node.start()
    stopped.wait()
    node.stop()
    # attempts under way are taken up at the next start, as after a crash; their threads wait for this
    logging.shutdown()
    os._exit(0)


def _record_refusal(ledger: Ledger, receipt: RefusedReceipt) -> None:
    """Account for something that was not stored; the sender has its answer whatever the ledger says."""
    source = receipt.calling_ae_title or receipt.source.value
    file = f" ({receipt.path.name})" if receipt.path else ""
    log.warning(
        "not accepted: %s",
        receipt.reason,
        extra={"action": "receipt_refused", "source": receipt.source.value},
    )
    try:
        ledger.record_refused_receipt(source, receipt.sop_instance_uid, receipt.status, receipt.reason + file)
    except SQLAlchemyError:
        log.exception("the ledger does not take a refusal", extra={"action": "ledger_lost_refusal"})


def _take_up_files(store: InstanceStore, ledger: Ledger, writer: InstanceWriter) -> None:
    """Index the files that a crash kept from the ledger."""
    known = {ledger.data_dir / path for path in ledger.known_paths()}
    began, count = time.monotonic(), 0
    for instance in store.recover(known):
        writer.put(instance)
        count += 1
    writer.flush()
    if count:
        took_s = time.monotonic() - began
        log.info(
            "%d instances had not reached the ledger, %.1f s", count, took_s, extra={"action": "recovered"}
        )


class _lock:  # noqa: N801  reads as what it does
    """Two nodes of one role on one data folder would undo each other's work."""

    def __init__(self, data_dir: Path, role: str) -> None:
        self._data_dir = data_dir
        self._path = data_dir / f"serve-{role}.lock"
        self._file: IO[str] | None = None

    def __enter__(self) -> None:
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w")
        except OSError as error:
            raise Misconfigured(
                f"node.data_dir = {str(self._data_dir)!r}: cannot be written ({error.strerror})"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise Misconfigured(
                f"node.data_dir = {str(self._data_dir)!r}: another node is using it"
            ) from None

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


@contextmanager
def unused(data_dir: Path) -> Iterator[None]:
    """No node begins to use the data folder while the block runs.

    Raises:
        Misconfigured: One is using it.
    """
    with ExitStack() as held:
        for role in ROLES:
            held.enter_context(_lock(data_dir, role))
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Misconfigured(f"web.host, web.port = {host}:{port}: {error.strerror}") from None
    return listener


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
