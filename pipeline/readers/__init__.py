"""Reading what people deliver: one format a file, one walker of folders, one rule for values. Used by ingest and score."""
