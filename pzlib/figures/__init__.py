"""What is drawn: the papers' figures from committed tables (`draw`), a run in training (`live`), masks (`inspector`).
Leaves out any import: a terminal needs no picture library."""
