"""`python -m rmfab` is `rmfab`."""

from rmfab.cli import run

if __name__ == "__main__":
    run()
