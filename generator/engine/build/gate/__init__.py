"""The gate: a job's answers through its whole pipeline, against those of FP32."""
