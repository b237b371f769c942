"""The ledger of teaching sets: what was taught, from where, by whom; append-only, chained by hashes, without any content."""
