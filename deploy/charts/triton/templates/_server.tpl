{{/* The command line of tritonserver. Each flag stands where the release of the image has it. */}}

{{/* A list, as JSON in an object: {"flags": [...]}. */}}
{{- define "triton.serverFlags" -}}
{{- $server := .Values.server -}}
{{- $release := include "triton.release" . | atoi -}}
{{- $flags := list
  (printf "--model-repository=%s" .Values.modelRepository.path)
  (printf "--model-control-mode=%s" $server.modelControlMode) -}}
{{- range $server.loadModels }}{{ $flags = append $flags (printf "--load-model=%s" .) }}{{ end -}}
{{- $flags = concat $flags (list
  (printf "--model-load-thread-count=%d" (int $server.modelLoadThreads))
  "--strict-readiness=true"
  "--exit-on-error=true"
  "--disable-auto-complete-config"
  (printf "--http-port=%d" (int .Values.ports.http))
  (printf "--http-thread-count=%d" (int $server.httpThreads))) -}}
{{- if include "triton.hasFlag" (list . "http-max-input-size") }}{{ $flags = append $flags (printf "--http-max-input-size=%d" (int64 $server.maxHttpInputBytes)) }}{{ end -}}
{{- if include "triton.hasFlag" (list . "allow-client-shm") }}{{ $flags = append $flags "--allow-client-shm=false" }}{{ end -}}
{{- $flags = concat $flags (list
  (printf "--grpc-port=%d" (int .Values.ports.grpc))
  (printf "--grpc-infer-allocation-pool-size=%d" (int $server.grpcInferPool))) -}}
{{- if $server.grpcMaxConnectionAgeMs -}}
{{- $flags = concat $flags (list
  (printf "--grpc-max-connection-age=%d" (int $server.grpcMaxConnectionAgeMs))
  (printf "--grpc-max-connection-age-grace=%d" (int $server.grpcMaxConnectionAgeGraceMs))) -}}
{{- end -}}
{{- $flags = concat $flags (list
  "--allow-metrics=true"
  (printf "--metrics-port=%d" (int .Values.ports.metrics))
  (printf "--allow-gpu-metrics=%t" (gt (int .Values.gpu.count) 0))
  "--allow-cpu-metrics=false") -}}
{{- if and $server.histogramLatencies (ge $release 2601) }}{{ $flags = append $flags "--metrics-config=histogram_latencies=true" }}{{ end -}}
{{- $flags = concat $flags (list "--allow-sagemaker=false" "--allow-vertex-ai=false") -}}
{{- with .Values.restrictedApis -}}
{{- if .enabled -}}
{{- $rule := printf "%s:%s=$(TRITON_RESTRICTED_KEY)" (join "," .apis) .header -}}
{{- $flags = concat $flags (list (printf "--http-restricted-api=%s" $rule) (printf "--grpc-restricted-protocol=%s" $rule)) -}}
{{- end -}}
{{- end -}}
{{- $flags = concat $flags (list
  (printf "--exit-timeout-secs=%d" (int .Values.drain.exitTimeoutSeconds))
  (printf "--log-verbose=%d" (int $server.logVerbose))) -}}
{{- concat $flags $server.extraFlags | dict "flags" | toJson -}}
{{- end -}}

{{/* Flags that values stand for: `extraFlags` may not name them again. */}}
{{- define "triton.flagOwners" -}}
model-repository: modelRepository.path
model-store: modelRepository.path
model-control-mode: server.modelControlMode
load-model: server.loadModels
model-load-thread-count: server.modelLoadThreads
strict-readiness: ""
exit-on-error: ""
disable-auto-complete-config: ""
http-port: ports.http
http-thread-count: server.httpThreads
http-max-input-size: server.maxHttpInputBytes
allow-client-shm: ""
grpc-port: ports.grpc
grpc-infer-allocation-pool-size: server.grpcInferPool
grpc-max-connection-age: server.grpcMaxConnectionAgeMs
grpc-max-connection-age-grace: server.grpcMaxConnectionAgeGraceMs
allow-http: ""
allow-grpc: ""
allow-metrics: ""
metrics-port: ports.metrics
allow-gpu-metrics: gpu.count
allow-cpu-metrics: ""
allow-sagemaker: ""
allow-vertex-ai: ""
http-restricted-api: restrictedApis
grpc-restricted-protocol: restrictedApis
exit-timeout-secs: drain.exitTimeoutSeconds
log-verbose: server.logVerbose
{{- end -}}
