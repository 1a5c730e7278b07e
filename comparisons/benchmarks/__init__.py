"""Speed and memory of the library against its peers; each script checks correctness first."""
