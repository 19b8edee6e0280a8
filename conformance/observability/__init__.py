"""What watches the platform: it sees everything that runs, and shows it to nobody else."""
