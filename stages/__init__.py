"""The edge: one file per stage of the pipeline, from files to files, and the commands."""
