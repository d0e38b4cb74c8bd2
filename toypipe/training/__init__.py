"""The lesson: the loop, its state, batches, augmentation, losses, optimizers, schedules."""
