"""Runs ccxt's own tests of an exchange, as its wheel carries them, with our addresses in place of the published ones.

    python tests/integ/ccxt_suite.py FOLDER binance BTC/USDT --private --info [--sync | --ws]

FOLDER holds what that program looks for beside itself: `keys.local.json`, the settings of the exchange, and
`skip-tests.json`, what to leave out and why.
"""

import runpy
import sys
from pathlib import Path


def main() -> None:
    """Hand over to ccxt's program, which reads the remaining arguments."""
    folder = Path(sys.argv.pop(1))
    tests = folder / "ccxt" / "test"
    # ccxt refuses to test a copy that is installed, so it sees this one by another path.
    sys.path[:0] = [str(folder), str(tests)]

    import tests_helpers  # noqa: PLC0415 - it reads the arguments when it is imported

    tests_helpers.ROOT_DIR = f"{folder}/"
    name = "tests_sync" if tests_helpers.IS_SYNCHRONOUS else "tests_async"
    kind = __import__(name).testMainClass
    kind.check_constructor = lambda *_: None  # it holds that the addresses are the published ones
    runpy.run_path(str(tests / "tests_init.py"), run_name="__main__")


if __name__ == "__main__":
    main()
