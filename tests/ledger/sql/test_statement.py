"""Statements that the driver runs: asked ahead, in one round trip, and never older than the last change."""

import pytest

from rmfab.ledger.host import this_host
from rmfab.ledger.sql.open_database import open_database
from rmfab.ledger.sql.statement import foresee, of_text, write
from tests.ledger.workshop import at, fresh

VALUE = of_text("SELECT value FROM meta WHERE name = :name")
SET = of_text("UPDATE meta SET value = :value WHERE name = :name")
HOLDER, OTHER = {"name": "holder"}, {"name": "ledger_id"}


@pytest.fixture
def connection(place):
    """A write transaction of a ledger."""
    fresh(place).close()
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
            assert write(connection, [(SET, HOLDER | {"value": "x"}), (SET, {"name": "none", "value": "x"})]) == [1, 0]
            assert VALUE.first(connection, HOLDER) == {"value": "x"} != before
        assert VALUE.first(connection, HOLDER) == {"value": "x"}


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
