"""Run `rmfab` as `python -m rmfab`."""

from rmfab.cli import run

if __name__ == "__main__":
    run()
