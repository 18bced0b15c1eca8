"""The queue: one row for each submitted study, its state, and the transitions between states.

    queued → running → done | failed | cancelled | interrupted

A study is `interrupted` when its process ended again and again for no reason of its own, or when the disk quota is
used up. Every state but `running` can be left by `resume`, which queues the study again; what is trained is kept. A
study that has ended can be archived.
"""

import contextlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, final, get_args

import sqlalchemy as sa

from hpsearch.errors import ServerError
from hpsearch.storage.database import display_name, engine_options, file_of, translate_errors
from hpsearch.storage.sqlite_file import create_private, set_pragmas

SubmissionState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
STATES: tuple[SubmissionState, ...] = get_args(SubmissionState)
_HELD = "held"  # while its folder is written or deleted
_ENDED = ("done", "failed", "cancelled", "interrupted")
_METADATA = sa.MetaData()
_SUBMISSION = sa.Table(
    "hpsearch_submission",
    _METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(32), nullable=False, unique=True),
    sa.Column("name", sa.String(100), nullable=False),  # of the study
    sa.Column("owner", sa.String(100), nullable=False),  # name of the token
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("created", sa.Float(53), nullable=False),  # Unix times
    sa.Column("started", sa.Float(53)),
    sa.Column("ended", sa.Float(53)),
    sa.Column("error", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),  # ends of its process since it was queued by a user
    sa.Column("cancelling", sa.Boolean, nullable=False),  # a user has cancelled it, but its process still runs
    sa.Column("archived", sa.Float(53)),  # Unix time
    sa.Column("files", sa.Text, nullable=False),  # name → digest of an upload, as JSON
    sa.Column("key", sa.String(200)),  # of the request, which may be repeated
    sa.Column("body", sa.String(64), nullable=False),  # digest of the request
    sa.UniqueConstraint("owner", "key"),
)


class Submission(NamedTuple):
    """A submitted study.

    Attributes:
        number: its place in the order of submissions.
        id: names it to users, in addresses and folders.
        name: name of the study.
        owner: name of the token that submitted it.
        created, started, ended: Unix times.
        error: why it failed, was interrupted, or cannot start yet; None otherwise.
        attempts: how often its process has ended too early since it was queued by a user.
        cancelling: a user has cancelled it, but its process still runs.
        archived: when it was archived, as Unix time; None for others.
        files: name → digest of the uploads that it reads.
    """

    number: int
    id: str
    name: str
    owner: str
    state: SubmissionState
    priority: int
    created: float
    started: float | None
    ended: float | None
    error: str | None
    attempts: int
    cancelling: bool
    archived: float | None
    files: Mapping[str, str]


class KeyReused(Exception):
    """The idempotency key of a request belongs to another request."""


