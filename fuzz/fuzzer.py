"""One target under atheris: `python -m fuzz.fuzzer TARGET [libFuzzer's arguments]`."""

import sys

import atheris


def main() -> None:
    """Import the target with its code instrumented, and hand over to libFuzzer, which ends the process."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["fidoloop", "fuzz.targets"]):
        from fuzz.targets import target

        found = target(name)
    atheris.Setup(sys.argv, atheris.instrument_func(found.check))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
