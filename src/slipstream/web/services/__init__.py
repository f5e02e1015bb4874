"""What API and pages both ask for: functions over files and processes, without HTTP and without torch."""
