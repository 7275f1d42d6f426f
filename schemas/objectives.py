"""What a model can be pretrained for; without pyarrow, for the command line."""

OBJECTIVES = VECTORS, LM = "vectors", "lm"
