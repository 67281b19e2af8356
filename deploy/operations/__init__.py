"""What running pipelines takes, in numbers: pure functions of Plans, objectives and measurements."""
