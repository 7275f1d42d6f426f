"""torchdata.nodes graphs: one node per file. They pass Arrow batches, never single reviews."""
