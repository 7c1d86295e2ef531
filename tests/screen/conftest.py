"""The factory of the line's tests, for the screen on top of it."""

from tests.line.conftest import _no_configuration, _radio, factory, founded

__all__ = ["_no_configuration", "_radio", "factory", "founded"]
