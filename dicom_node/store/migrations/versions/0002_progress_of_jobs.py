"""progress of jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("job", sa.Column("progress_stage", sa.String(), nullable=True))
    op.add_column("job", sa.Column("progress_share", sa.Double(), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("job", "progress_share")
    op.drop_column("job", "progress_stage")
