"""The flags of a comparison, and what a terminal shows of it."""
