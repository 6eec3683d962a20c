"""What is drawn: the papers' figures from committed tables (`draw`), a run while it trains (`live`), its masks (`inspector`).
Leaves out any import: a terminal needs no picture library."""
