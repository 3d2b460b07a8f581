"""What a finished run shows its reader."""
