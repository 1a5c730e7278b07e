"""The report of a comparison: plain data, built once, then read by pages and figures."""
