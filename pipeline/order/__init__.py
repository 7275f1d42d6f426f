"""Which review comes when: the order of an epoch, who reads what, the rows that are selected and held out."""
