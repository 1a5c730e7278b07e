"""The flags of a comparison and what the terminal shows."""
