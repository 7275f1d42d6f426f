"""What the last nights did, and whether something needs a person: the rules, and the morning page."""
