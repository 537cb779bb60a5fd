"""What every verb stands on: run folders, processes, privacy, progress, model folders."""
