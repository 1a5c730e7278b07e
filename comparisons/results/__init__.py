"""Results on disk, their summaries over seeds, and the published numbers beside them."""
