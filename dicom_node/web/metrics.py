"""The ledger as Prometheus sees it, counted at each scrape.

Nothing is counted in memory: after a restart, and with several processes over one
ledger, the numbers are still those of the node.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from dicom_node import __version__
from dicom_node.store.overview import Overview
from dicom_node.web.view import NodeView

JOB_SECONDS_BOUNDS = (5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0)
"""Upper bounds of the histogram of job times, in seconds."""

BYTES_PER_MB = 1e6


class LedgerCollector(Collector):
    """Asks the ledger for the metrics of a node."""

    def __init__(self, view: NodeView) -> None:
        self._view = view
        self._overview = Overview(view.ledger)

    def describe(self) -> Iterator[Metric]:
        """Nothing: the names are known without asking the ledger at registration."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment."""
        yield InfoMetricFamily(
            "dicom_node", "The node.", {"version": __version__, "ae_title": self._view.ae_title}
        )
        yield self._memory()
        try:
            metrics = [*self._received(), *self._jobs(), self._pending(), self._seconds()]
        except SQLAlchemyError:
            metrics = []
        yield GaugeMetricFamily(
            "dicom_node_ledger_reachable", "1 when the ledger answers.", value=float(bool(metrics))
        )
        yield from metrics

    def _memory(self) -> Metric:
        memory = GaugeMetricFamily(
            "dicom_node_resident_memory_bytes", "Resident memory of each process.", labels=["process"]
        )
        for process, megabytes in self._view.resident_mb().items():
            memory.add_metric([process], megabytes * BYTES_PER_MB)
        return memory

    def _received(self) -> Iterator[Metric]:
        totals = self._overview.totals()
        yield CounterMetricFamily(
            "dicom_node_instances_received", "Instances taken in.", value=totals.instances
        )
        yield CounterMetricFamily(
            "dicom_node_receipts_refused", "What was sent and not accepted.", value=totals.refused_receipts
        )
        yield GaugeMetricFamily("dicom_node_studies", "Studies in the ledger.", value=totals.studies)
        yield GaugeMetricFamily(
            "dicom_node_studies_growing",
            "Studies that wait for more instances.",
            value=totals.growing_studies,
        )

    def _jobs(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("dicom_node_jobs", "Jobs by app and state.", labels=["app", "state"])
        for (app, state), count in self._view.ledger.job_counts().items():
            jobs.add_metric([app, state], count)
        yield jobs
        late = GaugeMetricFamily(
            "dicom_node_jobs_late", "Jobs that have not ended within the time allowed.", labels=["app"]
        )
        counts = self._overview.late_counts(self._view.views().late_before)
        for name in sorted({app.name for app in self._view.apps} | set(counts)):
            late.add_metric([name], counts.get(name, 0))
        yield late

    def _pending(self) -> Metric:
        pending = GaugeMetricFamily(
            "dicom_node_deliveries_pending",
            "Verified results that a destination does not have yet.",
            labels=["destination"],
        )
        counts = self._overview.pending_deliveries()
        known = {name for app in self._view.apps for name in app.destinations}
        for name in sorted(known | set(counts)):
            pending.add_metric([name], counts.get(name, 0))
        return pending

    def _seconds(self) -> Metric:
        histogram = HistogramMetricFamily(
            "dicom_node_job_seconds",
            "Time from a job's creation until every destination has its results.",
            labels=["app"],
        )
        for app, durations in self._overview.durations(JOB_SECONDS_BOUNDS).items():
            buckets = [
                (f"{bound:g}", float(count))
                for bound, count in zip(JOB_SECONDS_BOUNDS, durations.at_most, strict=True)
            ]
            buckets.append(("+Inf", float(durations.count)))
            histogram.add_metric([app], buckets=buckets, sum_value=durations.total_s)
        return histogram


class Metrics:
    """The ``/metrics`` page of a node."""

    def __init__(self, view: NodeView) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(LedgerCollector(view))

    def text(self) -> bytes:
        """The metrics of this moment, in Prometheus' text format."""
        return generate_latest(self._registry)
