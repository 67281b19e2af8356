"""What is sent, and when: drawn before a run, from a seed."""
