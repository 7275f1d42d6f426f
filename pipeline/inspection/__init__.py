"""What a delivery holds: a bounded look at its files, guesses for the options that read them, and those options written down."""
