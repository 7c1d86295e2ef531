"""The plausible ranges of the numbers that a unit reports: outside them it reports nonsense, not a measurement.

Sources: ESP-IDF wifi_ap_record_t (RSSI is an int8 in dBm); IEEE 802.11-2020 annex E, channels of 2.4 GHz and 5 GHz.
"""

from __future__ import annotations

from rmfab.errors import UnitFault

RSSI_DBM = range(-127, 0)
CHANNELS = frozenset({*range(1, 15), *range(36, 65, 4), *range(100, 145, 4), *range(149, 178, 4)})
MOST_NETWORKS = 256
LONGEST_SSID = 32
BSSID_BYTES = 6


class Implausible(UnitFault):
    """The unit reports a number that cannot be."""

    cause = "implausible-value"


def judge_rssi(rssi: int) -> int:
    """Return *rssi* in dBm. Raise Implausible unless it is from -127 to -1; an absent one reads as 0."""
    if rssi not in RSSI_DBM:
        raise Implausible(f"the unit reports a network at {rssi} dBm", hint="check its radio and its firmware")
    return rssi


def judge_channel(channel: int) -> int:
    """Return *channel*. Raise Implausible unless it is one of 2.4 or 5 GHz; an absent one reads as 0."""
    if channel not in CHANNELS:
        raise Implausible(f"the unit reports a network on channel {channel}", hint="check its radio and its firmware")
    return channel


def judge_count(count: int) -> int:
    """Return the number of networks of a scan. Raise Implausible if it is above 256."""
    if count > MOST_NETWORKS:
        raise Implausible(f"the unit reports {count} networks", hint="check its firmware")
    return count
