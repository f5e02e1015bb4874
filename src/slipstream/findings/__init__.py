"""What a run's files say went wrong, as findings with evidence and settings to try; pure functions of `RunFacts`."""
