"""Stars and labels in XMP sidecars, for programs that manage photographs."""
