"""What the whole node may use: memory and room on the disk, watched, told, and kept within the settings."""
