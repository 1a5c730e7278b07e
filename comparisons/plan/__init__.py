"""From flags, presets and papers to the runs of a comparison."""
