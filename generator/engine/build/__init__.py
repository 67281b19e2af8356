"""The build itself: what each spec asks for, stage after stage, until an engine is installed or refused."""
