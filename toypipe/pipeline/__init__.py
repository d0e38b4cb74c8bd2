"""How a stage runs safely: guarded inputs, whole files, resume, signals, GPU locks, progress."""
