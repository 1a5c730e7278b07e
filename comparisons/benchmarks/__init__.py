"""Speed and memory of the library against its peers; each benchmark checks correctness first."""
