"""What every service shares: money, messages, frames, settings."""
