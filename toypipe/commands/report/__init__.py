"""The page that `toypipe report` writes."""
