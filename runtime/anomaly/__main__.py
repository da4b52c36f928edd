"""`python -m runtime.anomaly`: learn from a file of trades, score another.

train MODEL FILE...    write what is usual in the trades of the files to MODEL
score MODEL FILE...    print each minute that is not, and how well the model fits

A file has one JSON document a line, a record of the trade stream or one trade; it may be compressed (.gz).
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from runtime.anomaly.baseline import ALERT, drift_ppm
from runtime.anomaly.features import NAMES
from runtime.anomaly.model import Model, ModelError, judge, minutes, read_model, read_trades, train, write_model

EXIT_WRONG: Final = 2
_ARGUMENTS_MIN: Final = 3
_ROW: Final = "{:<16}  {:<12}  {:>12}  {:>8}  {:>9}  {:>8}  {}"


def main(arguments: Sequence[str]) -> int:
    """Do what `arguments` say; return 0, or EXIT_WRONG after saying what is wrong with them."""
    if len(arguments) < _ARGUMENTS_MIN or arguments[0] not in {"train", "score"}:
        sys.stderr.write(__doc__ or "")
        return EXIT_WRONG
    command, model, *files = arguments
    try:
        if command == "train":
            _train(Path(model), [Path(file) for file in files])
        else:
            _score(read_model(Path(model)), [Path(file) for file in files])
    except (ModelError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_WRONG
    return 0


def _train(path: Path, files: Sequence[Path]) -> None:
    model = train(read_trades(files))
    write_model(model, path)
    _say(f"{path}: {len(model.markets)} markets")
    _say("{:<8}  {:>8}  {}".format("market", "minutes", "  ".join(f"{name:>18}" for name in NAMES)))
    for market, baseline in sorted(model.markets.items()):
        usual = (f"{getattr(baseline.medians, name):>8} ± {getattr(baseline.spreads, name):<7}" for name in NAMES)
        _say(f"{market:<8}  {baseline.minutes:>8}  {'  '.join(usual)}")


def _score(model: Model, files: Sequence[Path]) -> None:
    _say(_ROW.format("minute (UTC)", "market", "lots", "trades", "move ppm", "score", "most unusual"))
    scores: dict[str, list[int]] = {}
    unknown: set[str] = set()
    for closed in minutes(read_trades(files)):
        if closed.market not in model.markets:
            unknown.add(closed.symbol)
            continue
        given = judge(model, closed.market, closed.features)
        scores.setdefault(closed.symbol, []).append(given.value)
        if given.value >= ALERT:
            minute = closed.minute
            moment = datetime.fromtimestamp(minute.start_us // 1_000_000, UTC)
            row = (f"{moment:%Y-%m-%d %H:%M}", closed.symbol, minute.lots, minute.trades, closed.features.move)
            _say(_ROW.format(*row, f"{given.value / 1000:.1f}", given.feature))
    for symbol, values in sorted(scores.items()):
        alerts = sum(value >= ALERT for value in values)
        _say(f"{symbol}: {len(values)} minutes, {alerts} anomalies, drift {drift_ppm(values)} ppm")
    for symbol in sorted(unknown):
        _say(f"{symbol}: not in the model, not scored")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
