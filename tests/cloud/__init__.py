"""Tests of the room `cloud`."""
