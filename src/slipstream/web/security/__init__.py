"""Who may ask the studio for what."""
