"""The page that `toypipe watch` serves: trainings, while they run."""