@final
class Queue:
    """The table of submissions in a database of its own.

    Args:
        url: URL of the database, which is created if it does not exist.

    Attributes:
        version: number of transactions that have written; only one process uses the table.

    Raises:
        StorageError: the database cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.version = 0
        path = file_of(url)
        if path is not None and not path.exists():
            create_private(path)
        with translate_errors(url):
            self._engine = sa.create_engine(sa.make_url(url), pool_pre_ping=path is None, **engine_options(url))
            if self._engine.dialect.name == "sqlite":
                sa.event.listen(self._engine, "connect", set_pragmas)
            _METADATA.create_all(self._engine)
            self._check_columns()

    def add(
        self, name: str, owner: str, priority: int, files: Mapping[str, str], body: str, key: str | None = None
    ) -> tuple[Submission, bool]:
        """Add a study, which waits until `release`; return it, and whether it is new.

        Args:
            body: digest of the request.
            key: identifies the request, which may be repeated; None for a request of its own.

        Raises:
            KeyReused: the owner has sent another request with this key.
        """
        row = {
            **{"id": secrets.token_hex(8), "name": name, "owner": owner, "state": _HELD, "priority": priority},
            **{
                "created": time.time(),
                "attempts": 0,
                "cancelling": False,
                "files": json.dumps(dict(files)),
                "key": key,
                "body": body,
            },
        }
        with self._writing() as connection:
            mine = (_SUBMISSION.c.owner == owner, _SUBMISSION.c.key == key)
            earlier = None if key is None else connection.execute(sa.select(_SUBMISSION).where(*mine)).one_or_none()
            if earlier is not None:
                if earlier.body != body:
                    raise KeyReused(key)
                return _submission(earlier), False
            connection.execute(_SUBMISSION.insert().values(row))
        return self._found(str(row["id"])), True

    def release(self, id: str) -> Submission:
        """Let a study run whose folder is complete, and return it."""
        return self.change(id, "queued", _HELD)

    def held(self) -> list[str]:
        """Return the ids of studies whose folder was being written or deleted when the server was killed."""
        return [s.id for s in self._rows(_SUBMISSION.c.state == _HELD)]

    def get(self, id: str) -> Submission:
        """Return a submission.

        Raises:
            ServerError: there is none of this id.
        """
        found = self._found(id)
        if found.state not in STATES:
            raise ServerError(f"study {id}: not found on this server")
        return found

    def listed(
        self, state: str | None = None, after: int = 0, limit: int = 1000, archived: bool | None = None
    ) -> list[Submission]:
        """Return submissions in their order.

        Args:
            state: only those in this state.
            after: only those with a higher number.
            archived: only archived ones, or only others.
        """
        states, column = [state] if state else STATES, _SUBMISSION.c.archived
        where = _SUBMISSION.c.number > after, _SUBMISSION.c.state.in_(states)
        kind = sa.true() if archived is None else column.is_not(None) if archived else column.is_(None)
        return self._rows(*where, kind, limit=limit)

    def counts(self, owner: str | None = None) -> dict[str, int]:
        """Return state → number of submissions, for all states.

        Args:
            owner: name of the token whose submissions are counted; None for all.
        """
        own = sa.true() if owner is None else _SUBMISSION.c.owner == owner
        query = sa.select(_SUBMISSION.c.state, sa.func.count()).where(own).group_by(_SUBMISSION.c.state)
        with translate_errors(self._url), self._engine.connect() as connection:
            found = {str(state): int(count) for state, count in connection.execute(query)}
        return {state: found.get(state, 0) for state in STATES}

    def next(self) -> Submission | None:
        """Return the study that should run next: the highest priority, then the owner with the fewest running studies,
        then the owner who has waited longest, then the oldest."""
        everyone = self._rows(_SUBMISSION.c.state.in_(("queued", "running")))
        running = Counter(s.owner for s in everyone if s.state == "running")
        queued = [s for s in everyone if s.state == "queued"]
        if not queued:
            return None
        last = self._last_started()
        return min(queued, key=lambda s: (-s.priority, running[s.owner], last.get(s.owner, 0.0), s.number))

    def change(self, id: str, state: SubmissionState, *before: str, **changes: Any) -> Submission:
        """Set the state of a submission that is in one of the states `before`, and return it.

        Args:
            changes: other columns.

        Raises:
            ServerError: it is in another state.
        """
        own = _SUBMISSION.c.id == id, _SUBMISSION.c.archived.is_(None)
        update = _SUBMISSION.update().where(*own, _SUBMISSION.c.state.in_(before))
        with self._writing() as connection:
            changed = connection.execute(update.values(state=state, **changes)).rowcount == 1
        submission = self._found(id) if changed else self.get(id)
        if not changed:
            now = submission.state if submission.archived is None else "archived"
            raise ServerError(f"study {id} is {now}; it must be {' or '.join(before)}")
        return submission

    def cancel(self, id: str) -> Submission:
        """Cancel a study that waits, or note that the process of a running one must end; return it.

        Raises:
            ServerError: it has ended.
        """
        own, state = _SUBMISSION.c.id == id, _SUBMISSION.c.state
        waiting = _SUBMISSION.update().where(own, state == "queued")
        running = _SUBMISSION.update().where(own, state == "running").values(cancelling=True)
        with self._writing() as connection:
            changed = connection.execute(waiting.values(state="cancelled", ended=time.time(), error=None)).rowcount
            changed = changed or connection.execute(running).rowcount
        submission = self.get(id)
        if not changed:
            raise ServerError(f"study {id} is {submission.state}; it must be queued or running")
        return submission

    def leave(self, id: str, state: SubmissionState, **changes: Any) -> Submission:
        """Set the state of a study whose process has ended: cancelled if a user has cancelled it, else the given one.

        Raises:
            ServerError: it does not run.
        """
        instead = {"state": "cancelled", "ended": time.time(), "error": None}
        values: dict[str, Any] = {"ended": None, "error": None, **changes, "state": state}
        chosen = {key: sa.case((_SUBMISSION.c.cancelling, value), else_=values[key]) for key, value in instead.items()}
        own = _SUBMISSION.c.id == id, _SUBMISSION.c.state == "running"
        with self._writing() as connection:
            left = connection.execute(_SUBMISSION.update().where(*own).values(values | chosen | {"cancelling": False}))
        submission = self._found(id)
        if not left.rowcount:
            raise ServerError(f"study {id} is {submission.state}; it must be running")
        return submission

    def set_priority(self, id: str, priority: int) -> Submission:
        """Set the priority of a submission, and return it."""
        with self._writing() as connection:
            connection.execute(_SUBMISSION.update().where(_SUBMISSION.c.id == id).values(priority=priority))
        return self.get(id)

    def set_archived(self, id: str, archived: float | None) -> Submission:
        """Note that a study was archived, or restored, and return it."""
        ended = _SUBMISSION.c.id == id, _SUBMISSION.c.state.in_(_ENDED)
        with self._writing() as connection:
            connection.execute(_SUBMISSION.update().where(*ended).values(archived=archived))
        return self.get(id)

    def set_waiting(self, reason: str | None) -> None:
        """Tell the users of all studies that wait why they do not start; None if they may."""
        waits = _SUBMISSION.c.state == "queued", _SUBMISSION.c.error.is_distinct_from(reason)
        if self._rows(*waits, limit=1):
            with self._writing() as connection:
                connection.execute(_SUBMISSION.update().where(*waits).values(error=reason))

    def hold(self, id: str) -> None:
        """Hide a submission that does not run, so that its folder can be deleted.

        Raises:
            ServerError: it runs.
        """
        where = _SUBMISSION.c.id == id, _SUBMISSION.c.state != "running"
        with self._writing() as connection:
            held = connection.execute(_SUBMISSION.update().where(*where).values(state=_HELD)).rowcount == 1
        if not held:
            raise ServerError(f"study {self.get(id).id} is running; cancel it first")

    def delete(self, id: str) -> None:
        """Delete a submission that was held."""
        with self._writing() as connection:
            connection.execute(_SUBMISSION.delete().where(_SUBMISSION.c.id == id, _SUBMISSION.c.state == _HELD))

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _found(self, id: str) -> Submission:
        found = self._rows(_SUBMISSION.c.id == id)
        if not found:
            raise ServerError(f"study {id}: not found on this server")
        return found[0]

    def _check_columns(self) -> None:
        columns = {column["name"] for column in sa.inspect(self._engine).get_columns(_SUBMISSION.name)}
        if missing := sorted(set(_SUBMISSION.columns.keys()) - columns):
            made = f"made by another version of hpsearch (there is no column {missing[0]})"
            raise ServerError(f"{display_name(self._url)}: {made}; continue with that version, or with another --root")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with translate_errors(self._url):
            try:
                with self._engine.begin() as connection:
                    yield connection
            finally:
                self.version += 1

    def _rows(self, *where: "sa.ColumnElement[bool]", limit: int | None = None) -> list[Submission]:
        query = sa.select(_SUBMISSION).where(*where).order_by(_SUBMISSION.c.number).limit(limit)
        with translate_errors(self._url), self._engine.connect() as connection:
            return [_submission(row) for row in connection.execute(query)]

    def _last_started(self) -> dict[str, float]:
        query = sa.select(_SUBMISSION.c.owner, sa.func.max(_SUBMISSION.c.started)).group_by(_SUBMISSION.c.owner)
        with translate_errors(self._url), self._engine.connect() as connection:
            return {str(owner): float(started or 0.0) for owner, started in connection.execute(query)}


def _submission(row: Any) -> Submission:
    values = {name: getattr(row, name) for name in Submission._fields}
    return Submission(**{**values, "files": json.loads(row.files)})
