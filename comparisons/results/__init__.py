"""Results on disk, their summaries over seeds, and published results beside these."""
