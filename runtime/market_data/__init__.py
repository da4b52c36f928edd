"""Books, tickers, candles and the trade tape, built from the event feed."""
