"""torchdata.nodes graphs, one node per file; scoring, which restores no state, uses plain iterators. All pass Arrow batches,
never single reviews."""
