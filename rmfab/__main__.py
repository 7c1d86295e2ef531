"""Start `rmfab`: the console script, and `python -m rmfab`."""

from __future__ import annotations

import sys

from rmfab.signals import undisturbed


def start() -> None:
    """Run the console script; ^C while its modules are imported ends it as ^C at any later time does."""
    try:
        with undisturbed():
            from rmfab.cli import EXIT_INTERRUPTED, explain, run
    except KeyboardInterrupt as interrupt:
        explain(interrupt)
        sys.exit(EXIT_INTERRUPTED)
    run()


if __name__ == "__main__":
    start()
