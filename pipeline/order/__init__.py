"""The order of reviews in an epoch, who reads what, and which rows are selected and held out."""
