"""Benchmarks: frozen floors, peers and what measures them; `scripts/bench` runs them."""
