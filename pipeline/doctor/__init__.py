"""What `pipeline doctor` looks at. A check never raises and changes nothing: it says what it found and how to mend it."""
