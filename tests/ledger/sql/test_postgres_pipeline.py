"""Statements in one round trip: run in order, prepared once, and nothing after the first error."""

import psycopg
import pytest

from rmfab.ledger.sql.postgres_link import LinkWatch, connect
from rmfab.ledger.sql.server_address import ServerAddress
from tests.patience import PATIENCE

pytestmark = pytest.mark.peers

VALUE = "SELECT value FROM meta WHERE name = $1"
ADD = "INSERT INTO meta (name, value) VALUES ($1, $2)"


@pytest.fixture
def link(databases):
    """A connection to an empty ledger."""
    watch = LinkWatch(PATIENCE, lambda: True)
    opened = connect(ServerAddress.parse(databases()), watch, "test", {})
    yield opened
    opened.close()
    watch.close()


def test_answers_come_in_order(link):
    """Each statement sees what those before it have changed; an answer has rows and names."""
    before, _, after = link.at_once([(VALUE, ["a"]), (ADD, ["a", "x"]), (VALUE, ["a"])])
    assert list(before) == []
    assert list(after) == [("x",)]
    assert after.description == [("value",)]


def test_nothing_is_run_after_an_error(link):
    """The error of the first statement that fails is raised; the connection can be used, and knows what it prepared."""
    with pytest.raises(psycopg.errors.UniqueViolation):
        link.at_once([("BEGIN", []), (ADD, ["a", "x"]), (ADD, ["a", "y"]), ("SELECT pg_sleep(600)", [])])
    link.rollback()
    link.at_once([("BEGIN", []), (ADD, ["a", "x"]), ("SELECT pg_sleep(0)", [])])
    link.commit()
    assert [list(answer) for answer in link.at_once([(VALUE, ["a"])])] == [[("x",)]]


def test_a_statement_is_prepared_once(link):
    """One plan serves values of every size, also those of a transaction that was rolled back."""
    for number in (1, 100_000, 10_000_000_000):
        link.at_once([("BEGIN", []), ("SELECT id FROM event WHERE id = $1", [number])])
        link.rollback()
    ((found,),) = link.at_once([("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%event%'", [])])
    assert found == (2,)  # this one, too


def test_an_interrupted_wait(link, monkeypatch):
    """After ^C the connection can be used: what was prepared meanwhile does not matter."""
    wait = link.wait

    def interrupted(*arguments):
        wait(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(link, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            link.at_once([(VALUE, ["a"])])
    assert [list(answer) for answer in link.at_once([(VALUE, ["a"])])] == [[]]


def test_a_value_that_cannot_be_sent(link):
    """It stops everything before anything is sent."""
    with pytest.raises(psycopg.DataError):
        link.at_once([(ADD, ["a", "x"]), (ADD, ["b", "\0"])])
    assert [list(answer) for answer in link.at_once([(VALUE, ["a"])])] == [[]]


def test_what_is_put_off_goes_with_what_comes_next(link):
    """Statements that are put off run first, in one round trip with the next question, a cursor's, or COMMIT."""
    heard = []
    link.later(("BEGIN", []))
    link.later(("SELECT 1", []), heard.append)
    link.later((ADD, ["a", "x"]))
    assert heard == []
    assert [list(answer) for answer in link.at_once([(VALUE, ["a"])])] == [[("x",)]]
    assert [list(answer) for answer in heard] == [[(1,)]]
    link.later((ADD, ["b", "y"]))
    assert link.execute("SELECT count(*) FROM meta WHERE name IN ('a', 'b')").fetchone() == (2,)
    link.later((ADD, ["c", "z"]))
    link.commit()
    link.later((ADD, ["d", "z"]))
    link.rollback()
    assert [list(answer) for answer in link.at_once([(VALUE, [name]) for name in "abcd"])] == [
        [("x",)],
        [("y",)],
        [("z",)],
        [],
    ]


def test_nothing_is_committed_after_an_error(link):
    """If a statement that was put off until COMMIT fails, the transaction is not committed."""
    link.later(("BEGIN", []))
    link.later((ADD, ["a", "x"]))
    link.later((ADD, ["a", "y"]))
    with pytest.raises(psycopg.errors.UniqueViolation):
        link.commit()
    link.rollback()
    assert [list(answer) for answer in link.at_once([(VALUE, ["a"])])] == [[]]


def test_a_session_that_the_server_ends(link):
    """The server's reason is raised, not that its end was noticed later."""
    with pytest.raises(psycopg.errors.AdminShutdown):
        link.at_once([("SELECT pg_terminate_backend(pg_backend_pid())", []), (VALUE, ["a"]), (VALUE, ["b"])])
    with pytest.raises(psycopg.OperationalError):
        link.at_once([(VALUE, ["a"])])
