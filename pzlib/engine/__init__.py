"""How a run is computed, and on how many devices; nothing here changes a result."""
