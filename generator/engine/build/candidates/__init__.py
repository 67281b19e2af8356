"""The engines that are tried for a job."""
