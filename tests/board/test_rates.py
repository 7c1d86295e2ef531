"""The rate of a slot: which one its next board gets, and what errors teach."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rmfab.board.bridges import RATES, known_bridge, signed_usb
from rmfab.board.rates import RateRecord, after_error, after_pass, rom_rate, slower_rates, wanted_rate

CP210X = known_bridge("10c4:ea60")
CH340 = known_bridge("1a86:7523")


def climbed(bridge, boards, limit=1 << 30):
    """Return the rates of *boards* boards in a row over a cable that carries up to *limit*."""
    record, rates = None, []
    for _ in range(boards):
        rate = wanted_rate(bridge, record)
        while rate > limit:
            record = after_error(bridge, record, rate)
            rate = max(one for one in bridge.rates if one < rate)
        record = after_pass(record, rate)
        rates.append(rate)
    return rates, record


def test_a_slot_climbs_by_one_rate_with_each_board():
    """The first board gets a safe rate, each board that passed raises it by one, up to what the bridge has."""
    assert climbed(CP210X, 6)[0] == [921600, 1_000_000, 1_500_000, 2_000_000, 3_000_000, 3_000_000]


def test_the_gaps_of_the_ch340_are_left_out():
    """A CH340 starts at 1 Mbaud: it garbles 921600."""
    assert climbed(CH340, 3)[0] == [1_000_000, 2_000_000, 2_000_000]
    assert 921600 not in CH340.rates


def test_a_rate_that_failed_is_tried_again_after_twenty_boards_then_forty():
    """An error lowers the rate; that rate gets a new chance after 20 boards for each error, at most five times."""
    tried, record = [], None
    for board in range(900):
        rate = wanted_rate(CP210X, record)
        if rate > 1_500_000:
            tried.append(board)
            record, rate = after_error(CP210X, record, rate), 1_500_000
        record = after_pass(record, rate)
    assert [after - before for before, after in pairwise(tried)] == [20, 40, 60, 80]
    assert record.rate == 1_500_000
    assert record.errors == {2_000_000: 5}


def test_an_error_of_the_trusted_rate_lowers_it():
    """If the rate that carried many boards fails, the next board gets the rate below."""
    record = after_error(CP210X, RateRecord(2_000_000, 300), 2_000_000)
    assert record == RateRecord(1_500_000, 0, {2_000_000: 1})
    assert wanted_rate(CP210X, record) == 1_500_000


def test_a_rate_that_the_bridge_does_not_have_is_given_up():
    """A bridge that lowered a rate silently is not asked for it again."""
    record = after_error(CP210X, RateRecord(1_000_000), 1_500_000, forever=True)
    for _ in range(1000):
        record = after_pass(record, 1_000_000)
    assert wanted_rate(CP210X, record) == 1_000_000


def test_errors_of_the_first_rate():
    """A cable that does not carry the first rate gives a slot that starts lower."""
    rates, record = climbed(CP210X, 5, limit=460800)
    assert rates == [460800] * 5
    assert rom_rate(wanted_rate(CP210X, record), CP210X) == 460800


def test_the_rom_loader_gets_a_safe_rate():
    """The stub is uploaded at most at 921600, or at the first rate of its bridge."""
    assert rom_rate(3_000_000, CP210X) == 921600
    assert rom_rate(2_000_000, CH340) == 1_000_000
    assert rom_rate(2_000_000, None) == 921600
    assert rom_rate(9600, None) == 9600


@pytest.mark.parametrize("rate", [*RATES, 1_200_000])
def test_slower_rates_fall(rate):
    """The rates to fall to are all rates below, the fastest first; 1 to 2 Mbaud are among them."""
    slower = slower_rates(rate, None)
    assert list(slower) == sorted((one for one in RATES if one < rate), reverse=True)


def test_a_record_of_a_rate_that_the_bridge_lost():
    """A record with a rate that the bridge does not have, as after an update of rmfab, starts again."""
    assert wanted_rate(CH340, RateRecord(921600, 7)) == 1_000_000


@pytest.mark.parametrize("usb", [None, "", "067b:2303", "10C4:EA60", "x" * 1000])
def test_unknown_bridges(usb):
    """What is not in the table is not known."""
    assert known_bridge(usb) is None


def test_own_usb():
    """The USB port of a chip is known by its vendor, and has one rate only."""
    assert known_bridge("303a:1001").rates == (115200,)


@pytest.mark.parametrize(
    ("signature", "usb"),
    [
        ("rmfab virtual board usb=10c4:ea60", "10c4:ea60"),
        ("usb=1a86:7523", "1a86:7523"),
        ("ser2net", None),
        ("usb=1a86:75231", None),
        ("usb=1a86", None),
        ("musb=1a86:7523", None),
        ("", None),
    ],
)
def test_signatures(signature, usb):
    """A server on the network names its bridge anywhere in its signature."""
    assert signed_usb(signature) == usb
