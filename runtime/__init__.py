"""Programs of the exchange: one package per service, a pure core in a thin shell."""
