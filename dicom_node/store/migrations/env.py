"""Alembic's environment: the ledger hands over its open connection."""

from alembic import context

from dicom_node.store.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
