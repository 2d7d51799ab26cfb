"""Speech in, speech out."""
