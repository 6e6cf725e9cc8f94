"""Benchmarks: each module measures ours and a peer, or the bare framework, in one run and prints JSON."""
