"""Benchmarks against stock Keras and PyTorch, and stress tests of whole studies."""
