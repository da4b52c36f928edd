"""What differs between environments, and what is traded: the one place to edit."""
