"""The benchmarks behind every quoted figure."""
