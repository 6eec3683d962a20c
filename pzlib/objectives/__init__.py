"""One file a method: what it asks, its rows, its reward, what it measures."""
