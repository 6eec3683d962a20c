"""What one run leaves on disk, and how it survives a kill."""
