"""torchdata.nodes graphs: one node a file. They carry Arrow batches, never single reviews."""
