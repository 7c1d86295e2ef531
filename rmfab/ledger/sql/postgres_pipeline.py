"""Several statements in one round trip: libpq's pipeline mode (postgresql.org/docs/15/libpq-pipeline-mode.html).

psycopg's own pipeline sends each statement as soon as it is executed, and both sides wake up for each. Here all leave
together, and their answers are awaited once. A statement is prepared when a connection runs it first. The server infers
the types of its values from the columns, so it is planned once, however large the values are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import psycopg
from psycopg import abc
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import fetch_many, send
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

Question = tuple[str, Sequence[Any]]
"""A statement, and the values for `$1`, `$2` and so on in it."""
COMMIT: Question = ("COMMIT", ())


class ServerAnswer:
    """The answer to one statement, *result* as *adapt* reads it: what `Statement` uses of a cursor (PEP 249)."""

    def __init__(self, adapt: abc.Transformer, result: PGresult) -> None:
        self._result = result
        self._rows: list[tuple[Any, ...]] = []
        if result.ntuples:
            adapt.set_pgresult(result)
            self._rows = adapt.load_rows(0, result.ntuples, tuple)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)

    @property
    def description(self) -> list[tuple[str]]:
        """The names of the columns."""
        return [((self._result.fname(at) or b"").decode(),) for at in range(self._result.nfields)]


class Prepared:
    """The statements that are prepared on the connection *link*, by their text."""

    def __init__(self, link: psycopg.Connection[Any]) -> None:
        self._link = link
        self._adapt = Transformer(link)  # it keeps how each type is written and read
        self._names: dict[str, bytes] = {}
        self._numbers = count()  # a name is never used again: ^C may leave open what was prepared

    def run(self, questions: Sequence[Question]) -> list[ServerAnswer]:
        """Run the statements of *questions* in order, and return the answers.

        Raise psycopg.Error for the first one that fails; those after it are not run.
        """
        adapt, pgconn = self._adapt, self._link.pgconn
        given = [(text, adapt.dump_sequence(values, [PyFormat.TEXT] * len(values))) for text, values in questions]
        pgconn.enter_pipeline_mode()
        try:
            sent = list(self._send(pgconn, given))
            pgconn.pipeline_sync()
            results = self._link.wait(_results(pgconn, len(sent)))
        finally:
            if pgconn.status == ConnStatus.OK:
                pgconn.exit_pipeline_mode()
        answers = []
        for prepared, result in zip(sent, results, strict=False):
            if result.status == ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result, encoding=adapt.encoding)
            if prepared is None:
                answers.append(ServerAnswer(adapt, result))
            else:
                self._names |= prepared
        return answers

    def _send(self, pgconn: PGconn, given: Sequence[tuple[str, Sequence[Any]]]) -> Iterator[dict[str, bytes] | None]:
        """Queue the statements with their values. Yield for each command the name that it prepares, None if it runs."""
        names = dict(self._names)
        for text, values in given:
            if text == COMMIT[0]:  # never prepared: whoever looks at the network sees it
                pgconn.send_query_params(text.encode(), None)
                yield None
                continue
            if text not in names:
                names[text] = b"rmfab_%d" % next(self._numbers)
                pgconn.send_prepare(names[text], text.encode())
                yield {text: names[text]}
            pgconn.send_query_prepared(names[text], values, result_format=Format.BINARY)
            yield None


def _results(pgconn: PGconn, number: int) -> abc.PQGen[list[PGresult]]:
    """Send what is queued in *pgconn*, and return the results of *number* commands, or of those before the loss."""
    yield from send(pgconn)
    results: list[PGresult] = []
    try:
        while len(results) < number:
            of_one = yield from fetch_many(pgconn)
            if not of_one:
                raise psycopg.OperationalError("the connection ended before the answer")
            results += of_one
        yield from fetch_many(pgconn)  # that of the synchronisation
    except psycopg.OperationalError:
        if not any(result.status == ExecStatus.FATAL_ERROR for result in results):
            raise
    return results
