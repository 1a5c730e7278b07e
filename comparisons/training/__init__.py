"""Train one run and measure its result."""
