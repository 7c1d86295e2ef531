"""Statements that the driver runs: asked ahead, in one round trip, and never older than the last change."""

import re

import pytest

from rmfab.errors import IntegrityError
from rmfab.ledger.claims import _LOWEST_IN_NAMED, _LOWEST_IN_OLDEST, _LOWEST_UNLOCKED
from rmfab.ledger.host import this_host
from rmfab.ledger.sql.open_database import open_database
from rmfab.ledger.sql.statement import MissingRow, answered, change, driver, foresee, of_text
from tests.ledger.workshop import at, fresh

VALUE = of_text("SELECT value FROM meta WHERE name = :name")
SET = of_text("UPDATE meta SET value = :value WHERE name = :name")
HOLDER, OTHER = {"name": "holder"}, {"name": "ledger_id"}


@pytest.fixture
def connection(place):
    """A write transaction of a ledger."""
    fresh(place, 300).close()
    database = open_database(at(place), create=False, patience=30, state=this_host().state)
    with database.writing() as opened:
        yield opened
    database.dispose()


def test_a_change_ends_what_was_foreseen(connection):
    """After a change, a statement is asked again, also in the blocks around it."""
    with foresee(connection, [(VALUE, HOLDER)]):
        with foresee(connection, [(VALUE, OTHER)]):
            before = VALUE.first(connection, HOLDER)
            assert before == VALUE.first(connection, HOLDER)
            change(connection, [], [(SET, HOLDER | {"value": "x"})])
            assert VALUE.first(connection, HOLDER) == {"value": "x"} != before
        assert VALUE.first(connection, HOLDER) == {"value": "x"}


def test_a_change_of_a_row_that_is_missing(place):
    """A change whose row does not exist fails, and nothing of its transaction is written."""
    fresh(place).close()
    database = open_database(at(place), create=False, patience=30, state=this_host().state)

    def changed(connection):
        change(connection, [], [(SET, HOLDER | {"value": "x"}), (SET, {"name": "none", "value": "x"})])

    with pytest.raises((MissingRow, IntegrityError)) as caught:
        database.commit(changed)
    assert isinstance(caught.value, MissingRow) or caught.value.cause == "ledger-corrupt"
    with database.reading() as connection:
        assert VALUE.first(connection, HOLDER) != {"value": "x"}
    database.dispose()


def test_what_is_known_is_not_asked(connection):
    """An answer that is known without the database counts until the next change."""
    with foresee(connection, []):
        answered(connection, (VALUE, HOLDER), ())
        assert VALUE.first(connection, HOLDER) is None
        change(connection, [], [(SET, OTHER | {"value": "x"})])
        assert VALUE.first(connection, HOLDER) is not None


def test_what_was_foreseen_ends_with_its_block(connection):
    """An inner block keeps what an outer one has asked; after the outer one, everything is asked again."""
    with foresee(connection, [(VALUE, HOLDER)]):
        with foresee(connection, [(VALUE, OTHER)]):
            holder, ledger = VALUE.first(connection, HOLDER), VALUE.first(connection, OTHER)
        assert VALUE.first(connection, HOLDER) == holder != ledger
    connection.exec_driver_sql("UPDATE meta SET value = 'x'")
    assert VALUE.first(connection, HOLDER) == VALUE.first(connection, OTHER) == {"value": "x"}


def test_values_are_part_of_the_question(connection):
    """An answer for other values is not taken; no row is an answer, too."""
    with foresee(connection, [(VALUE, {"name": "none"})]):
        assert VALUE.first(connection, {"name": "none"}) is None
        assert VALUE.first(connection, HOLDER) is not None


def test_the_lowest_free_identity_is_found_by_its_index(connection):
    """A claim does not read all that were claimed before it, also if the database last looked when all were free."""
    server = connection.dialect.name == "postgresql"
    if server:  # it looks by itself; a file has no statistics
        connection.exec_driver_sql("ANALYZE")
    for query, values in (
        (_LOWEST_IN_OLDEST, {"of_product": "lamp"}),
        (_LOWEST_IN_NAMED, {"of_name": "lamp-0001"}),
        (_LOWEST_UNLOCKED, {"of_batch": 1}),
    ):
        statement, given = query._question(connection.dialect, values)
        if server:
            (plan,) = driver(connection).at_once([(f"EXPLAIN {statement}", given)])
        else:
            plan = driver(connection).execute(f"EXPLAIN QUERY PLAN {statement}", given)
        lines = [" ".join(map(str, row)) for row in plan]
        reads = [line for line in lines if re.search(r"(SEARCH|SCAN) (any_)?identity|on identity", line)]
        assert reads
        assert all("ix_identity_claim" in line for line in reads)
        assert not any("TEMP B-TREE" in line for line in lines)
