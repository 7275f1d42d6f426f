"""Where bytes live: paths of the lake, atomic files, locks, the token table, vocabularies, bundles, run records."""
