"""`python -m fidoloop`: the same as the command."""

from fidoloop.cli import run

if __name__ == "__main__":
    run()
