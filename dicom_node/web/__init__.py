"""The node over HTTP: health, metrics, the ledger as JSON, and a dashboard.

===============  ===============================================================
``view``         what it is given to show: `NodeView`
``app``          `create_app`, which puts the following together
``health``       ``/healthz``, ``/readyz``, ``/metrics``
``metrics``      the ledger as Prometheus sees it
``api``          ``/api/v1``: studies, jobs, their files, apps, refused receipts
``videos``       ``POST /api/v1/videos``, the one way in: passes files on to the receive stage
``pages``        the dashboard; ``templates/`` and ``static/`` are its look
``security``     headers of every answer
===============  ===============================================================

Reads the store, decides nothing, changes nothing: every route but that one is a GET. It needs no
other server: pages load nothing from elsewhere.
"""

from dicom_node.web.app import create_app
from dicom_node.web.view import NodeView, app_document

__all__ = ["NodeView", "app_document", "create_app"]
