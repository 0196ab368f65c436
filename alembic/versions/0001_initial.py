"""The tables of the engine."""

import sqlalchemy as sa

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("unit", sa.BigInteger(), nullable=False),
        sa.Column("at", AT, nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
    )
    op.create_index("ix_attempts_at", "attempts", ["at"], unique=False)
    op.create_index("ix_attempts_kind_unit", "attempts", ["kind", "unit"], unique=False)
    op.create_table(
        "credentials",
        sa.Column("id", ID, nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("expires_at", AT, nullable=True),
        sa.Column("renewed_by", AT, nullable=True),
        sa.Column("refused", sa.Text(), nullable=True),
        sa.Column("blocked", sa.JSON(), nullable=False),
        sa.Column("created_at", AT, nullable=False),
        sa.Column("updated_at", AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_credentials"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "connections",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("credential_id", ID, nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("streams", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("served_at", AT, nullable=True),
        sa.Column("parallel", sa.Integer(), nullable=False),
        sa.Column("objective", sa.Integer(), nullable=True),
        sa.Column("created_at", AT, nullable=False),
        sa.Column("updated_at", AT, nullable=False),
        sa.ForeignKeyConstraint(["credential_id"], ["credentials.id"], name="fk_connections_credential_id_credentials"),
        sa.PrimaryKeyConstraint("id", name="pk_connections"),
        sa.UniqueConstraint("name", name="uq_connections_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_connections_credential_id", "connections", ["credential_id"], unique=False)
    op.create_table(
        "checkpoints",
        sa.Column("connection_id", ID, autoincrement=False, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("partition", sa.Text(), nullable=False),
        sa.Column("list", sa.Text(), nullable=False),
        sa.Column("cursor", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("moved", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("fresh_at", AT, nullable=True),
        sa.Column("full_at", AT, nullable=True),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_checkpoints_connection_id_connections", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("connection_id", "stream", "partition", "list", name="pk_checkpoints"),
    )
    op.create_table(
        "drift",
        sa.Column("connection_id", ID, autoincrement=False, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("kinds", sa.Text(), nullable=False),
        sa.Column("news", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("first_at", AT, nullable=False),
        sa.Column("last_at", AT, nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_drift_connection_id_connections", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("connection_id", "stream", "path", name="pk_drift"),
    )
    op.create_table(
        "runs",
        sa.Column("id", ID, nullable=False),
        sa.Column("connection_id", ID, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("list", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("full", sa.Boolean(), nullable=False),
        sa.Column("baseline", sa.Boolean(), nullable=False),
        sa.Column("exclusive", sa.Boolean(), nullable=False),
        sa.Column("after_id", ID, nullable=True),
        sa.Column("since", sa.Text(), nullable=True),
        sa.Column("until", sa.Text(), nullable=True),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("open", sa.Integer(), nullable=False),
        sa.Column("opened_at", AT, nullable=False),
        sa.Column("closed_at", AT, nullable=True),
        sa.ForeignKeyConstraint(["after_id"], ["runs.id"], name="fk_runs_after_id_runs", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_runs_connection_id_connections", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_runs_after_id", "runs", ["after_id"], unique=False)
    op.create_index("ix_runs_closed_at", "runs", ["closed_at"], unique=False)
    op.create_index(
        "ix_runs_connection_id_stream_list_id", "runs", ["connection_id", "stream", "list", "id"], unique=False
    )
    op.create_index(
        "ix_runs_waiting",
        "runs",
        ["after_id"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
        sqlite_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "uq_runs_one_open",
        "runs",
        ["connection_id", "stream", "list"],
        unique=True,
        postgresql_where=sa.text("state IN ('waiting', 'running') AND exclusive"),
        sqlite_where=sa.text("state IN ('waiting', 'running') AND exclusive"),
    )
    op.create_table(
        "schedules",
        sa.Column("id", ID, nullable=False),
        sa.Column("connection_id", ID, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("jitter", sa.Double(), nullable=False),
        sa.Column("next_due_at", AT, nullable=True),
        sa.Column("last_due_at", AT, nullable=True),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_schedules_connection_id_connections", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_schedules"),
    )
    op.create_index("ix_schedules_connection_id_stream", "schedules", ["connection_id", "stream"], unique=True)
    op.create_index("ix_schedules_next_due_at", "schedules", ["next_due_at"], unique=False)
    op.create_table(
        "rejects",
        sa.Column("id", ID, nullable=False),
        sa.Column("connection_id", ID, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("partition", sa.Text(), nullable=False),
        sa.Column("run_id", ID, nullable=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", ID, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("first_at", AT, nullable=False),
        sa.Column("last_at", AT, nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_rejects_connection_id_connections", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_rejects_run_id_runs", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_rejects"),
    )
    op.create_index(
        "ix_rejects_connection_id_stream_digest", "rejects", ["connection_id", "stream", "digest"], unique=True
    )
    op.create_index("ix_rejects_run_id", "rejects", ["run_id"], unique=False)
    op.create_table(
        "slices",
        sa.Column("id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("connection_id", ID, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("partition", sa.Text(), nullable=False),
        sa.Column("list", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("due_at", AT, nullable=False),
        sa.Column("rung_at", AT, nullable=True),
        sa.Column("rings", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("restarts", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", AT, nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("ask", sa.JSON(), nullable=False),
        sa.Column("seen", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("started", sa.BigInteger(), nullable=True),
        sa.Column("began_at", AT, nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("moved", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("full", sa.Boolean(), nullable=False),
        sa.Column("first", sa.Boolean(), nullable=False),
        sa.Column("trail", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("absent", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("approved", sa.Integer(), nullable=False),
        sa.Column("pages", sa.Integer(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_slices_run_id_runs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_slices"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_slices_due",
        "slices",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('ready', 'deferred')"),
        sqlite_where=sa.text("state IN ('ready', 'deferred')"),
    )
    op.create_index(
        "ix_slices_open",
        "slices",
        ["connection_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('ready', 'deferred', 'running')"),
        sqlite_where=sa.text("state IN ('ready', 'deferred', 'running')"),
    )
    op.create_index("ix_slices_run_id_partition", "slices", ["run_id", "partition"], unique=True)
    op.create_index(
        "ix_slices_running",
        "slices",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'running'"),
        sqlite_where=sa.text("state = 'running'"),
    )
    op.create_index(
        "ix_slices_stuck",
        "slices",
        ["connection_id", "stream", "partition", "list"],
        unique=False,
        postgresql_where=sa.text("state IN ('dead', 'held')"),
        sqlite_where=sa.text("state IN ('dead', 'held')"),
    )
    op.create_table(
        "sightings",
        sa.Column("slice_id", ID, autoincrement=False, nullable=False),
        sa.Column("page", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["slice_id"], ["slices.id"], name="fk_sightings_slice_id_slices", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("slice_id", "page", name="pk_sightings"),
    )


def downgrade() -> None:
    for table in (
        "sightings",
        "slices",
        "rejects",
        "schedules",
        "runs",
        "drift",
        "checkpoints",
        "connections",
        "credentials",
        "attempts",
    ):
        op.drop_table(table)
