"""One run to one result."""
